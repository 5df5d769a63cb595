"""The reads of one lane, in batches. No retry: a CallError is the caller's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from batchmod.cloud.answers import own_error
from batchmod.cloud.client import Client, Param
from batchmod.cloud.views import (
    Details,
    Found,
    Instance,
    Key,
    Page,
    Tde,
    flag_of,
    instance_of,
    items_of,
    net_address,
    required,
    text_of,
)
from batchmod.errors import CallError, Verdict
from batchmod.model.selectors import Selector

DIGITS: Final = 9  # of a number of instances
BATCH: Final = 30  # ids that DescribeInstances takes at once
PAGE_SIZE: Final = 50  # its largest page: one batch is never more than one page
FORBIDDEN_ALONE: Final = 5  # ids in a row that are refused for a permission, each alone: then it is not for the id
OF_AN_ID: Final = frozenset({Verdict.REFUSED, Verdict.FORBIDDEN, Verdict.GONE})  # may be said of one id in a batch
FILTERS: Final = {  # of a selector: what the service can filter by, one value each, and what it is of an instance
    "engine_versions": ("EngineVersion", "engine_version"),
    "editions": ("EditionType", "edition"),
    "architectures": ("ArchitectureType", "architecture"),
    "charge_types": ("ChargeType", "charge_type"),
    "resource_groups": ("ResourceGroupId", "resource_group"),
    "vpcs": ("VpcId", "vpc"),
}  # no status: a list by what changes all the time would change while it is read
NOT_SUPPORTED: Final = "InstanceType.NotSupport"


@dataclass(slots=True)
class Streak:
    """Of one look: looks side by side say nothing of each other."""

    forbidden: int = 0  # ids that were asked for alone, refused for a permission one after the other


class Inventory:
    """Reads of one lane."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def look(self, ids: Sequence[str]) -> dict[str, Found]:
        """Every id once: its instance, or None when the service was asked for it alone, twice, and knows none.

        Asks for 30 at a time, one batch after the other. A batch that is refused is halved until the id that it is
        refused for stands alone; a refusal for a permission is then that id's. Any other error of any batch is raised
        as the error of all, and so are five refusals for a permission in a row.
        """
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Instance | CallError] = {}
        streak = Streak()
        for start in range(0, len(wanted), BATCH):
            found |= await self._batch(wanted[start : start + BATCH], streak)
        return {name: found.get(name) or await self._alone(name, streak) for name in wanted}

    async def page(self, selector: Selector, number: int) -> Page:
        """One page, from 1, of what the service finds for a selector.

        It filters by what has one value only, so that the list may hold more than what is selected. Raises CallError,
        also for a page that is shorter or longer than it says, or that lists what was not asked for.
        """
        params: dict[str, Param] = {"PageSize": PAGE_SIZE, "PageNumber": number}
        asked: dict[str, str] = {}
        for name, (parameter, attribute) in FILTERS.items():
            values = getattr(selector, name)
            if len(values) == 1:
                params[parameter] = asked[attribute] = values[0]
        for place, (key, value) in enumerate(selector.tags.items(), start=1):
            params[f"Tag.{place}.Key"], params[f"Tag.{place}.Value"] = key, value
        total, items = await self._describe(params)
        due = max(0, min(PAGE_SIZE, total - PAGE_SIZE * (number - 1)))
        if len(items) != due:
            raise own_error("UnreadableReply", f"page {number} has {len(items)} instances where {due} are due")
        instances = [instance_of(item) for item in items]
        for one in instances:
            self._check_asked(one, selector, asked)
        return Page(total=total, instances=instances)

    def _check_asked(self, one: Instance, selector: Selector, asked: Mapping[str, str]) -> None:
        """A service that lists something else than it shows may leave something out as well."""
        lane = self._client.lane
        wrong = [name.replace("_", " ") for name, value in asked.items() if getattr(one, name) != value]
        wrong += [f"tag {key}" for key, value in selector.tags.items() if one.tags.get(key) != value]
        wrong += ["region"] if lane is not None and one.region not in {None, lane.region} else []
        if wrong:
            raise own_error("UnreadableReply", f"{one.id} is listed for a {wrong[0]} that it does not have")

    async def details(self, instance_id: str) -> Details | None:
        """What DescribeInstanceAttribute tells, or None when it knows no such instance."""
        try:
            reply = await self._client.call("DescribeInstanceAttribute", {"InstanceId": instance_id})
        except CallError as error:
            if error.verdict is Verdict.GONE:
                return None
            raise
        items = items_of(reply, "DBInstanceAttribute")
        if not items:
            return None
        item = items[0]
        if item.get("InstanceId") != instance_id:
            raise own_error("UnreadableReply", "the attributes of another instance")
        return Details(
            id=instance_id,
            status=required(item, "InstanceStatus"),
            name=text_of(item.get("InstanceName")),
            release_protection=flag_of(item.get("InstanceReleaseProtection")),
        )

    async def tde(self, instance_id: str) -> Tde:
        """Whether the instance can be encrypted, and is; anything but "enabled", in any case, is off."""
        try:
            reply = await self._client.call("DescribeInstanceTDEStatus", {"InstanceId": instance_id})
        except CallError as error:
            if error.code == NOT_SUPPORTED:
                return Tde(supported=False, enabled=False)
            raise
        return Tde(supported=True, enabled=required(reply.body, "TDEStatus").casefold() == "enabled")

    async def encryption_key(self, instance_id: str) -> Key:
        """The custom key; an instance without one is answered "not supported"."""
        try:
            reply = await self._client.call("DescribeEncryptionKey", {"InstanceId": instance_id})
        except CallError as error:
            if error.code == NOT_SUPPORTED:
                return Key(key_id=None, role_arn=None, algorithm=None)
            raise
        key_id, role_arn, algorithm = (
            text_of(reply.body.get(f)) for f in ("EncryptionKey", "RoleArn", "EncryptionName")
        )
        return Key(key_id=key_id, role_arn=role_arn, algorithm=algorithm)

    async def address(self, instance_id: str) -> str | None:
        """host:port of the data plane as DescribeDBInstanceNetInfo tells it; None where it tells none."""
        reply = await self._client.call("DescribeDBInstanceNetInfo", {"InstanceId": instance_id})
        return net_address(items_of(reply, "InstanceNetInfo", within="NetInfoItems"))

    async def _batch(self, ids: Sequence[str], streak: Streak) -> dict[str, Instance | CallError]:
        try:
            found = await self._of_ids(ids)
        except CallError as error:
            if error.verdict not in OF_AN_ID:
                raise
            if len(ids) == 1:
                return self._refused(ids[0], error, streak)
        else:
            streak.forbidden = 0
            return found
        half = len(ids) // 2
        return await self._batch(ids[:half], streak) | await self._batch(ids[half:], streak)

    def _refused(self, instance_id: str, error: CallError, streak: Streak) -> dict[str, Instance | CallError]:
        """What the refusal of a single id says of it; raises the error when it is not for the id."""
        if error.verdict is Verdict.GONE or error.code == "InvalidInstanceIds.Malformed":
            return {}
        streak.forbidden += 1
        if error.verdict is not Verdict.FORBIDDEN or streak.forbidden >= FORBIDDEN_ALONE:
            raise error
        return {instance_id: error}

    async def _alone(self, instance_id: str, streak: Streak) -> Found:
        for _ in range(2):
            found = await self._batch([instance_id], streak)
            if instance_id in found:
                return found[instance_id]
        return None

    async def _of_ids(self, ids: Sequence[str]) -> dict[str, Instance | CallError]:
        """The instances among the ids. A page that disagrees with itself or the question is no answer at all."""
        total, items = await self._describe({"InstanceIds": ",".join(ids), "PageSize": PAGE_SIZE, "PageNumber": 1})
        found: dict[str, Instance | CallError] = {one.id: one for one in map(instance_of, items)}
        if total != len(items) or len(found) != len(items) or found.keys() - set(ids):
            raise own_error("UnreadableReply", "a page that is not the one that was asked for")
        return found

    async def _describe(self, params: Mapping[str, Param]) -> tuple[int, Sequence[Mapping[str, Any]]]:
        """How many there are in all, and the objects of one page."""
        region = self._client.lane.region if self._client.lane else None
        reply = await self._client.call("DescribeInstances", {"RegionId": region, **params})
        items, total = items_of(reply, "KVStoreInstance"), text_of(reply.body.get("TotalCount")) or ""
        if not total.isascii() or not total.isdecimal() or len(total) > DIGITS:
            raise own_error("UnreadableReply", "a list of instances without their number")
        return int(total), items
