"""The cloud side of a run put together: one session, client, pacing and watcher per lane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from batchmod.app.options import Options
from batchmod.cloud import changes
from batchmod.cloud.chain import ChainKeys
from batchmod.cloud.client import KVSTORE_VERSION, STS_VERSION, Client, open_session
from batchmod.cloud.codes import advice
from batchmod.cloud.endpoints import Product, endpoint_for, proxy_for
from batchmod.cloud.inventory import Instance, Inventory
from batchmod.cloud.sts import identity
from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.engine.watcher import Sight, Watcher
from batchmod.errors import CallError, UsageError, Verdict
from batchmod.model.manifest import Manifest
from batchmod.model.notices import Notice
from batchmod.model.plan import Lane, PlannedRow, Values
from batchmod.model.secret import Secret

ACCOUNT = "default"
SKEW = 60.0  # seconds between our clock and the service's beyond which no run starts
IDENTITY_ATTEMPTS = 3  # nothing has begun yet: an endpoint that cannot be reached is said soon
WRITES = frozenset(changes.API.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHands:
    """What the engine does on one lane."""

    client: Client
    inventory: Inventory
    watcher: Watcher[Instance]

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:
        return await changes.send(self.client, row, secret, before=before)

    async def look(self, instance_id: str) -> Instance | None:
        return await self.watcher.look(instance_id)

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values:
        assert isinstance(sight, Instance)  # of this lane's own `look`
        return await changes.read_back(self.inventory, row, sight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who we are, and every lane that was asked for."""

    account_ids: Mapping[str, str]
    hands: Mapping[Lane, LaneHands]

    @property
    def inventories(self) -> Mapping[Lane, Inventory]:
        return {lane: hands.inventory for lane, hands in self.hands.items()}


class _Maker:
    """Makes clients that share the run's settings and connection slots."""

    def __init__(
        self, manifest: Manifest, options: Options, *, halt: Halt, notify: Callable[[Notice], None], clock: Clock
    ) -> None:
        self._manifest = manifest
        self._options = options
        self._keys = ChainKeys(options.environ)
        self._slots = asyncio.Semaphore(manifest.limits.connections)
        self._halt = halt
        self._notify = notify
        self._clock = clock

    async def client(self, stack: AsyncExitStack, lane: Lane | None) -> Client:
        product: Product = "sts" if lane is None else "r-kvstore"
        endpoint = endpoint_for(product, lane.region if lane else None, self._options.endpoint)
        limits, timeouts = self._manifest.limits, self._manifest.timeouts
        session = await stack.enter_async_context(
            open_session(connect=timeouts.connect, read=timeouts.read, connections=limits.connections)
        )
        pace = Pacing(limits.rate_for, slots=self._slots, halt=self._halt, writes=WRITES, clock=self._clock)
        return Client(
            lane=lane,
            account=ACCOUNT,
            keys=self._keys,
            endpoint=endpoint,
            session=session,
            pace=pace,
            notify=self._notify,
            proxy=proxy_for(endpoint, self._options.environ),
            version=STS_VERSION if lane is None else KVSTORE_VERSION,
        )


@asynccontextmanager
async def open_fleet(
    manifest: Manifest,
    regions: Iterable[str],
    options: Options,
    *,
    halt: Halt,
    notify: Callable[[Notice], None],
    clock: Clock,
) -> AsyncIterator[Fleet]:
    """Every region of the account, ready to be called.

    Raises UsageError when there are no usable credentials, no reachable endpoint, or a clock that is wrong.
    """
    async with AsyncExitStack() as stack:
        maker = _Maker(manifest, options, halt=halt, notify=notify, clock=clock)
        account_id = await _who(await maker.client(stack, None), manifest, clock)
        hands: dict[Lane, LaneHands] = {}
        for region in dict.fromkeys(regions):
            lane = Lane(account_id, region)
            client = await maker.client(stack, lane)
            inventory = Inventory(client)
            hands[lane] = LaneHands(client=client, inventory=inventory, watcher=Watcher(inventory.look))
        yield Fleet(account_ids={ACCOUNT: account_id}, hands=hands)


async def _who(client: Client, manifest: Manifest, clock: Clock) -> str:
    """The account id of our key; the clocks agree."""
    try:
        attempts = min(IDENTITY_ATTEMPTS, manifest.retry.attempts)
        found = await ask(lambda: identity(client), attempts=attempts, max_delay=manifest.retry.max_delay, clock=clock)
    except CallError as error:
        raise UsageError(_told(error)) from error
    if abs(found.skew) > SKEW:
        ahead = "ahead of" if found.skew > 0 else "behind"
        raise UsageError(
            f"this machine's clock is {abs(found.skew):.0f} s {ahead} the service's: set it right (at most {SKEW:.0f} s)"
        )
    return found.account_id


def _told(error: CallError) -> str:
    """What went wrong, and what to do about it."""
    said, todo = str(error).rstrip("."), advice(error.code)
    if error.verdict is Verdict.LOST:
        return f"the endpoint does not answer as the service does: {said}. Check --endpoint, the network and the proxy."
    tail = f". {todo}" if todo else ""
    if error.code == "NoCredentials":
        return f"account {ACCOUNT}: {said}"
    if error.verdict is Verdict.NOT_SENT:
        return f"the endpoint cannot be reached: {said}{tail}"
    if error.verdict in {Verdict.ACCOUNT_STOP, Verdict.EXPIRED}:
        return f"account {ACCOUNT}: the credentials are refused: {said}{tail}"
    return f"account {ACCOUNT}: the service does not say who we are: {said}{tail}"
