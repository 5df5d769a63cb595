"""Instances as the service describes them, read and never guessed. Pure: replies in, values or CallErrors out.

Documentation shows numbers as numbers and as strings, and truth as `true` and "true": both are taken.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, NamedTuple

from batchmod.cloud.answers import Reply, own_error
from batchmod.errors import CallError

MAX_PORT: Final = 65535
NETWORKS: Final = ("Private", "Inner", "Public")  # the IPType of an address, the one that is preferred first
PORT = re.compile("[1-9][0-9]{0,4}")
_TEXTS_OF = itemgetter(  # in the order of Instance
    "InstanceId",
    "InstanceStatus",
    "InstanceName",
    "RegionId",
    "ZoneId",
    "EngineVersion",
    "EditionType",
    "ArchitectureType",
    "ChargeType",
    "ResourceGroupId",
    "VpcId",
)
_ALL_TEXT = frozenset({str})


class Instance(NamedTuple):
    """One instance as DescribeInstances lists it. What the reply leaves out or empty is None."""

    id: str
    status: str
    name: str | None
    region: str | None
    zone: str | None
    engine_version: str | None
    edition: str | None
    architecture: str | None
    charge_type: str | None
    resource_group: str | None
    vpc: str | None
    tags: Mapping[str, str]
    address: str | None  # host:port of the data plane


Found = Instance | CallError | None  # None: there is no such instance; a CallError: it was refused for this id


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list that has `total` instances in all."""

    total: int
    instances: Sequence[Instance]


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What only DescribeInstanceAttribute tells."""

    id: str
    status: str
    name: str | None
    release_protection: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tde:
    supported: bool
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The custom key that an instance is encrypted with; all None when it has none."""

    key_id: str | None
    role_arn: str | None
    algorithm: str | None


def instance_of(item: Mapping[str, Any]) -> Instance:
    """What is listed; raises CallError for an item without id or status."""
    try:
        texts = _TEXTS_OF(item)
    except KeyError:
        return _instance_of(item)
    if not _ALL_TEXT.issuperset(map(type, texts)):
        return _instance_of(item)
    if not all(texts):
        return _instance_of(item)
    tags, address = _tags(item.get("Tags")), address_of(item.get("ConnectionDomain"), item.get("Port"))
    return Instance._make((*texts, tags, address))


def _instance_of(item: Mapping[str, Any]) -> Instance:
    """The same of an item of which something is missing or no text."""
    return Instance(
        id=required(item, "InstanceId"),
        status=required(item, "InstanceStatus"),
        name=text_of(item.get("InstanceName")),
        region=text_of(item.get("RegionId")),
        zone=text_of(item.get("ZoneId")),
        engine_version=text_of(item.get("EngineVersion")),
        edition=text_of(item.get("EditionType")),
        architecture=text_of(item.get("ArchitectureType")),
        charge_type=text_of(item.get("ChargeType")),
        resource_group=text_of(item.get("ResourceGroupId")),
        vpc=text_of(item.get("VpcId")),
        tags=_tags(item.get("Tags")),
        address=address_of(item.get("ConnectionDomain"), item.get("Port")),
    )


def address_of(host: object, port: object) -> str | None:
    """host:port, an IPv6 host in brackets; None where one of them is missing or is none."""
    if type(host) is str and type(port) is int and host and ":" not in host and 0 < port <= MAX_PORT:  # nearly always
        return f"{host}:{port}"
    name, number = text_of(host), text_of(port) or ""
    if not name or not PORT.fullmatch(number) or int(number) > MAX_PORT:
        return None
    return f"[{name}]:{number}" if ":" in name and not name.startswith("[") else f"{name}:{number}"


def net_address(items: Sequence[Mapping[str, Any]]) -> str | None:
    """The address that a login proves an instance at, out of its NetInfo: one that leads to all of it.

    Direct addresses lead to one shard only and are left out; of the others one inside a VPC, then one of the classic
    network, then a public one, and one for reads only after all of those.
    """
    found = [
        (text_of(item.get("IsSlaveProxy")) == "1", NETWORKS.index(kind), address)
        for item in items
        if text_of(item.get("DirectConnection")) != "1"
        and (kind := text_of(item.get("IPType")) or "") in NETWORKS
        and (address := address_of(item.get("ConnectionString") or item.get("IPAddress"), item.get("Port")))
    ]
    return min(found)[2] if found else None


def _tags(value: object) -> Mapping[str, str]:
    """`{"Tag": [{"Key": …, "Value": …}]}` as a mapping; what is no tag is left out."""
    listed = value.get("Tag") if isinstance(value, dict) else None
    if not listed:
        return {}
    tags = [tag for tag in listed if isinstance(tag, dict)] if isinstance(listed, list) else []
    return {tag["Key"]: text_of(tag.get("Value")) or "" for tag in tags if isinstance(tag.get("Key"), str)}


def items_of(reply: Reply, name: str, *, within: str = "Instances") -> Sequence[Mapping[str, Any]]:
    """The objects in `<within>.<name>`; raises CallError for a reply that has no such list."""
    whole = reply.body.get(within)
    items = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise own_error("UnreadableReply", f"no list {within}.{name}")
    return items


def required(item: Mapping[str, Any], name: str) -> str:
    text = text_of(item.get(name))
    if text is None:
        raise own_error("UnreadableReply", f"no {name}")
    return text


def text_of(value: object) -> str | None:
    """A string or number as text; None for anything else, and for the empty string."""
    if type(value) is str:  # nearly always
        return value or None
    return str(value) or None if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def flag_of(value: object) -> bool | None:
    return {"true": True, "false": False}.get(str(value).casefold()) if isinstance(value, str | bool) else None
