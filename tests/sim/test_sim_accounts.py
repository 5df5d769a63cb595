"""Several accounts and regions: whose an instance is, who sees it, whose key and quota it is."""

import pytest
from sim_support import FOUR, KEYS, ONE, THREE, TWO, Caller, keys_of

MAIN, OTHER, THIRD = "1234567890123456", "2222333344445555", "3333444455556666"
TWO_ACCOUNTS = f'accounts: {{"{MAIN}": {{}}, "{OTHER}": {{}}}}'
OTHERS = keys_of(OTHER)


def test_instances_are_dealt_out_by_region_then_account() -> None:
    """Number n is in region n mod R of account (n div R) mod A, unless an override says otherwise."""
    faults = f"""
regions: [cn-hangzhou, cn-beijing, eu-west-1]
accounts: {{"{MAIN}": {{}}, "{OTHER}": {{}}}}
instances: {{r-sim000000: {{account: "{OTHER}", region: us-west-1}}}}
"""
    found = [(each.account, each.region) for each in Caller(faults, count=8).cloud.instances.values()]
    assert found == [
        (OTHER, "us-west-1"),
        (MAIN, "cn-beijing"),
        (MAIN, "eu-west-1"),
        (OTHER, "cn-hangzhou"),
        (OTHER, "cn-beijing"),
        (OTHER, "eu-west-1"),
        (MAIN, "cn-hangzhou"),
        (MAIN, "cn-beijing"),
    ]


def test_a_caller_sees_its_own_account() -> None:
    """Others' instances are absent from lists and unknown by id, for reading and for changing."""
    call = Caller(TWO_ACCOUNTS)
    assert (call.ids(), call.ids(keys=OTHERS)) == ([ONE, TWO], [THREE, FOUR])
    assert call.ids(keys=OTHERS, InstanceIds=f"{ONE},{FOUR}") == [FOUR]
    for api in ("DescribeInstanceAttribute", "DescribeEncryptionKeyList", "DescribeAccounts"):
        assert [call.code(api, each, keys=OTHERS) for each in (ONE, FOUR)] == ["InvalidInstanceId.NotFound", "OK"]
    assert (call.rename(ONE, keys=OTHERS), call.rename(FOUR, keys=OTHERS)) == ("InvalidInstanceId.NotFound", "OK")
    assert call.code("DescribeInstanceAttribute", ONE) == "OK"


def test_what_strangers_send_is_not_the_instances() -> None:
    """A password for somebody else's instance does not count as one that arrived there."""
    call = Caller(TWO_ACCOUNTS)
    call("ModifyInstanceAttribute", ONE, keys=OTHERS, NewPassword="uW8+nsrp")
    assert call.cloud.state()["instances"][ONE]["distinct_passwords_sent"] == 0


def test_every_account_has_an_identity() -> None:
    """Each key is that of the user `simulator` of its account."""
    call = Caller(TWO_ACCOUNTS)
    seen = [call("GetCallerIdentity", keys=OTHERS).fields, call("GetCallerIdentity").fields]
    assert [each["AccountId"] for each in seen] == [OTHER, MAIN]
    assert [each["Arn"] for each in seen] == [f"acs:ram::{account}:user/simulator" for account in (OTHER, MAIN)]
    assert [each["IdentityType"] for each in seen] == ["RAMUser"] * 2
    assert seen[0]["UserId"] != seen[1]["UserId"]


@pytest.mark.parametrize(
    "faults",
    [
        f'accounts: {{"{MAIN}": {{}}, "{OTHER}": {{revoke_key_after: 2}}}}',
        f'accounts: {{"{OTHER}": {{}}, "{MAIN}": {{}}}}\nrevoke_key_after: 2',
    ],
)
def test_one_accounts_key_is_revoked_alone(faults: str) -> None:
    """After its own number of calls, whichever way the file says it; the other account's key works on."""
    call = Caller(faults)
    keys = {account: keys_of(account) for account in (MAIN, OTHER)}
    keys[call.cloud.account_id] = KEYS
    heard = [call.code("DescribeRegions", keys=keys[account]) for account in (OTHER, MAIN) * 3]
    assert heard == ["OK", "OK", "OK", "OK", "InvalidAccessKeyId.Inactive", "OK"]


def test_a_key_can_be_revoked_at_any_time() -> None:
    """From then on the account's key is refused, and no other."""
    call = Caller(TWO_ACCOUNTS)
    assert call.rename(THREE, keys=OTHERS) == "OK"
    call.cloud.keyring.revoke(OTHER)
    assert (call.rename(FOUR, keys=OTHERS), call.rename(ONE)) == ("InvalidAccessKeyId.Inactive", "OK")


def test_a_quota_belongs_to_an_account_too() -> None:
    """What one account has used up is there for the other, and a region's endpoint has its own."""
    call = Caller(f"{TWO_ACCOUNTS}\nquotas: {{DescribeRegions: 1/60s}}")
    heard = [call.code("DescribeRegions", keys=OTHERS) for _ in range(2)] + [call.code("DescribeRegions")]
    assert heard == ["OK", "Throttling.User", "OK"]
    there = [call("DescribeRegions", at="cn-shanghai").status for _ in range(2)]
    assert there == [200, 400]


def test_the_book_names_the_account() -> None:
    """Calls and state say who it was; an unproved caller is nobody."""
    call = Caller(TWO_ACCOUNTS)
    call("DescribeRegions", keys=OTHERS)
    call.rename(ONE)
    call("DescribeRegions", keys=keys_of(THIRD))
    assert [each["account"] for each in call.cloud.recent_calls()] == [OTHER, MAIN, None]
    state = call.cloud.state()
    assert state["calls_by_account"] == {
        OTHER: {"DescribeRegions": {"OK": 1}},
        MAIN: {"ModifyInstanceAttribute": {"OK": 1}},
    }
    assert state["calls"]["DescribeRegions"] == {"OK": 1, "InvalidAccessKeyId.NotFound": 1}
    assert [state["instances"][each]["account"] for each in (ONE, FOUR)] == [MAIN, OTHER]


def test_an_endpoint_of_a_region_shows_that_region() -> None:
    """Lists and ids alike; asking there for another region finds nothing."""
    call = Caller()
    assert (call.ids(at="cn-shanghai"), call.ids()) == ([TWO, FOUR], [ONE, TWO, THREE, FOUR])
    assert call.ids(at="cn-shanghai", RegionId="cn-hangzhou") == []
    assert call.ids(at="cn-shanghai", InstanceIds=f"{ONE},{TWO}") == [TWO]
    answers = [call("DescribeInstanceAttribute", each, at="cn-shanghai") for each in (ONE, TWO)]
    assert [each.status for each in answers] == [404, 200]


def test_an_endpoint_of_a_region_changes_that_region() -> None:
    """A change of another region's instance is not found there, and is not made."""
    call = Caller("lag: 0\ndurations: {attributes: 0}")
    for each in (ONE, TWO):
        call("ModifyInstanceAttribute", each, at="cn-shanghai", InstanceName="renamed")
    assert [call.cloud.find(each).name for each in (ONE, TWO)] == ["sim-000000", "renamed"]
