import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from cloud_recorder import Asked, Bench, bench, no, ok
from selector_records import a_selector

from batchmod.cloud.inventory import Inventory
from batchmod.cloud.views import Details, Instance, Key, Tde
from batchmod.errors import CallError, Verdict

ITEM = {
    "InstanceId": "r-1",
    "InstanceName": "orders",
    "InstanceStatus": "Normal",
    "RegionId": "cn-hangzhou",
    "ZoneId": "cn-hangzhou-b",
    "EngineVersion": "5.0",
    "InstanceClass": "redis.master.small.default",
    "EditionType": "Enterprise",
    "ArchitectureType": "standard",
    "ChargeType": "PostPaid",
    "ResourceGroupId": "rg-1",
    "VpcId": "vpc-1",
    "Tags": {"Tag": [{"Key": "env", "Value": "prod"}, {"Key": "empty"}, "no tag"]},
    "ConnectionDomain": "r-1.redis.rds.aliyuncs.com",
    "Port": 6379,
}
TAGS = [{"Key": "env", "Value": "prod"}, {"Key": "team", "Value": "pay"}]
INSTANCE = Instance(
    id="r-1",
    status="Normal",
    name="orders",
    region="cn-hangzhou",
    zone="cn-hangzhou-b",
    engine_version="5.0",
    edition="Enterprise",
    architecture="standard",
    charge_type="PostPaid",
    resource_group="rg-1",
    vpc="vpc-1",
    tags={"env": "prod", "empty": ""},
    address="r-1.redis.rds.aliyuncs.com:6379",
)


def page(*items: dict[str, Any], total: Any = None) -> web.Response:
    count = len(items) if total is None else total
    return ok(Instances={"KVStoreInstance": list(items)}, TotalCount=count, PageNumber=1, PageSize=50)


def fleet(*there: str, malformed: str | None = None) -> Callable[[Asked], web.Response]:
    """Lists those that are there, and refuses a batch with the malformed one."""

    def answer(asked: Asked) -> web.Response:
        ids = asked.form["InstanceIds"].split(",")
        if malformed in ids:
            return no("InvalidInstanceIds.Malformed")
        return page(*({**ITEM, "InstanceId": one} for one in ids if one in there))

    return answer


def batches(b: Bench) -> list[list[str]]:
    return [one.form["InstanceIds"].split(",") for one in b.asked]


async def test_a_fleet_is_looked_at_thirty_at_a_time() -> None:
    """Sixty-five instances are three calls, each of one page of the region; an id given twice is looked at once."""
    ids = [f"r-{n}" for n in range(65)]
    async with bench(fleet(*ids)) as b:
        found = await Inventory(b.client).look([*ids, "r-0"])
    assert list(found) == ids
    assert {one.id for one in found.values() if isinstance(one, Instance)} == set(ids)
    assert [len(batch) for batch in batches(b)] == [30, 30, 5]
    assert {(a.api, a.form["RegionId"], a.form["PageSize"], a.form["PageNumber"]) for a in b.asked} == {
        ("DescribeInstances", "cn-hangzhou", "50", "1")
    }


async def test_nothing_is_asked_for_nothing() -> None:
    """No id, no call."""
    async with bench(fleet()) as b:
        assert await Inventory(b.client).look([]) == {}
    assert b.asked == []


async def test_a_missing_id_is_asked_for_alone_twice() -> None:
    """Only what two further questions of its own do not find is gone."""
    async with bench(fleet("r-1", "r-3")) as b:
        found = await Inventory(b.client).look(["r-1", "r-2", "r-3"])
    assert [bool(found[one]) for one in ("r-1", "r-2", "r-3")] == [True, False, True]
    assert batches(b) == [["r-1", "r-2", "r-3"], ["r-2"], ["r-2"]]


@pytest.mark.parametrize("alone", [1, 2])
async def test_an_id_that_a_batch_forgot_is_found_alone(alone: int) -> None:
    """A listing that is late does not make an instance gone."""

    def answer(asked: Asked) -> web.Response:
        b_so_far = [one for one in b.asked if one.form["InstanceIds"] == "r-1"]
        return page(ITEM) if len(b_so_far) == alone else fleet("r-2")(asked)

    async with bench(answer) as b:
        found = await Inventory(b.client).look(["r-1", "r-2"])
    assert found["r-1"] == INSTANCE
    assert len(b.asked) == 1 + alone


async def test_a_malformed_id_is_alone_in_being_gone() -> None:
    """A batch refused for one id is halved until the others are found."""
    ids = [f"r-{n}" for n in range(30)]
    async with bench(fleet(*ids, malformed="r-17")) as b:
        found = await Inventory(b.client).look(ids)
    assert [one for one, instance in found.items() if instance is None] == ["r-17"]
    assert len(b.asked) < 30


async def test_a_refusal_by_an_unknown_id_is_that_ids() -> None:
    """Some spellings say "not found" where others list nothing."""

    def answer(asked: Asked) -> web.Response:
        return no("InvalidInstanceId.NotFound", status=404) if "r-2" in asked.form["InstanceIds"] else page(ITEM)

    async with bench(answer) as b:
        assert await Inventory(b.client).look(["r-1", "r-2"]) == {"r-1": INSTANCE, "r-2": None}


@pytest.mark.parametrize(
    ("code", "sizes"),
    [("InvalidParameter", [30, 15, 7, 3, 1]), ("Forbidden.RAM", [30, 15, 7, 3, 1, 2, 1, 1, 4, 2, 1, 1])],
)
async def test_a_refusal_that_is_not_for_an_id_is_passed_on(code: str, sizes: list[int]) -> None:
    """No fleet disappears, nor is each id asked for: five permissions in a row are nobody's own."""
    async with bench(lambda _: no(code)) as b:
        with pytest.raises(CallError, match=code):
            await Inventory(b.client).look([f"r-{n}" for n in range(30)])
    assert [len(batch) for batch in batches(b)] == sizes


@pytest.mark.parametrize("place", [0, 17, 29])
async def test_an_id_that_is_forbidden_poisons_no_other(place: int) -> None:
    """Its refusal is its own, the twenty-nine others are found."""
    ids = [f"r-{n}" for n in range(30)]
    bad = ids[place]

    def answer(asked: Asked) -> web.Response:
        return no("Forbidden.RAM") if bad in asked.form["InstanceIds"].split(",") else fleet(*ids)(asked)

    async with bench(answer) as b:
        found = await Inventory(b.client).look(ids)
    refused = {name: one.code for name, one in found.items() if isinstance(one, CallError)}
    assert refused == {bad: "Forbidden.RAM"}
    assert all(isinstance(one, Instance) for name, one in found.items() if name != bad)
    assert len(b.asked) < 15


async def test_looks_side_by_side_say_nothing_of_each_other() -> None:
    """Two ids that are forbidden in each of four looks are theirs alone, in whatever order the answers come."""
    ids = [[f"r-{look}-{n}" for n in range(30)] for look in range(4)]
    bad = {f"r-{look}-{n}" for look in range(4) for n in (7, 8)}

    def answer(asked: Asked) -> web.Response:
        named = asked.form["InstanceIds"].split(",")
        return no("Forbidden.RAM") if bad & set(named) else fleet(*named)(asked)

    async with bench(answer) as b:
        inventory = Inventory(b.client)
        found = await asyncio.gather(*map(inventory.look, ids))
    refused = {name for each in found for name, one in each.items() if isinstance(one, CallError)}
    assert refused == bad


async def test_refusals_of_single_ids_are_counted_in_a_row_only() -> None:
    """Six of sixty, with others between: each is its own."""
    ids = [f"r-{n}" for n in range(60)]
    bad = set(ids[::10])

    def answer(asked: Asked) -> web.Response:
        return no("Forbidden.RAM") if bad & set(asked.form["InstanceIds"].split(",")) else fleet(*ids)(asked)

    async with bench(answer) as b:
        found = await Inventory(b.client).look(ids)
    assert {name for name, one in found.items() if isinstance(one, CallError)} == bad


async def test_a_forbidden_id_that_is_asked_for_alone_is_still_its_own() -> None:
    """The last one of a fleet, in a batch of its own, fails no other."""
    async with bench(lambda _: no("Forbidden.RAM", status=403)) as b:
        found = await Inventory(b.client).look(["r-1", "r-2"])
    assert {name: type(one) for name, one in found.items()} == {"r-1": CallError, "r-2": CallError}


@pytest.mark.parametrize("code", ["Throttling", "InternalError", "SignatureDoesNotMatch", "TaskExists"])
async def test_other_errors_pass_through_at_once(code: str) -> None:
    """Asking again is the caller's business."""
    async with bench(lambda _: no(code)) as b:
        with pytest.raises(CallError, match=code):
            await Inventory(b.client).look(["r-1", "r-2"])
    assert len(b.asked) == 1


async def test_a_selector_is_asked_for_in_the_services_words() -> None:
    """Tags, and whatever has one value; what has several is left to our own look."""
    wanted = a_selector(
        tags={"env": "prod", "team": "pay"},
        engine_versions=("7.0",),
        editions=("Enterprise",),
        architectures=("cluster",),
        charge_types=("PostPaid", "PrePaid"),
        statuses=("Normal",),
        resource_groups=("rg-1",),
        vpcs=("vpc-1",),
        names=("cache-*",),
    )
    listed = ITEM | {"EngineVersion": 7.0, "ArchitectureType": "cluster", "Tags": {"Tag": TAGS}}
    async with bench(lambda _: page(listed)) as b:
        found = await Inventory(b.client).page(wanted, 1)
    tags = {"env": "prod", "team": "pay"}
    expected = INSTANCE._replace(engine_version="7.0", architecture="cluster", tags=tags)
    assert (found.total, list(found.instances)) == (1, [expected])
    (asked,) = b.asked
    assert asked.form == {
        "RegionId": "cn-hangzhou",
        "PageSize": "50",
        "PageNumber": "1",
        "EngineVersion": "7.0",
        "EditionType": "Enterprise",
        "ArchitectureType": "cluster",
        "ResourceGroupId": "rg-1",
        "VpcId": "vpc-1",
        "Tag.1.Key": "env",
        "Tag.1.Value": "prod",
        "Tag.2.Key": "team",
        "Tag.2.Value": "pay",
    }


@pytest.mark.parametrize(
    ("asked", "fields", "word"),
    [
        ({"tags": {"env": "prod"}}, {"Tags": {"Tag": []}}, "tag env"),
        ({"tags": {"env": "prod"}}, {"Tags": {"Tag": [{"Key": "env", "Value": "test"}]}}, "tag env"),
        ({"editions": ("Enterprise",)}, {"EditionType": "Community"}, "edition"),
        ({"vpcs": ("vpc-1",)}, {"VpcId": None}, "vpc"),
        ({}, {"RegionId": "us-west-1"}, "region"),
    ],
)
async def test_a_list_of_something_else_is_an_error(asked: dict[str, Any], fields: dict[str, Any], word: str) -> None:
    """A service that ignores what it was asked may leave out as well what it should list."""
    async with bench(lambda _: page(ITEM | fields)) as b:
        with pytest.raises(CallError, match=f"r-1 is listed for a {word} that it does not have"):
            await Inventory(b.client).page(a_selector(**asked), 1)


async def test_what_was_not_asked_for_by_one_value_may_be_anything() -> None:
    """Names, statuses and lists of several values are left to the look at each instance."""
    wanted = a_selector(editions=("Enterprise", "Community"), statuses=("Changing",), names=("x",))
    async with bench(lambda _: page(ITEM | {"EditionType": "Other", "RegionId": None})) as b:
        assert len((await Inventory(b.client).page(wanted, 1)).instances) == 1


@pytest.mark.parametrize(
    ("number", "total", "items", "fine"),
    [
        (1, 0, 0, True),
        (1, 50, 50, True),
        (1, 51, 50, True),
        (2, 51, 1, True),
        (3, 51, 0, True),
        (1, 50, 49, False),
        (1, 100, 30, False),
        (2, 51, 0, False),
        (1, 1, 2, False),
        (1, "", 0, False),
        (1, -1, 0, False),
        (1, 1.5, 1, False),
    ],
)
async def test_a_short_page_is_an_error(number: int, total: Any, items: int, fine: bool) -> None:
    """Never fewer instances than the list says that it has, nor more."""
    listed = [ITEM | {"InstanceId": f"r-{n}"} for n in range(items)]
    async with bench(lambda _: page(*listed, total=total)) as b:
        if fine:
            assert len((await Inventory(b.client).page(a_selector(), number)).instances) == items
            return
        with pytest.raises(CallError) as caught:
            await Inventory(b.client).page(a_selector(), number)
    assert (caught.value.verdict, caught.value.code) == (Verdict.LOST, "UnreadableReply")


@pytest.mark.parametrize(
    "reply",
    [
        page(total=1),
        page(ITEM, total=2),
        page(ITEM, total=0),
        page(ITEM, total="many"),
        page(ITEM, ITEM),
        page(ITEM | {"InstanceId": "r-9"}),
        page(ITEM | {"InstanceId": None}),
        page(ITEM | {"InstanceStatus": ""}),
        ok(Instances={"KVStoreInstance": [ITEM]}),
        ok(Instances={"KVStoreInstance": ["r-1"]}, TotalCount=1),
        ok(Instances={"KVStoreInstance": ITEM}, TotalCount=1),
        ok(Instances=[], TotalCount=0),
        ok(TotalCount=0),
        ok(),
    ],
    ids=range(14),
)
async def test_a_page_that_disagrees_is_no_answer(reply: web.Response) -> None:
    """A short, foreign or broken page says nothing of any instance, least of all that it is gone."""
    body = reply.body
    async with bench(lambda _: web.Response(body=body)) as b:
        with pytest.raises(CallError) as caught:
            await Inventory(b.client).look(["r-1", "r-2"])
    assert (caught.value.verdict, caught.value.code) == (Verdict.LOST, "UnreadableReply")
    assert len(b.asked) == 1


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"EngineVersion": 5.0}, "engine_version", "5.0"),
        ({"EngineVersion": 7}, "engine_version", "7"),
        ({"EngineVersion": None}, "engine_version", None),
        ({"Port": "6380"}, "address", "r-1.redis.rds.aliyuncs.com:6380"),
        ({"Port": ""}, "address", None),
        ({"Port": 0}, "address", None),
        ({"Port": True}, "address", None),
        ({"Port": "6379;"}, "address", None),
        ({"ConnectionDomain": ""}, "address", None),
        ({"InstanceName": ""}, "name", None),
        ({"InstanceName": True}, "name", None),
        ({"ZoneId": ["b"]}, "zone", None),
    ],
)
async def test_an_item_is_read_tolerantly(fields: dict[str, Any], name: str, expected: str | None) -> None:
    """Numbers may be strings and strings numbers; what makes no sense is None."""
    async with bench(lambda _: page(ITEM | fields, total="1")) as b:
        found = (await Inventory(b.client).look(["r-1"]))["r-1"]
    assert getattr(found, name) == expected


def attributes(**fields: Any) -> web.Response:
    item = {"InstanceId": "r-1", "InstanceStatus": "Normal", "InstanceName": "orders", **fields}
    return ok(Instances={"DBInstanceAttribute": [item]})


@pytest.mark.parametrize(
    ("said", "meant"),
    [(True, True), ("true", True), ("True", True), (False, False), ("FALSE", False), ("", None), (1, None)],
)
async def test_details_are_read_tolerantly(said: Any, meant: bool | None) -> None:
    """Truth comes as a boolean or as its name in any case, and is otherwise unknown."""
    async with bench(lambda _: attributes(InstanceReleaseProtection=said)) as b:
        details = await Inventory(b.client).details("r-1")
    assert details == Details(
        id="r-1",
        status="Normal",
        name="orders",
        release_protection=meant,
    )
    assert [(one.api, one.form) for one in b.asked] == [("DescribeInstanceAttribute", {"InstanceId": "r-1"})]


@pytest.mark.parametrize(
    "reply",
    [no("InvalidInstanceId.NotFound", status=404), ok(Instances={"DBInstanceAttribute": []})],
    ids=["404", "[]"],
)
async def test_details_of_nobody_are_none(reply: web.Response) -> None:
    """Not found and an empty list are the same."""
    status, body = reply.status, reply.body
    async with bench(lambda _: web.Response(status=status, body=body)) as b:
        assert await Inventory(b.client).details("r-1") is None


@pytest.mark.parametrize("fields", [{"InstanceId": "r-2"}, {"InstanceStatus": None}])
async def test_details_of_another_are_no_answer(fields: dict[str, Any]) -> None:
    """What is of another instance, or of none, is not read as this one's."""
    async with bench(lambda _: attributes(**fields)) as b:
        with pytest.raises(CallError, match="UnreadableReply"):
            await Inventory(b.client).details("r-1")


@pytest.mark.parametrize(
    ("said", "enabled"),
    [("Enabled", True), ("enabled", True), ("Disabled", False), ("Disable", False), ("disabled", False)],
)
async def test_encryption_is_on_only_when_it_says_enabled(said: str, enabled: bool) -> None:
    """Every documented spelling is understood."""
    async with bench(lambda _: ok(TDEStatus=said)) as b:
        assert await Inventory(b.client).tde("r-1") == Tde(supported=True, enabled=enabled)
    assert [(one.api, one.form) for one in b.asked] == [("DescribeInstanceTDEStatus", {"InstanceId": "r-1"})]


async def test_an_instance_that_cannot_be_encrypted_is_not() -> None:
    """ "Not supported" is an answer to both questions about encryption, other errors are none."""
    async with bench(lambda _: no("InstanceType.NotSupport")) as b:
        assert await Inventory(b.client).tde("r-1") == Tde(supported=False, enabled=False)
        assert await Inventory(b.client).encryption_key("r-1") == Key(key_id=None, role_arn=None, algorithm=None)
    async with bench(lambda _: no("Forbidden.RAM", status=403)) as b:
        with pytest.raises(CallError, match="Forbidden"):
            await Inventory(b.client).tde("r-1")
        with pytest.raises(CallError, match="Forbidden"):
            await Inventory(b.client).encryption_key("r-1")
    async with bench(lambda _: ok()) as b:
        with pytest.raises(CallError, match="UnreadableReply"):
            await Inventory(b.client).tde("r-1")


async def test_the_custom_key_is_told() -> None:
    """Key, role and algorithm as the service names them."""
    async with bench(lambda _: ok(EncryptionKey="k-1", RoleArn="acs:ram::1:role/x", EncryptionName="AES-CTR-256")) as b:
        key = await Inventory(b.client).encryption_key("r-1")
    assert key == Key(key_id="k-1", role_arn="acs:ram::1:role/x", algorithm="AES-CTR-256")
    assert [(one.api, one.form) for one in b.asked] == [("DescribeEncryptionKey", {"InstanceId": "r-1"})]


def net(**item: Any) -> dict[str, Any]:
    """One item of DescribeDBInstanceNetInfo, a proxy's inside a VPC."""
    usual = {"ConnectionString": "h", "Port": "6379", "IPType": "Private", "DirectConnection": 0, "IsSlaveProxy": 0}
    return {**usual, **item}


@pytest.mark.parametrize(
    ("items", "address"),
    [
        ([net()], "h:6379"),
        ([net(Port=6380)], "h:6380"),
        (
            [
                net(IPType="Public", ConnectionString="public"),
                net(IPType="Inner", ConnectionString="inner"),
                net(ConnectionString="private"),
            ],
            "private:6379",
        ),
        ([net(IPType="Public", ConnectionString="public"), net(IPType="Inner")], "h:6379"),
        ([net(IPType="Public")], "h:6379"),
        (
            [net(ConnectionString="direct", DirectConnection=1), net(IPType="Public", ConnectionString="proxy")],
            "proxy:6379",
        ),
        ([net(ConnectionString="direct", DirectConnection="1")], None),
        (
            [net(ConnectionString="replica", IsSlaveProxy=1), net(IPType="Public", ConnectionString="proxy")],
            "proxy:6379",
        ),
        ([net(ConnectionString="", IPAddress="10.0.0.7")], "10.0.0.7:6379"),
        ([net(ConnectionString="2001:db8::7")], "[2001:db8::7]:6379"),
        ([net(ConnectionString="[2001:db8::7]")], "[2001:db8::7]:6379"),
        ([net(ConnectionString="")], None),
        ([net(Port="")], None),
        ([net(Port="0")], None),
        ([net(Port="65536")], None),
        ([net(IPType="Other")], None),
        ([], None),
    ],
)
async def test_the_address_that_proves_a_whole_instance(items: list[dict[str, Any]], address: str | None) -> None:
    """The proxy's, as near as there is one; never that of a single shard."""
    async with bench(lambda _: ok(InstanceNetworkType="VPC", NetInfoItems={"InstanceNetInfo": items})) as b:
        assert await Inventory(b.client).address("r-1") == address
    assert [(one.api, one.form["InstanceId"]) for one in b.asked] == [("DescribeDBInstanceNetInfo", "r-1")]


async def test_net_info_without_its_list_is_no_answer() -> None:
    """Unreadable, which is not "there is none"."""
    async with bench(lambda _: ok(InstanceNetworkType="VPC")) as b:
        with pytest.raises(CallError, match="UnreadableReply"):
            await Inventory(b.client).address("r-1")
