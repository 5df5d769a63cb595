"""DescribeInstances: which instances, and which page of them. A view is made of what is on the page, and of nothing else."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from batchmod.sim.calls import Call, instance_arn
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import invalid, missing, refused
from batchmod.sim.instances import Instance
from batchmod.sim.paging import page_of
from batchmod.sim.ram import Ask
from batchmod.sim.tags import has_tags, tags_of
from batchmod.sim.views import listed

MAX_IDS, MAX_TAGS = 30, 5
Test = Callable[[Instance], bool]
EQUAL: Mapping[str, Callable[[Instance], str]] = {  # parameter: what must be the same
    "ChargeType": attrgetter("charge_type"),
    "EngineVersion": attrgetter("engine_version"),
    "NetworkType": attrgetter("network_type"),
    "InstanceType": attrgetter("instance_type"),
    "EditionType": attrgetter("edition"),
    "ArchitectureType": attrgetter("architecture"),
    "InstanceClass": attrgetter("instance_class"),
    "NodeType": attrgetter("node_type"),
    "ZoneId": attrgetter("zone"),
    "VpcId": lambda each: each.vpc_id if each.network_type == "VPC" else "",
    "VSwitchId": lambda each: each.vswitch_id if each.network_type == "VPC" else "",
    "PrivateIp": attrgetter("private_ip"),
    "ResourceGroupId": attrgetter("resource_group"),
}
FLAGS: Mapping[str, Callable[[Instance], bool]] = {
    "Expired": attrgetter("expired"),
    "GlobalInstance": attrgetter("in_global"),
}


def describe_instances(cloud: FakeCloud, call: Call) -> dict[str, Any]:
    """One page in order of id. Raises InvalidInstanceIds.Malformed for more than 30 ids or an empty one."""
    cloud.advance()
    tests = _tests(cloud, call.params)
    found = [each for each in _candidates(cloud, call) if all(test(each) for test in tests)]
    page = page_of(found, call.params)
    views = [listed(each, cloud.status(each)) for each in page.items]
    return page.numbers | {"Instances": {"KVStoreInstance": views}}


def wants_listed(cloud: FakeCloud, call: Call) -> list[Ask]:
    """Each id that is named, else all instances."""
    ids = instance_ids(call.params)
    return [
        Ask(action=call.action, resource=instance_arn(cloud, call, each)) for each in (["*"] if ids is None else ids)
    ]


def instance_ids(params: Mapping[str, str]) -> list[str] | None:
    """Sorted, each once; None when none is asked for."""
    if not params.get("InstanceIds"):
        return None
    ids = [each.strip() for each in params["InstanceIds"].split(",")]
    if len(ids) > MAX_IDS or not all(ids):
        raise refused("InvalidInstanceIds.Malformed")
    return sorted(set(ids))


def _candidates(cloud: FakeCloud, call: Call) -> Sequence[Instance]:
    """In order of id, what the ids or else the lane leave over."""
    region = call.params.get("RegionId") or call.region
    if call.region not in {None, region}:
        return []
    ids = instance_ids(call.params)
    if ids is None:
        return cloud.lanes.of(call.account_id, region)
    named = [instance for each in ids if (instance := cloud.instances.get(each))]
    return [each for each in named if call.sees(each) and region in {None, each.region}]


def _tests(cloud: FakeCloud, params: Mapping[str, str]) -> list[Test]:
    """What the parameters demand, the cheap first."""
    tests: list[Test] = [_equal(its, params[name]) for name, its in EQUAL.items() if params.get(name)]
    tests += [_is(its, _flag(params, name)) for name, its in FLAGS.items() if params.get(name)]
    if text := params.get("SearchKey"):
        tests.append(lambda each: text in each.id or text in each.name)
    if tags := tags_of(params, high=MAX_TAGS):
        if not params.get("RegionId"):
            raise missing("RegionId")
        tests.append(lambda each: has_tags(each, tags))
    if status := params.get("InstanceStatus"):
        tests.append(lambda each: cloud.status(each) == status)
    return tests


def _equal(its: Callable[[Instance], str], wanted: str) -> Test:
    return lambda each: its(each) == wanted


def _is(its: Callable[[Instance], bool], wanted: bool) -> Test:
    return lambda each: its(each) is wanted


def _flag(params: Mapping[str, str], name: str) -> bool:
    match params[name].lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise invalid(name)
