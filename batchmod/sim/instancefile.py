"""What a fault file says about instances. Each complaint names its place."""

from collections.abc import Callable, Mapping
from typing import Any

from batchmod.sim.policyfile import Tenants, read_region
from batchmod.sim.reading import Node

MAX_PORT = 65535
MAX_SHARDS = 1024


def _address(place: Node) -> str:
    host, _, port = place.text().rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise place.wrong("must be host:port")
    return place.text()


def _tags(place: Node) -> dict[str, str]:
    return {key: value.text() for key, value in place.mapping().items()}


def _choice(*known: str) -> Callable[[Node], str]:
    return lambda place: place.one_of(known)


FIELDS: Mapping[str, str] = {"global": "in_global"}  # where a key is not the name of a field of Instance
INSTANCE_READERS: Mapping[str, Callable[[Node], Any]] = {
    "name": Node.text,
    "password": Node.text,
    "region": read_region,
    "engine_version": _choice("2.8", "4.0", "5.0", "6.0", "7.0"),
    "charge_type": _choice("PostPaid", "PrePaid"),
    "edition": _choice("Community", "Enterprise"),
    "architecture": _choice("cluster", "standard", "rwsplit"),
    "node_type": Node.text,
    "instance_class": Node.text,
    "network_type": _choice("CLASSIC", "VPC"),
    "vpc_id": Node.text,
    "vswitch_id": Node.text,
    "zone": Node.text,
    "secondary_zone": Node.text,
    "private_ip": Node.text,
    "resource_group": Node.text,
    "shard_count": lambda place: place.count(low=1, high=MAX_SHARDS),
    "create_time": Node.text,
    "expired": Node.flag,
    "global": Node.flag,
    "locked": Node.flag,
    "order_completed": Node.flag,
    "support_tde": Node.flag,
    "tde": Node.flag,
    "release_protection": Node.flag,
    "status": Node.text,
    "password_free": Node.flag,
    "tags": _tags,
    "address": _address,
    "listed_address": Node.flag,
    "missing": Node.flag,
    "vanish_after": Node.number,
}


def read_instance(place: Node, tenants: Tenants) -> Mapping[str, Any]:
    """Values by field of Instance; `tde` and `missing` are for fleet.make_fleet."""
    places = place.fields({"account", *INSTANCE_READERS})
    values = {FIELDS.get(key, key): INSTANCE_READERS[key](each) for key, each in places.items() if key != "account"}
    return values | ({"account": tenants.read(places["account"])} if "account" in places else {})
