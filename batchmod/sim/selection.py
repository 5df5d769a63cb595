"""DescribeInstances: which instances, and which page of them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import Refusal, invalid, missing
from batchmod.sim.views import listed

MAX_IDS, MAX_PAGE, MAX_TAGS = 30, 50, 5
EQUAL = {  # parameter: the field of the reply that must be the same
    "RegionId": "RegionId",
    "InstanceStatus": "InstanceStatus",
    "ChargeType": "ChargeType",
    "EngineVersion": "EngineVersion",
    "NetworkType": "NetworkType",
    "InstanceType": "InstanceType",
    "EditionType": "EditionType",
    "ArchitectureType": "ArchitectureType",
    "InstanceClass": "InstanceClass",
    "NodeType": "NodeType",
    "ZoneId": "ZoneId",
    "VpcId": "VpcId",
    "VSwitchId": "VSwitchId",
    "PrivateIp": "PrivateIp",
    "ResourceGroupId": "ResourceGroupId",
}


def describe_instances(cloud: FakeCloud, params: Mapping[str, str]) -> dict[str, Any]:
    """One page in order of id. Raises InvalidInstanceIds.Malformed for more than 30 ids or an empty one."""
    page = _number(params, "PageNumber", default=1, high=10**6)
    size = _number(params, "PageSize", default=30, high=MAX_PAGE)
    found = list(_matching(cloud, params))
    return {
        "PageNumber": page,
        "PageSize": size,
        "TotalCount": len(found),
        "Instances": {"KVStoreInstance": found[(page - 1) * size : page * size]},
    }


def _matching(cloud: FakeCloud, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    cloud.advance()
    ids, tags = _ids(params), _tags(params)
    text = params.get("SearchKey", "")
    if "true" in {params.get("Expired", "").lower(), params.get("GlobalInstance", "").lower()}:
        return  # there are none of either here
    for each in sorted(ids if ids is not None else cloud.instances):
        instance = cloud.instances.get(each)
        if instance is None or (text not in instance.id and text not in instance.name):
            continue
        if any(instance.tags.get(key) is None or value not in {None, instance.tags[key]} for key, value in tags):
            continue
        view = listed(instance, cloud.status(instance))
        if all(params[name] == view[its] for name, its in EQUAL.items() if params.get(name)):
            yield view


def _ids(params: Mapping[str, str]) -> frozenset[str] | None:
    if not params.get("InstanceIds"):
        return None
    ids = [each.strip() for each in params["InstanceIds"].split(",")]
    if len(ids) > MAX_IDS or not all(ids):
        raise Refusal(400, "InvalidInstanceIds.Malformed", 'The Specified parameter "InstanceIds" is not valid.')
    return frozenset(ids)


def _tags(params: Mapping[str, str]) -> list[tuple[str, str | None]]:
    numbers = sorted(found[1] for name in params if (found := re.fullmatch(r"Tag\.(\d+)\.Key", name)))
    if len(numbers) > MAX_TAGS:
        raise invalid("Tag")
    if numbers and not params.get("RegionId"):
        raise missing("RegionId")
    return [(params[f"Tag.{each}.Key"], params.get(f"Tag.{each}.Value") or None) for each in numbers]


def _number(params: Mapping[str, str], name: str, *, default: int, high: int) -> int:
    text = params.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= high:
        raise invalid(name)
    return int(text)
