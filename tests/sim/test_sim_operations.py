"""Accounts of an instance, tags, every filter of the list, and what a request may carry."""

from typing import Any

import pytest
from sim_support import FOUR, ONE, THREE, TWO, Caller

INSTANT = "lag: 0\ndurations: {attributes: 0, password: 0, tde: 0}"
OLD, NEW = "uW8+nsrp", "x9=K_new%&"


def accounts(call: Caller, **params: str) -> list[dict[str, Any]]:
    fields = call.send("DescribeAccounts", {"InstanceId": ONE} | params).fields
    found: list[dict[str, Any]] = fields["Accounts"]["Account"]
    return found


def test_every_instance_has_its_default_account() -> None:
    """Named like the instance, and unavailable while a task runs."""
    call = Caller("lag: 0\ndurations: {password: 10}")
    assert [(each["AccountName"], each["AccountStatus"]) for each in accounts(call)] == [(ONE, "Available")]
    call("ResetAccountPassword", ONE, AccountName=ONE, AccountPassword=NEW)
    assert [each["AccountStatus"] for each in accounts(call)] == ["Unavailable"]
    call.clock.now += 10
    assert [each["AccountStatus"] for each in accounts(call)] == ["Available"]
    assert (accounts(call, AccountName="other"), accounts(call, SearchAccountName="sim0")) == ([], accounts(call))


def test_a_reset_password_takes_effect_when_its_task_ends() -> None:
    """With lag, status and TaskExists as any other change of a password."""
    call = Caller("lag: 2\ndurations: {password: 10}")
    assert call.code("ResetAccountPassword", ONE, AccountName=ONE, AccountPassword=NEW) == "OK"
    assert call.rename() == "TaskExists"
    call.clock.now += 2
    assert call.cloud.status(call.cloud.find(ONE)) == "Changing"
    assert call.cloud.passwords[ONE] != NEW
    call.clock.now += 10
    state = call.cloud.state()["instances"][ONE]
    assert (state["status"], state["password_generation"], state["distinct_passwords_sent"]) == ("Normal", 1, 1)
    assert call.cloud.passwords[ONE] == NEW


@pytest.mark.parametrize(
    ("instance_id", "params", "status", "code"),
    [
        (ONE, {"AccountPassword": NEW}, 400, "MissingParameter"),
        (ONE, {"AccountName": ONE}, 400, "MissingParameter"),
        (ONE, {"AccountName": "other", "AccountPassword": NEW}, 400, "InvalidAccountName.Format"),
        (ONE, {"AccountName": ONE, "AccountPassword": "short"}, 400, "InvalidAccountPassword.Format"),
        (TWO, {"AccountName": TWO, "AccountPassword": NEW}, 400, "InvalidEngineVersion.Format"),
        (THREE, {"AccountName": THREE, "AccountPassword": NEW}, 403, "IncorrectDBInstanceLockMode"),
        (FOUR, {"AccountName": FOUR, "AccountPassword": NEW}, 403, "IncorrectDBInstanceState"),
        ("r-none", {"AccountName": "r-none", "AccountPassword": NEW}, 404, "InvalidInstanceId.NotFound"),
    ],
)
def test_a_reset_is_refused_as_documented(instance_id: str, params: dict[str, str], status: int, code: str) -> None:
    """Code and status of each mistake."""
    faults = f"instances: {{{TWO}: {{engine_version: '2.8'}}, {THREE}: {{locked: true}}, {FOUR}: {{status: Inactive}}}}"
    answer = Caller(faults).send("ResetAccountPassword", {"InstanceId": instance_id} | params)
    assert (answer.status, answer.fields["Code"]) == (status, code)


def test_a_locked_instance_refuses_every_change() -> None:
    """403 IncorrectDBInstanceLockMode; reading goes on."""
    call = Caller(f"instances: {{{ONE}: {{locked: true}}}}")
    answer = call("ModifyInstanceTDE", ONE, TDEStatus="Enabled")
    assert (answer.status, answer.fields["Code"], call.rename()) == (
        403,
        "IncorrectDBInstanceLockMode",
        "IncorrectDBInstanceLockMode",
    )
    assert call.code("DescribeInstanceAttribute", ONE) == "OK"


SPECIAL = f"""
instances:
  {TWO}:
    zone: cn-shanghai-g
    vpc_id: vpc-pay
    vswitch_id: vsw-pay
    resource_group: rg-pay
    architecture: cluster
    node_type: MASTER_SLAVE
    instance_class: tair.rdb.1g
    private_ip: 10.0.0.7
    shard_count: 4
    global: true
    edition: Community
    engine_version: "6.0"
    charge_type: PrePaid
    expired: true
    status: Inactive
    name: orders
    tags: {{env: test, team: pay}}
  {FOUR}: {{network_type: CLASSIC}}
"""


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"RegionId": "cn-shanghai"}, [TWO, FOUR]),
        ({"ZoneId": "cn-shanghai-g"}, [TWO]),
        ({"VpcId": "vpc-pay"}, [TWO]),
        ({"VpcId": "vpc-sim"}, [ONE, THREE]),
        ({"VSwitchId": "vsw-pay"}, [TWO]),
        ({"ResourceGroupId": "rg-pay"}, [TWO]),
        ({"ArchitectureType": "cluster"}, [TWO]),
        ({"NodeType": "MASTER_SLAVE"}, [TWO]),
        ({"InstanceClass": "tair.rdb.1g"}, [TWO]),
        ({"PrivateIp": "10.0.0.7"}, [TWO]),
        ({"GlobalInstance": "True"}, [TWO]),
        ({"GlobalInstance": "false"}, [ONE, THREE, FOUR]),
        ({"EditionType": "Community"}, [TWO]),
        ({"InstanceType": "Redis"}, [TWO]),
        ({"InstanceType": "Memcache"}, []),
        ({"EngineVersion": "6.0"}, [TWO]),
        ({"ChargeType": "PrePaid"}, [TWO]),
        ({"Expired": "true"}, [TWO]),
        ({"Expired": "false"}, [ONE, THREE, FOUR]),
        ({"InstanceStatus": "Inactive"}, [TWO]),
        ({"NetworkType": "CLASSIC"}, [FOUR]),
        ({"SearchKey": "rder"}, [TWO]),
        ({"SearchKey": "sim00000"}, [ONE, TWO, THREE, FOUR]),
        ({"InstanceIds": f"{FOUR}, {TWO}", "RegionId": "cn-shanghai"}, [TWO, FOUR]),
        ({"InstanceIds": f"{ONE},{TWO}", "RegionId": "cn-shanghai"}, [TWO]),
        ({"RegionId": "cn-shanghai", "Tag.1.Key": "env", "Tag.1.Value": "test", "Tag.2.Key": "team"}, [TWO]),
        ({"RegionId": "cn-shanghai", "Tag.2.Key": "env", "Tag.2.Value": "prod"}, [FOUR]),
        ({"ZoneId": "cn-shanghai-g", "ChargeType": "PostPaid"}, []),
        (
            {"Unknown": "x", "OwnerAccount": "a", "OwnerId": "1", "ResourceOwnerId": "1", "VpcId": ""},
            [ONE, TWO, THREE, FOUR],
        ),
    ],
)
def test_every_filter_filters(params: dict[str, str], found: list[str]) -> None:
    """Alone and together; unknown, legacy and empty parameters leave all."""
    fields = Caller(SPECIAL).send("DescribeInstances", params).fields
    assert [each["InstanceId"] for each in fields["Instances"]["KVStoreInstance"]] == found
    assert fields["TotalCount"] == len(found)


@pytest.mark.parametrize(
    "params", [{"Expired": "yes"}, {"GlobalInstance": "1"}, {f"Tag.{n}.Key": "k" for n in range(1, 7)}]
)
def test_a_filter_that_cannot_be_is_refused(params: dict[str, str]) -> None:
    """InvalidParameter, not an empty list."""
    fields = Caller().send("DescribeInstances", {"RegionId": "cn-hangzhou"} | params).fields
    assert fields["Code"] == "InvalidParameter"


def test_what_an_override_says_is_shown() -> None:
    """In list, attributes and net info."""
    call = Caller(f"{SPECIAL}  {THREE}: {{order_completed: false, create_time: '2019-05-06T07:08:09Z'}}")
    item = call.send("DescribeInstances", {"InstanceIds": TWO}).fields["Instances"]["KVStoreInstance"][0]
    assert (item["ShardCount"], item["Capacity"], item["EndTime"][:4]) == (4, 4096, "2024")
    assert (item["GlobalInstanceId"] != "", item["PrivateIp"], item["ZoneId"]) == (True, "10.0.0.7", "cn-shanghai-g")
    third = call("DescribeInstanceAttribute", THREE).fields["Instances"]["DBInstanceAttribute"][0]
    assert (third["IsOrderCompleted"], third["CreateTime"]) == (False, "2019-05-06T07:08:09Z")
    classic = call("DescribeDBInstanceNetInfo", FOUR).fields
    assert (classic["InstanceNetworkType"], classic["NetInfoItems"]["InstanceNetInfo"][0]["VPCId"]) == ("CLASSIC", "")


def net_info(call: Caller, instance_id: str) -> list[tuple[str, str, int]]:
    """Address, network and directness of each item."""
    items = call("DescribeDBInstanceNetInfo", instance_id).fields["NetInfoItems"]["InstanceNetInfo"]
    return [(f"{each['ConnectionString']}:{each['Port']}", each["IPType"], each["DirectConnection"]) for each in items]


def test_where_an_instance_is_reached() -> None:
    """In list and net info; by choice in net info only; nowhere while it is being made; a cluster directly too."""
    call = Caller(
        f"""
        busy: [{{match: {THREE}, seconds: 5, status: Creating}}]
        instances: {{{ONE}: {{architecture: cluster}}, {TWO}: {{listed_address: false, architecture: rwsplit}}}}"""
    )
    fields = call.send("DescribeInstances", {"InstanceIds": f"{ONE},{TWO},{THREE}"}).fields
    listed = [each["ConnectionDomain"] for each in fields["Instances"]["KVStoreInstance"]]
    assert listed == ["127.0.0.1", "", ""]
    proxy = ("127.0.0.1:6379", "Private", 0)
    assert net_info(call, ONE) == [("127.0.0.1:6379", "Private", 1), proxy]
    assert net_info(call, TWO) == [proxy]
    assert net_info(call, THREE) == []
    call.clock.now += 6
    assert net_info(call, THREE) == [proxy]


def listed_tags(call: Caller, **more: str) -> list[tuple[str, str, str]]:
    """All pages of ListTagResources in cn-hangzhou."""
    found, token = [], ""
    while True:
        params = {"RegionId": "cn-hangzhou", "ResourceType": "INSTANCE", "NextToken": token} | more
        fields = call.send("ListTagResources", params).fields
        page = fields["TagResources"]["TagResource"]
        assert len(page) <= 50
        found += [(each["ResourceId"], each["TagKey"], each["TagValue"]) for each in page]
        token = fields["NextToken"]
        if not token:
            return found


def test_tags_are_set_and_listed() -> None:
    """On all named instances, beside their own and in the place of the same key; a select by tag finds them."""
    call = Caller()
    base = {"RegionId": "cn-hangzhou", "ResourceType": "INSTANCE"}
    tags = {"Tag.1.Key": "env", "Tag.1.Value": "test", "Tag.2.Key": "team", "Tag.2.Value": "pay"}
    assert call.send("TagResources", base | tags | {"ResourceId.1": ONE}).status == 200
    assert listed_tags(call, **{"ResourceId.1": ONE, "ResourceId.2": THREE}) == [
        (ONE, "env", "test"),
        (ONE, "team", "pay"),
        (THREE, "env", "prod"),
    ]
    assert listed_tags(call, **{"Tag.1.Key": "team"}) == [(ONE, "env", "test"), (ONE, "team", "pay")]
    assert call.send("DescribeInstances", base | {"Tag.1.Key": "team"}).fields["TotalCount"] == 1


def test_tags_come_in_pages() -> None:
    """All pages together are all tags once, in order."""
    call = Caller('instances: {"*": {tags: {a: "1", b: "2", c: "3"}}}', count=90)
    found = listed_tags(call, **{"Tag.1.Key": "a"})
    assert (len(found), found) == (45 * 3, sorted(set(found)))


GOOD_TAGS = {
    "RegionId": "cn-hangzhou",
    "ResourceType": "INSTANCE",
    "ResourceId.1": ONE,
    "Tag.1.Key": "a",
    "Tag.1.Value": "b",
}


@pytest.mark.parametrize(
    ("api", "change", "code"),
    [
        ("TagResources", {"RegionId": ""}, "MissingParameter"),
        ("TagResources", {"ResourceType": ""}, "MissingParameter"),
        ("TagResources", {"ResourceType": "VPC"}, "InvalidParameter"),
        ("TagResources", {"Tag.1.Value": ""}, "MissingParameter"),
        ("TagResources", {"ResourceId.2": "r-none"}, "InvalidInstanceId.NotFound"),
        ("TagResources", {"ResourceId.2": TWO}, "InvalidInstanceId.NotFound"),
        ("TagResources", {f"Tag.{n}.Key": "k" for n in range(1, 22)}, "InvalidParameter"),
        ("TagResources", {f"ResourceId.{n}": "r" for n in range(1, 52)}, "InvalidParameter"),
        ("ListTagResources", {"RegionId": ""}, "MissingParameter"),
        ("ListTagResources", {"NextToken": "nonsense!"}, "InvalidParameter"),
    ],
)
def test_tag_calls_are_checked(api: str, change: dict[str, str], code: str) -> None:
    """A wrong call changes no instance."""
    call = Caller()
    assert call.send(api, GOOD_TAGS | change).fields["Code"] == code
    assert call.cloud.find(ONE).tags == {"env": "prod"}


@pytest.mark.parametrize("left_out", [("ResourceId.1",), ("Tag.1.Key", "Tag.1.Value")])
def test_tagging_needs_both(left_out: tuple[str, ...]) -> None:
    """Resources and tags; listing needs one of them."""
    params = {name: value for name, value in GOOD_TAGS.items() if name not in left_out}
    assert Caller().send("TagResources", params).fields["Code"] == "MissingParameter"
    assert Caller().send("ListTagResources", params).status == 200


def test_listing_tags_needs_something() -> None:
    """Neither resource nor tag is refused."""
    params = {"RegionId": "cn-hangzhou", "ResourceType": "INSTANCE"}
    assert Caller().send("ListTagResources", params).fields["Code"] == "MissingParameter"


def test_tags_are_each_instances_own() -> None:
    """What one override gave to many is not shared by them."""
    call = Caller('instances: {"*": {tags: {env: prod}}}')
    call.send("TagResources", GOOD_TAGS)
    assert [call.cloud.find(each).tags for each in (ONE, THREE)] == [{"env": "prod", "a": "b"}, {"env": "prod"}]
