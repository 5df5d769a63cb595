"""Who may write of a lane or a run: leases that are renewed every second, and how long their holder may trust in them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any, Final, Self

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from batchmod.cluster.heart import Heart
from batchmod.engine.clock import since_boot
from batchmod.errors import JournalError
from batchmod.journal.postgres import Fence
from batchmod.pg.link import FAILURES, connect_async, why
from batchmod.pg.links import Links
from batchmod.pg.place import Place

VALID: Final = 4.0  # seconds from the moment before a renewal was sent: so long its holder is sure to be the only one
FREE: Final = 5.0  # seconds after the last renewal, by the database's clock, from which on somebody else may take it
HUNG: Final = 60.0  # seconds without a sign of life of the event loop, after which nothing is renewed any more
LOOK: Final = 0.2  # seconds between two looks at a lease that somebody else holds
LONG: Final = 3600.0  # seconds that are as good as any more
BOOT: Final = since_boot()

_MADE: Final = "INSERT INTO lease (key) VALUES (%s) ON CONFLICT DO NOTHING"
# Locked FOR UPDATE first: a journal that writes under the old epoch holds it FOR KEY SHARE, so it is waited for, and one
# that looks from now on sees the new epoch. In one statement: a process that is frozen here leaves no lock.
# What a holder that died wrote last, it wrote while it could trust in its lease.
_TAKEN: Final = """WITH free AS (
  SELECT key, coalesce(written_at, renewed_at + make_interval(secs => %(valid)s)) AS written_at
  FROM lease WHERE key = %(key)s
    AND (holder IS NULL OR renewed_at IS NULL OR renewed_at <= clock_timestamp() - make_interval(secs => %(free)s))
  FOR UPDATE
)
UPDATE lease SET epoch = lease.epoch + 1, holder = %(holder)s, renewed_at = clock_timestamp(), written_at = NULL
FROM free WHERE lease.key = free.key
RETURNING lease.epoch, extract(epoch FROM clock_timestamp() - free.written_at)::float8"""
# Locked by key: two that renew what was taken over meanwhile do not wait for each other. FOR KEY SHARE does not hinder it.
_RENEWED: Final = """WITH held AS (
  SELECT lease.key FROM lease JOIN unnest(%s::text[], %s::bigint[]) AS mine (key, epoch)
    ON lease.key = mine.key AND lease.epoch = mine.epoch
  ORDER BY lease.key FOR NO KEY UPDATE OF lease
)
UPDATE lease SET renewed_at = clock_timestamp() FROM held WHERE lease.key = held.key RETURNING lease.key"""
# What procrastinate's workers do by themselves, but not while the event loop is busy. Who else holds a row writes it, too.
_ALIVE: Final = """UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id IN (
  SELECT id FROM procrastinate_workers WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED
)"""
_RELEASED: Final = """UPDATE lease SET holder = NULL, written_at = clock_timestamp() - make_interval(secs => %s)
WHERE key = %s AND epoch = %s"""


class Lease:
    """The right to write of what `key` names, under this epoch. `gone` is set, in the event loop, once it is known to be
    over.
    """

    def __init__(self, leases: "Leases", fence: Fence, *, until: float, idle: float) -> None:
        """`until`: on the clock of `leases`, when nobody is sure of it any more."""
        self._leases = leases
        self.fence = fence
        self.idle = idle  # seconds in which nobody had written to the cloud under it when it was taken
        self.still = 0.0  # the same, when it is released
        self.gone = asyncio.Event()
        self._until = until
        self._is_over = False

    @property
    def key(self) -> str:
        return self.fence.key

    @property
    def epoch(self) -> int:
        return self.fence.epoch

    def is_valid(self) -> bool:
        """Whether nobody else can have it yet, in any thread. Once it is False, it stays so."""
        if self._leases.now() >= self._until:
            self.end()
        return not self._is_over

    def extend(self, until: float) -> None:
        """It was renewed; what was over before that stays so."""
        if self.is_valid():
            self._until = until

    def void(self) -> None:
        """It is over, for who asks."""
        self._is_over = True

    def end(self) -> None:
        """It is over, also for who waits for that."""
        self._is_over = True
        self._leases.set_in_loop(self.gone)

    async def release(self) -> None:
        """It is over, and somebody else can take it: at once, or after FREE seconds when the database could not be told."""
        await self._leases.release(self)


class Leases:
    """What this process holds, by one connection that renews it all, however busy the event loop is; to be entered once.

    `lost` is set once no renewal was answered for VALID seconds, the connection broke, or this process stood still for as
    long, or its event loop for `hung` seconds: everything that it held is over, `trouble` says why, and nothing can be taken
    any more. So after the block.
    """

    def __init__(
        self,
        place: Place,
        *,
        holder: str,
        now: Callable[[], float] = BOOT,
        hung: float = HUNG,
        cut: Callable[[], None] = lambda: None,
    ) -> None:
        """`holder` is what others are told of this process; `now`: seconds that go on while it is frozen; `cut` is called
        when all is lost before the end of the block, in a thread of its own: the event loop may wait for the database itself.
        """
        self._place = place
        self._holder = holder
        self.now = now
        self._cut = cut
        self.lost = asyncio.Event()
        self.trouble = ""
        self.workers: Callable[[], Iterable[int]] = tuple
        """Procrastinate's, by id, that are alive as long as the leases are renewed; asked in another thread."""
        self._is_lost = False
        self._lock = threading.Lock()  # of what is held
        self._held: dict[str, Lease] = {}
        self._links = Links()
        self._heart = Heart(place, self._renew, ended=self._let_go, now=now, patience=VALID, hung=hung)

    async def __aenter__(self) -> Self:
        """Raises UsageError when the database cannot be reached."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        await self._heart.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was not released is over, too, and free after FREE seconds."""
        await self._heart.stop()  # a bug is loud

    async def take(self, key: str, *, patience: float = 20.0) -> Lease | None:
        """The lease, once it is free; None when somebody else still held it after `patience` seconds, or wrote under it.

        When it returns with one, all that was written under an earlier epoch is committed, and no more will be. Raises
        JournalError when the database cannot be asked.
        """
        try:
            async with await connect_async(self._place) as link:
                self._links.add(link)
                return await self._take(link, key, time.monotonic() + patience)
        except (*FAILURES, TimeoutError) as error:
            raise JournalError(f"{self._place}: {key} cannot be taken: {why(error)}") from error

    async def _take(self, link: AsyncConnection[Any], key: str, deadline: float) -> Lease | None:
        if not self._is_lost:  # what is asked after it was cut is never answered, perhaps
            await link.execute(_MADE, (key,))
        while not self._is_lost:
            left = deadline - time.monotonic()
            await link.execute("SELECT set_config('lock_timeout', %s, false)", (f"{max(1, round(left * 1000))}ms",))
            with suppress(LockNotAvailable):
                cursor = await link.execute(_TAKEN, {"key": key, "free": FREE, "valid": VALID, "holder": self._holder})
                found = await cursor.fetchone()
                if found is not None:
                    epoch, idle = found
                    lease = await self._hold(link, Fence(key=key, epoch=epoch), inf if idle is None else max(0.0, idle))
                    if lease is not None:
                        return lease
            if left <= 0:
                return None
            await asyncio.sleep(min(LOOK, left))
        raise JournalError(f"{self._place}: {key} cannot be taken: {self.trouble}")

    async def _hold(self, link: AsyncConnection[Any], fence: Fence, idle: float) -> Lease | None:
        """It counts from here: what was taken may have been waited for longer than it is valid. None when it is gone."""
        sent = self.now()
        cursor = await link.execute(_RENEWED, ([fence.key], [fence.epoch]))
        if await cursor.fetchone() is None:
            return None
        lease = Lease(self, fence, until=sent + VALID, idle=idle)
        with self._lock:
            if self._is_lost:
                return None
            self._held[fence.key] = lease
        return lease

    async def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        lease.end()
        with self._lock:
            if self._held.get(lease.key) is lease:
                del self._held[lease.key]
        await self._heart.tell(_RELEASED, (min(lease.still, LONG), lease.key, lease.epoch))

    async def _renew(self, link: AsyncConnection[Any]) -> None:
        """What is held is so for longer; what was taken over is gone. What is over is not kept from others."""
        with self._lock:
            self._held = {key: lease for key, lease in self._held.items() if lease.is_valid()}
            asked = dict(self._held)
        sent, epochs = self.now(), [lease.epoch for lease in asked.values()]
        cursor = await link.execute(_RENEWED, (list(asked), epochs))
        kept = {key for (key,) in await cursor.fetchall()}
        for key, lease in asked.items():
            if key in kept:
                lease.extend(sent + VALID)
            else:
                lease.end()
        if workers := list(self.workers()):
            await link.execute(_ALIVE, (workers,))

    def _let_go(self, trouble: str) -> None:
        """Everything is over, also what waits for an answer."""
        with self._lock:
            self.trouble, self._is_lost = trouble, True
            held, self._held = self._held, {}
        for lease in held.values():
            lease.void()
        self._links.cut()
        if trouble:  # it was not just stopped
            self._cut()
        for lease in held.values():  # only now: to cancel what waits for the database takes its time
            lease.end()
        self.set_in_loop(self.lost)

    def set_in_loop(self, event: asyncio.Event) -> None:
        """From any thread."""
        if threading.get_ident() == self._thread:
            event.set()
            return
        with suppress(RuntimeError):  # that loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(event.set)
