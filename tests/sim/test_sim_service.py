"""From a signed request to an answer: order of judgement, faults, quotas, the book. Without HTTP."""

from uuid import UUID

import pytest
from sim_support import KEYS, ONE, TWO, Caller, Clock, make_service, old_style, request

from batchmod.sim.book import Book, CallRecord
from batchmod.sim.errors import SimError
from batchmod.sim.scenario import FaultKind, Quota, Scenario
from batchmod.sim.wire import Request


def test_a_script_is_played_in_order_and_ends() -> None:
    """Each fault answers one call of that instance; then calls go through. Other instances play for themselves."""
    call = Caller('scripts: [{match: "r-sim00000?", play: [throttle, {fault: task_exists, times: 2}, forbidden, ok]}]')
    heard = [call.code("DescribeInstanceAttribute", ONE) for _ in range(6)]
    assert heard == ["Throttling.User", "TaskExists", "TaskExists", "Forbidden.RAM", "OK", "OK"]
    assert call.code("DescribeInstanceAttribute", TWO) == "Throttling.User"


def test_a_script_without_match_belongs_to_the_api() -> None:
    """The list is played once for all instances, and other APIs do not touch it."""
    call = Caller("scripts: [{api: DescribeInstanceAttribute, play: [throttle, 'refuse:Some.Code']}]")
    assert call.code("DescribeInstances") == "OK"
    assert [call.code("DescribeInstanceAttribute", each) for each in (ONE, TWO, ONE)] == [
        "Throttling.User",
        "Some.Code",
        "OK",
    ]


def test_rates_are_seeded() -> None:
    """About the given share of calls meets the fault, and the same ones for the same seed."""
    faults = "rates: [{api: DescribeRegions, fault: throttle, rate: 0.25}]"
    first, second = Caller(faults), Caller(faults)
    heard = [first.code("DescribeRegions") for _ in range(150)]
    assert heard == [second.code("DescribeRegions") for _ in range(150)]
    assert 15 < heard.count("Throttling.User") < 65


def test_refusing_instances_refuse_changes_only() -> None:
    """A rule with a code refuses every change of its instances, and no reading."""
    call = Caller("refuse: [{match: r-sim000000, code: IncorrectEngineVersion, status: 403}]")
    answer = call("ModifyInstanceTDE", ONE, TDEStatus="Enabled")
    assert (answer.status, answer.fields["Code"]) == (403, "IncorrectEngineVersion")
    assert (call.code("DescribeInstanceTDEStatus", ONE), call.rename(TWO)) == ("OK", "OK")


def test_a_pattern_for_nobody_is_a_mistake() -> None:
    """A fault that could never come does not pass silently."""
    with pytest.raises(SimError, match="'r-typo' matches no instance"):
        Caller("scripts: [{match: r-typo, play: [ok]}]")


@pytest.mark.parametrize(
    ("fault", "lands"),
    [
        ("http_500", False),
        ("{fault: http_500, landed: true}", True),
        ("html_502", False),
        ("reset_before", False),
        ("reset_after", True),
        ("{fault: hang, seconds: 1}", True),
        ("{fault: hang, seconds: 1, landed: false}", False),
        ("truncated", True),
        ("garbled", True),
        ("{fault: slow, seconds: 1}", True),
    ],
)
def test_a_lost_reply_says_nothing_about_the_change(fault: str, *, lands: bool) -> None:
    """Whether the change landed is the script's word; the book knows, the client does not."""
    call = Caller(f"scripts: [{{match: {ONE}, play: [{fault}]}}]\nlag: 0\ndurations: {{attributes: 0}}")
    answer = call("ModifyInstanceAttribute", ONE, InstanceName="renamed")
    assert (answer.status == 200) is (lands and "http_500" not in fault)
    assert (call.cloud.find(ONE).name == "renamed") is lands
    assert call.cloud.calls[-1].code == ("OK" if lands else None)
    assert call.cloud.calls[-1].fault in list(FaultKind)


def test_a_late_call_lands_when_its_time_has_come() -> None:
    """The reply is lost at once; the change happens later, after changes that were sent later."""
    call = Caller(
        f"scripts: [{{match: {ONE}, play: [{{fault: late, seconds: 60}}]}}]\nlag: 0\ndurations: {{attributes: 0}}"
    )
    call.code("ModifyInstanceAttribute", ONE, InstanceName="early")
    call.code("ModifyInstanceAttribute", ONE, InstanceName="later")
    assert call.cloud.find(ONE).name == "later"
    call.clock.now += 60
    assert call.cloud.find(ONE).name == "early"
    assert (call.cloud.calls[-1].code, call.cloud.calls[-1].fault) == ("OK", "late")


def test_a_late_call_is_judged_by_its_age() -> None:
    """What arrives more than 15 minutes after it was signed is refused."""
    call = Caller(f"scripts: [{{match: {ONE}, play: [{{fault: late, seconds: 901}}]}}]")
    call.rename()
    call.clock.now += 901
    assert call.cloud.find(ONE).name == "sim-000000"
    assert call.cloud.calls[-1].code == "InvalidTimeStamp.Expired"


def test_a_quota_is_a_sliding_window() -> None:
    """No period holds more than the quota; refused calls cost nothing; the reply says how long to wait."""
    call = Caller("quotas: {DescribeRegions: 2/10s}\nretry_after: true")
    heard = []
    for call.clock.now in (1000.0, 1009.0, 1009.5, 1010.0, 1011.0, 1019.0):
        heard.append(call.code("DescribeRegions"))
    assert heard == ["OK", "OK", "Throttling.User", "OK", "Throttling.User", "OK"]
    assert call("DescribeRegions").retry_after == 1000


def test_a_quota_belongs_to_an_api_and_a_region() -> None:
    """Another region or another API has its own; RegionId decides, else the instance's region."""
    call = Caller("quotas: {DescribeInstanceAttribute: 1/60s}")
    ask = "DescribeInstanceAttribute"
    assert [call.code(ask, each) for each in (ONE, "r-sim000002", TWO)] == ["OK", "Throttling.User", "OK"]
    assert [call.code(ask, ONE, RegionId="eu-west-1") for _ in range(2)] == ["OK", "Throttling.User"]
    assert call.code("DescribeInstanceTDEStatus", ONE) == "OK"


def test_the_default_quota_is_the_vendors() -> None:
    """200 calls in 60 seconds, then Throttling.User with status 400."""
    call = Caller()
    heard = [call("DescribeRegions") for _ in range(201)]
    assert [each.status for each in heard] == [200] * 200 + [400]
    assert heard[-1].fields["Code"] == "Throttling.User"
    call.clock.now += 60
    assert call.code("DescribeRegions") == "OK"


def test_a_revoked_key_stops_everything() -> None:
    """After the scripted number of calls every call is refused, reads and STS included."""
    call = Caller("revoke_key_after: 2")
    heard = [call.code("DescribeRegions"), call.rename(), call.code("DescribeRegions"), call.rename()]
    assert heard == ["OK", "OK", "InvalidAccessKeyId.Inactive", "InvalidAccessKeyId.Inactive"]


@pytest.mark.parametrize(
    ("action", "version", "status", "code"),
    [
        ("ModifyInstanceTde", "2015-01-01", 404, "InvalidAction.NotFound"),
        ("DescribeRegions", "2015-04-01", 404, "InvalidAction.NotFound"),
        ("DescribeRegions", "2020-01-01", 404, "InvalidApi.NotFound"),
        ("", "2015-01-01", 400, "MissingParameter"),
    ],
)
def test_unknown_operations_are_refused(action: str, version: str, status: int, code: str) -> None:
    """Names are case-sensitive, versions exact."""
    clock = Clock()
    answer = make_service(clock).handle(request(old_style(action, {}, at=clock.now, version=version)))
    assert (answer.status, answer.fields["Code"]) == (status, code)


def test_other_methods_are_refused() -> None:
    """GET and POST only."""
    clock = Clock()
    wire = request(old_style("DescribeRegions", {}, at=clock.now, method="PUT"), "PUT")
    assert make_service(clock).handle(wire).fields["Code"] == "UnsupportedHTTPMethod"


@pytest.mark.parametrize(
    "action", ["ModifyInstanceAttribute", "DescribeEncryptionKeyList", "DescribeDBInstanceNetInfo"]
)
def test_an_instance_id_is_mandatory_and_must_exist(action: str) -> None:
    """Without an id MissingParameter, with an unknown one 404."""
    call = Caller()
    assert call.code(action) == "MissingParameter"
    answer = call(action, "r-nobody", InstanceName="name")
    assert (answer.status, answer.fields["Code"]) == (404, "InvalidInstanceId.NotFound")


def test_an_error_has_the_vendors_fields() -> None:
    """Code, Message, RequestId, HostId, Recommend, and for a permission who was denied what."""
    call = Caller("scripts: [{play: [forbidden]}]")
    fields = call("ModifyInstanceTDE", ONE, TDEStatus="Enabled").fields
    assert {"Code", "Message", "RequestId", "HostId", "Recommend", "AccessDeniedDetail"} == fields.keys()
    assert (fields["HostId"], fields["AccessDeniedDetail"]["AuthAction"]) == ("sim.test", "kvstore:ModifyInstanceTDE")


def test_the_book_counts_by_verdict() -> None:
    """Per API: OK, each code, and the name of a fault that kept the call from being carried out."""
    call = Caller("scripts: [{api: DescribeRegions, play: [throttle, reset_before, reset_after]}]")
    for _ in range(4):
        call("DescribeRegions")
    call.service.handle(request({"Action": "Whatever"}))
    assert call.cloud.state()["calls"] == {
        "DescribeRegions": {"Throttling.User": 1, "reset_before": 1, "OK": 2},
        "unknown": {"MissingParameter": 1},
    }
    assert [each["api"] for each in call.cloud.recent_calls()] == ["DescribeRegions"] * 4 + ["unknown"]


def test_every_value_that_arrives_is_counted_once() -> None:
    """Distinct passwords are counted whatever the answer was; the same value twice is one."""
    call = Caller(f"scripts: [{{match: {ONE}, play: [reset_before, throttle]}}]")
    for password in ("uW8+nsrp", "uW8+nsrp", "uW8+nsrp", "uW8+nsrq"):
        call("ModifyInstanceAttribute", ONE, NewPassword=password)
    assert call.cloud.state()["instances"][ONE]["distinct_passwords_sent"] == 2
    assert "uW8" not in repr(call.cloud.state()) + repr(call.cloud.instances) + repr(call.cloud.recent_calls())


def test_the_caller_has_an_identity() -> None:
    """GetCallerIdentity names the account, and a role when a token is used."""
    clock = Clock()
    ask = old_style("GetCallerIdentity", {}, at=clock.now, version="2015-04-01")
    fields = make_service(clock).handle(request(ask)).fields
    assert (fields["AccountId"], fields["IdentityType"]) == ("1234567890123456", "RAMUser")
    keys = type(KEYS)(access_key_id="id", access_key_secret="secret", session_token="token")
    signed = old_style("GetCallerIdentity", {"SecurityToken": "token"}, at=clock.now, version="2015-04-01", keys=keys)
    fields = make_service(clock, keys=keys).handle(request(signed)).fields
    assert (fields["IdentityType"], ":assumed-role/" in fields["Arn"]) == ("AssumedRoleUser", True)


def test_the_same_seed_gives_the_same_answers() -> None:
    """Two clouds of one seed answer the same calls alike, request ids included."""
    ask = Request(method="GET", headers=(("host", "h"),))
    assert make_service(Clock()).handle(ask) == make_service(Clock(), Scenario()).handle(ask)


def test_a_quota_changes_while_it_is_used() -> None:
    """What was taken before still counts, other APIs keep theirs, and another cloud keeps the default."""
    call = Caller("quotas: {default: 3/60s}")
    assert [call.code("DescribeRegions") for _ in range(2)] == ["OK", "OK"]
    call.service.quotas.change("DescribeRegions", Quota(calls=2, seconds=60.0))
    assert (call.code("DescribeRegions"), call.code("DescribeInstanceAttribute", ONE)) == ("Throttling.User", "OK")
    assert [Caller().code("DescribeRegions") for _ in range(3)] == ["OK"] * 3


def test_every_answer_has_an_id_of_its_own() -> None:
    """A random UUID in capitals, the same for the same seed."""
    first, second = (
        [str(call("DescribeRegions").fields["RequestId"]) for _ in range(50)] for call in (Caller(), Caller())
    )
    assert first == second
    assert len({*first}) == 50
    assert {(str(UUID(each)).upper() == each, UUID(each).version) for each in first} == {(True, 4)}


def test_the_book_forgets_the_oldest_calls() -> None:
    """It is as long as it was told to be."""
    book = Book(remembered=2)
    for api in ("A", "B", "C"):
        book.write(CallRecord(at=0.0, api=api, account=None, instance=None, code="OK", fault=None))
    assert [each.api for each in book.calls] == ["B", "C"]
    assert book.counted() == {each: {"OK": 1} for each in ("A", "B", "C")}
