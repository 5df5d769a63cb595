"""What the cloud says of instances, read and never guessed. No retry: a CallError is the caller's business.

Documentation shows numbers as numbers and as strings, and truth as `true` and "true": both are taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from batchmod.cloud.answers import Reply, own_error
from batchmod.cloud.client import Client
from batchmod.errors import CallError, Verdict

BATCH: Final = 30  # ids that DescribeInstances takes at once
PAGE_SIZE: Final = 50  # its largest page: one batch is never more than one page
NORMAL: Final = "Normal"  # the status of an instance that no task is changing
NOT_SUPPORTED: Final = "InstanceType.NotSupport"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance as DescribeInstances lists it. What the reply leaves out or empty is None."""

    id: str
    status: str
    name: str | None
    region: str | None
    zone: str | None
    engine_version: str | None
    instance_class: str | None
    edition: str | None
    architecture: str | None
    charge_type: str | None
    address: str | None  # host:port of the data plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What only DescribeInstanceAttribute tells."""

    id: str
    status: str
    name: str | None
    release_protection: bool | None
    support_tde: bool | None
    order_completed: bool | None  # False while a change order runs


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


class Inventory:
    """Reads of one lane."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def look(self, ids: Sequence[str]) -> dict[str, Instance | None]:
        """Every id once: its instance, or None when the service was asked for it alone, twice, and knows none.

        Asks for 30 at a time, one batch after the other; an error of any of them is the error of all. A batch that
        is refused is halved until the id that it is refused for stands alone.
        """
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Instance] = {}
        for start in range(0, len(wanted), BATCH):
            found |= await self._batch(wanted[start : start + BATCH])
        return {instance_id: found.get(instance_id) or await self._alone(instance_id) for instance_id in wanted}

    async def details(self, instance_id: str) -> Details | None:
        """What DescribeInstanceAttribute tells, or None when it knows no such instance."""
        try:
            reply = await self._client.call("DescribeInstanceAttribute", {"InstanceId": instance_id})
        except CallError as error:
            if error.verdict is Verdict.GONE:
                return None
            raise
        items = _items(reply, "DBInstanceAttribute")
        if not items:
            return None
        item = items[0]
        if item.get("InstanceId") != instance_id:
            raise own_error("UnreadableReply", "the attributes of another instance")
        return Details(
            id=instance_id,
            status=_required(item, "InstanceStatus"),
            name=_text(item.get("InstanceName")),
            release_protection=_flag(item.get("InstanceReleaseProtection")),
            support_tde=_flag(item.get("IsSupportTDE")),
            order_completed=_flag(item.get("IsOrderCompleted")),
        )

    async def tde(self, instance_id: str) -> Tde:
        """Whether the instance can be encrypted, and is; anything but "enabled", in any case, is off."""
        try:
            reply = await self._client.call("DescribeInstanceTDEStatus", {"InstanceId": instance_id})
        except CallError as error:
            if error.code == NOT_SUPPORTED:
                return Tde(supported=False, enabled=False)
            raise
        return Tde(supported=True, enabled=_required(reply.body, "TDEStatus").casefold() == "enabled")

    async def encryption_key(self, instance_id: str) -> Key:
        """The custom key; an instance without one is answered "not supported"."""
        try:
            reply = await self._client.call("DescribeEncryptionKey", {"InstanceId": instance_id})
        except CallError as error:
            if error.code == NOT_SUPPORTED:
                return Key(key_id=None, role_arn=None, algorithm=None)
            raise
        key_id, role_arn, algorithm = (_text(reply.body.get(f)) for f in ("EncryptionKey", "RoleArn", "EncryptionName"))
        return Key(key_id=key_id, role_arn=role_arn, algorithm=algorithm)

    async def _batch(self, ids: Sequence[str]) -> dict[str, Instance]:
        try:
            return await self._page(ids)
        except CallError as error:
            if error.verdict not in {Verdict.REFUSED, Verdict.GONE}:
                raise
            if len(ids) == 1:
                if error.verdict is Verdict.GONE or error.code == "InvalidInstanceIds.Malformed":
                    return {}
                raise  # not for the id: another one would be refused as well
        half = len(ids) // 2
        return await self._batch(ids[:half]) | await self._batch(ids[half:])

    async def _alone(self, instance_id: str) -> Instance | None:
        for _ in range(2):
            found = await self._batch([instance_id])
            if instance_id in found:
                return found[instance_id]
        return None

    async def _page(self, ids: Sequence[str]) -> dict[str, Instance]:
        """The instances among the ids. A page that disagrees with itself or the question is no answer at all."""
        params = {
            "RegionId": self._client.lane.region if self._client.lane else None,
            "InstanceIds": ",".join(ids),
            "PageSize": PAGE_SIZE,
            "PageNumber": 1,
        }
        reply = await self._client.call("DescribeInstances", params)
        items = _items(reply, "KVStoreInstance")
        listed = {item.get("InstanceId") for item in items}
        if _text(reply.body.get("TotalCount")) != str(len(items)) or len(listed) != len(items) or listed - set(ids):
            raise own_error("UnreadableReply", "a page that is not the one that was asked for")
        return {item["InstanceId"]: _instance(item) for item in items}


def _instance(item: Mapping[str, Any]) -> Instance:
    host, port = _text(item.get("ConnectionDomain")), _text(item.get("Port"))
    return Instance(
        id=_required(item, "InstanceId"),
        status=_required(item, "InstanceStatus"),
        name=_text(item.get("InstanceName")),
        region=_text(item.get("RegionId")),
        zone=_text(item.get("ZoneId")),
        engine_version=_text(item.get("EngineVersion")),
        instance_class=_text(item.get("InstanceClass")),
        edition=_text(item.get("EditionType")),
        architecture=_text(item.get("ArchitectureType")),
        charge_type=_text(item.get("ChargeType")),
        address=f"{host}:{port}" if host and port and port.isdecimal() and port != "0" else None,
    )


def _items(reply: Reply, name: str) -> Sequence[Mapping[str, Any]]:
    """The objects in `Instances.<name>`; raises CallError for a reply that has no such list."""
    instances = reply.body.get("Instances")
    items = instances.get(name) if isinstance(instances, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise own_error("UnreadableReply", "a list of instances without the list")
    return items


def _required(item: Mapping[str, Any], name: str) -> str:
    text = _text(item.get(name))
    if text is None:
        raise own_error("UnreadableReply", f"no {name}")
    return text


def _text(value: object) -> str | None:
    """A string or number as text; None for anything else, and for the empty string."""
    return str(value) or None if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return {"true": True, "false": False}.get(str(value).casefold())
