"""The cloud side of a run put together: one line, client, pacing and watcher per lane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import inf

from batchmod.app.accounts import KeyRing, identify
from batchmod.app.options import Options
from batchmod.cloud import changes
from batchmod.cloud.client import KMS_VERSION, KVSTORE_VERSION, STS_VERSION, Client
from batchmod.cloud.credentials import Keys
from batchmod.cloud.endpoints import Product, endpoint_for, proxy_for
from batchmod.cloud.inventory import Inventory
from batchmod.cloud.views import Instance
from batchmod.cloud.wire import Line
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.engine.watcher import Sight, Watcher
from batchmod.errors import CallError, UsageError, Verdict
from batchmod.model.loading import Loaded
from batchmod.model.manifest import FENCE, Manifest
from batchmod.model.notices import Notice, Paced
from batchmod.model.pace import Found, Pace
from batchmod.model.plan import FailedAccount, Lane, PlannedRow, Values
from batchmod.model.secret import Secret

WRITES = frozenset(changes.API.values())
VERSIONS: Mapping[Product, str] = {"r-kvstore": KVSTORE_VERSION, "sts": STS_VERSION, "kms": KMS_VERSION}
STS_SLOTS = 4  # apart from the lanes' connections: a call that holds one of those may wait for a token

Regions = Mapping[str, Collection[str]]  # by the name of an account


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHands:
    """What the engine does on one lane."""

    client: Client
    inventory: Inventory
    watcher: Watcher[Instance]

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:
        with self.watcher.coming():
            return await changes.send(self.client, row, secret, before=before)

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> Instance | None:
        return await self.watcher.look(instance_id, after=after, sending=sending)

    async def address(self, instance_id: str) -> str | None:
        """Of the data plane, as DescribeInstances has it now, else as DescribeDBInstanceNetInfo has it."""
        seen = await self.watcher.look(instance_id)
        return (seen.address if seen else None) or await self.inventory.address(instance_id)

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values:
        assert isinstance(sight, Instance)  # of this lane's own `look`
        return await changes.read_back(self.inventory, row, sight)


@dataclass(frozen=True, slots=True)
class StoppedHands:
    """A lane of an account that cannot be used: every call is refused with its error, and none is made."""

    failure: FailedAccount

    @property
    def error(self) -> CallError:
        return CallError(Verdict.ACCOUNT_STOP, code=self.failure.code, message=self.failure.reason)

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:  # noqa: ARG002  as Hands has it
        raise self.error

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> Instance | None:  # noqa: ARG002  as Hands has it
        raise self.error

    async def address(self, instance_id: str) -> str | None:  # noqa: ARG002  as LaneHands has it
        raise self.error

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values:  # noqa: ARG002  as Hands has it
        raise self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who we are, by the names that the manifest has for accounts, and every lane of those that can be used.

    `stopped` are lanes of a run that is taken up whose account cannot be used any more.
    """

    account_ids: Mapping[str, str]
    failed: tuple[FailedAccount, ...]
    hands: Mapping[Lane, LaneHands]
    paces: Collection[Pacing] = ()
    stopped: Mapping[Lane, StoppedHands] = field(default_factory=dict)

    def last_write(self) -> float:
        """When a call that writes can have arrived last in any lane, on the clock's `now`."""
        return max((each.last_write() for each in self.paces if each.lane), default=-inf)

    def paced(self) -> list[Pace]:
        """What was made of the quotas of all lanes."""
        return [pace for each in self.paces if each.lane for pace in each.paces()]


def regions_of(loaded: Loaded) -> Regions:
    """The regions in which a manifest means instances, by account."""
    regions: dict[str, set[str]] = {}
    for target in loaded.targets:
        regions.setdefault(target.account, set()).add(target.region)
    for selector in loaded.selectors:
        regions.setdefault(selector.account, set()).update(selector.regions)
    return regions


def check_fence(manifest: Manifest, regions: Iterable[str], override: str | None) -> None:
    """A fence shorter than a signed request's validity is for a simulator only; every region has an endpoint.

    Raises UsageError, else.
    """
    endpoints = [endpoint_for("r-kvstore", region, override, manifest.endpoints) for region in regions]
    if manifest.retry.fence < FENCE and not all(endpoint.loopback for endpoint in endpoints):
        raise UsageError(
            f"retry.fence: must be at least {FENCE / 60:.0f}m: a signed request can land for 15 minutes; "
            "shorter only against a loopback endpoint"
        )


class ClientMaker:
    """Makes clients that share the run's settings and connection slots; their lines end with the stack."""

    def __init__(
        self,
        manifest: Manifest,
        options: Options,
        stack: AsyncExitStack,
        *,
        halt: Halt,
        notify: Callable[[Notice], None],
        clock: Clock,
        found: Found,
        since: float = -inf,
        written: float = -inf,
    ) -> None:
        self._manifest = manifest
        self._options = options
        self._stack = stack
        self._slots = asyncio.Semaphore(manifest.limits.connections)
        self._halt = halt
        self._notify = notify
        self._clock = clock
        self._found = found
        self._since = since
        self._written = written
        self.paces: list[Pacing] = []

    def sts(self, account: str, keys: Keys) -> Client:
        return self._client("sts", account, keys, slots=asyncio.Semaphore(STS_SLOTS))

    def kvstore(self, account: str, keys: Keys, lane: Lane) -> Client:
        return self._client("r-kvstore", account, keys, slots=self._slots, lane=lane, region=lane.region)

    def kms(self, account: str, keys: Keys, region: str) -> Client:
        """Apart from the lanes: what is kept must not wait for what is changed."""
        return self._client("kms", account, keys, slots=self._slots, region=region)

    def _client(
        self,
        product: Product,
        account: str,
        keys: Keys,
        *,
        slots: asyncio.Semaphore,
        lane: Lane | None = None,
        region: str | None = None,
    ) -> Client:
        endpoint = endpoint_for(product, region, self._options.endpoint, self._manifest.endpoints)
        limits, timeouts = self._manifest.limits, self._manifest.timeouts
        wire = Line(
            endpoint.url,
            connect=timeouts.connect,
            read=timeouts.read,
            connections=limits.connections,
            proxy=proxy_for(endpoint, self._options.environ),
        )
        self._stack.push_async_exit(wire)
        self.paces.append(self._pacing(lane, slots))
        return Client(
            lane=lane,
            account=account,
            keys=keys,
            endpoint=endpoint,
            wire=wire,
            pace=self.paces[-1],
            notify=self._notify,
            version=VERSIONS[product],
            wall=self._clock.wall,  # what the fence is counted by: a request is dated as it is armed
            monotonic=self._clock.now,
        )

    def _pacing(self, lane: Lane | None, slots: asyncio.Semaphore) -> Pacing:
        """It starts where the last run left off, and tells how a lane fares."""
        return Pacing(
            self._manifest.limits.rate_for,
            slots=slots,
            halt=self._halt,
            writes=WRITES,
            clock=self._clock,
            lane=lane,
            found={api: rate for (*where, api), rate in self._found.items() if lane and tuple(where) == lane},
            tell=(lambda pace: self._notify(Paced(pace=pace))) if lane else None,
            since=self._since,
            written=self._written,
        )


@asynccontextmanager
async def open_fleet(
    manifest: Manifest,
    regions: Regions,
    options: Options,
    *,
    halt: Halt,
    notify: Callable[[Notice], None],
    clock: Clock,
    found: Found,
    since: float = -inf,
    written: float = -inf,
) -> AsyncIterator[Fleet]:
    """Every region of every account, ready to be called. `found` are quotas that earlier runs found; `since`: until then
    another process may have called, and until `written` it may have changed something: no pace begins anew.

    Raises UsageError when an account has no usable credentials and may not be skipped, for an endpoint that cannot be
    reached, and for a clock that is wrong.
    """
    async with AsyncExitStack() as stack:
        maker = ClientMaker(
            manifest, options, stack, halt=halt, notify=notify, clock=clock, found=found, since=since, written=written
        )
        ring = KeyRing(manifest, options.environ, maker.sts)
        accounts = await identify(regions, ring, skip_failed=options.skip_failed_accounts, clock=clock)
        hands: dict[Lane, LaneHands] = {}
        for name, account_id in accounts.ids.items():
            for region in sorted(regions[name]):
                lane = Lane(account_id, region)
                client = maker.kvstore(name, ring.keys(name), lane)
                inventory = Inventory(client)
                hands[lane] = LaneHands(client=client, inventory=inventory, watcher=Watcher(inventory.look, halt))
        yield Fleet(account_ids=accounts.ids, failed=accounts.failed, hands=hands, paces=maker.paces)
