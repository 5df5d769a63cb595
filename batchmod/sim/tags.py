"""Tags: how a request names them, ListTagResources and TagResources."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchmod.sim.calls import Call
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import invalid, missing, refused
from batchmod.sim.instances import Instance
from batchmod.sim.ram import Ask

Reply = dict[str, Any]
Tag = tuple[str, str | None]  # without a value: any
RESOURCE_TYPE = "INSTANCE"
MAX_RESOURCES, MAX_TAGS = 50, 20
TOKEN_PAGE = 50  # tags in one reply of ListTagResources


def indexed(params: Mapping[str, str], pattern: str) -> list[tuple[int, str]]:
    """Number and value of a flattened list (Tag.1.Key, …), in order of the numbers."""
    found = ((re.fullmatch(pattern, name), value) for name, value in params.items())
    return sorted((int(match[1]), value) for match, value in found if match)


def tags_of(params: Mapping[str, str], *, high: int) -> list[Tag]:
    """Raises InvalidParameter for more than `high` of them."""
    keys = indexed(params, r"Tag\.([0-9]{1,4})\.Key")
    if len(keys) > high:
        raise invalid("Tag")
    return [(key, params.get(f"Tag.{number}.Value") or None) for number, key in keys]


def has_tags(instance: Instance, tags: list[Tag]) -> bool:
    return all(key in instance.tags and value in {None, instance.tags[key]} for key, value in tags)


def wants_tagged(_: FakeCloud, call: Call) -> list[Ask]:
    """Each resource that is named, else all of the region."""
    region, account = call.required("RegionId"), call.account_id
    names = [name for _, name in indexed(call.params, r"ResourceId\.([0-9]{1,4})")] or ["*"]
    return [Ask(action=call.action, resource=f"acs:kvstore:{region}:{account}:instance/{name}") for name in names]


def tag_resources(cloud: FakeCloud, call: Call) -> Reply:
    """Every named instance has these tags now, beside those that it had. All or none."""
    ids, tags = _resources(call), tags_of(call.params, high=MAX_TAGS)
    if not ids:
        raise missing("ResourceId")
    if not tags:
        raise missing("Tag")
    instances = [_tagged(cloud, call, each) for each in ids]
    for number, (_, value) in enumerate(tags, start=1):
        if value is None:
            raise missing(f"Tag.{number}.Value")
    for instance in instances:
        instance.tags.update({key: value for key, value in tags if value is not None})
    return {}


def list_tag_resources(cloud: FakeCloud, call: Call) -> Reply:
    """A tag of an instance each, by instance and key; NextToken is empty when there are no more."""
    ids, tags = _resources(call), tags_of(call.params, high=MAX_TAGS)
    if not ids and not tags:
        raise missing("ResourceId or Tag")
    cloud.advance()
    lane = cloud.lanes.of(call.account_id, call.params["RegionId"])
    wanted = (each for each in lane if call.sees(each) and (not ids or each.id in ids) and has_tags(each, tags))
    after = _position(call.params.get("NextToken") or "")
    rest = [row for each in wanted for row in _rows(each) if (row["ResourceId"], row["TagKey"]) > after]
    page = rest[:TOKEN_PAGE]
    more = len(rest) > TOKEN_PAGE
    return {
        "NextToken": _token(page[-1]["ResourceId"], page[-1]["TagKey"]) if more else "",
        "TagResources": {"TagResource": page},
    }


def _resources(call: Call) -> list[str]:
    call.required("RegionId")
    if call.required("ResourceType").upper() != RESOURCE_TYPE:
        raise invalid("ResourceType")
    ids = [each for _, each in indexed(call.params, r"ResourceId\.([0-9]{1,4})")]
    if len(ids) > MAX_RESOURCES:
        raise invalid("ResourceId")
    return ids


def _tagged(cloud: FakeCloud, call: Call, instance_id: str) -> Instance:
    instance = cloud.find(instance_id)
    if not call.sees(instance) or instance.region != call.params["RegionId"]:
        raise refused("InvalidInstanceId.NotFound")
    return instance


def _rows(instance: Instance) -> Iterator[dict[str, str]]:
    for key, value in sorted(instance.tags.items()):
        yield {"ResourceId": instance.id, "ResourceType": RESOURCE_TYPE, "TagKey": key, "TagValue": value}


def _token(instance_id: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{instance_id}\n{key}".encode()).decode()


def _position(token: str) -> tuple[str, str]:
    """Behind which row the page begins; raises InvalidParameter for a token of another making."""
    try:
        instance_id, _, key = base64.urlsafe_b64decode(token.encode()).decode().partition("\n")
    except (binascii.Error, ValueError) as error:
        raise invalid("NextToken") from error
    return instance_id, key
