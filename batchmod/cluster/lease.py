"""Who may write of a lane or a run: leases that are renewed every second, and how long their holder may trust in them."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from batchmod.engine.clock import since_boot
from batchmod.errors import JournalError
from batchmod.journal.postgres import Fence
from batchmod.pg.link import FAILURES, connect_async, usable, why
from batchmod.pg.place import Place

VALID: Final = 4.0  # seconds from the moment before a renewal was sent: so long its holder is sure to be the only one
FREE: Final = 5.0  # seconds after the last renewal, by the database's clock, from which on somebody else may take it
EVERY: Final = 1.0  # seconds between two renewals
LOOK: Final = 0.2  # seconds between two looks at a lease that somebody else holds
BOOT: Final = since_boot()

_MADE: Final = "INSERT INTO lease (key) VALUES (%s) ON CONFLICT DO NOTHING"
# Locked FOR UPDATE first: a journal that writes under the old epoch holds it FOR KEY SHARE, so it is waited for, and one
# that looks from now on sees the new epoch. In one statement: a process that is frozen here leaves no lock.
_TAKEN: Final = """WITH free AS (
  SELECT key FROM lease WHERE key = %(key)s
    AND (holder IS NULL OR renewed_at IS NULL OR renewed_at <= clock_timestamp() - make_interval(secs => %(free)s))
  FOR UPDATE
)
UPDATE lease SET epoch = lease.epoch + 1, holder = %(holder)s, renewed_at = clock_timestamp()
FROM free WHERE lease.key = free.key RETURNING lease.epoch"""
# Locked by key: two that renew what was taken over meanwhile do not wait for each other. FOR KEY SHARE does not hinder it.
_RENEWED: Final = """WITH held AS (
  SELECT lease.key FROM lease JOIN unnest(%s::text[], %s::bigint[]) AS mine (key, epoch)
    ON lease.key = mine.key AND lease.epoch = mine.epoch
  ORDER BY lease.key FOR NO KEY UPDATE OF lease
)
UPDATE lease SET renewed_at = clock_timestamp() FROM held WHERE lease.key = held.key RETURNING lease.key"""
_RELEASED: Final = "UPDATE lease SET holder = NULL WHERE key = %s AND epoch = %s"


class Lease:
    """The right to write of what `key` names, under this epoch. `gone` is set once it is known to be over."""

    def __init__(self, leases: "Leases", fence: Fence, *, until: float) -> None:
        """`until`: on the clock of `leases`, when nobody is sure of it any more."""
        self._leases = leases
        self.fence = fence
        self.gone = asyncio.Event()
        self._until = until

    @property
    def key(self) -> str:
        return self.fence.key

    @property
    def epoch(self) -> int:
        return self.fence.epoch

    def is_valid(self) -> bool:
        """Whether nobody else can have it yet. Once it is False, it stays so."""
        if self._leases.now() >= self._until:
            self.gone.set()
        return not self.gone.is_set()

    def extend(self, until: float) -> None:
        """It was renewed; what was over before that stays so."""
        if self.is_valid():
            self._until = until

    async def release(self) -> None:
        """It is over, and somebody else can take it: at once, or after FREE seconds when the database could not be told."""
        await self._leases.release(self)


class Leases:
    """What this process holds, by one connection that renews it all; to be entered once.

    `lost` is set once no renewal was answered for VALID seconds, the connection broke, or this process stood still for as
    long: everything that it held is over, `trouble` says why, and nothing can be taken any more. So after the block.
    """

    def __init__(self, place: Place, *, holder: str, now: Callable[[], float] = BOOT) -> None:
        """`holder` is what others are told of this process; `now`: seconds that go on while it is frozen."""
        self._place = place
        self._holder = holder
        self.now = now
        self.lost = asyncio.Event()
        self.trouble = ""
        self._held: dict[str, Lease] = {}
        self._links: set[AsyncConnection[Any]] = set()
        self._renewed = 0.0  # when the last renewal that was answered had been sent

    async def __aenter__(self) -> Self:
        """Raises UsageError when the database cannot be reached."""
        with usable(self._place):
            self._link = await connect_async(self._place)
        self._links.add(self._link)
        self._renewed = self.now()
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was not released is over, too, and free after FREE seconds."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self._link.close()
        if not self._keeping.cancelled():
            self._keeping.result()  # a bug is loud

    async def take(self, key: str, *, patience: float = 20.0) -> Lease | None:
        """The lease, once it is free; None when somebody else still held it after `patience` seconds, or wrote under it.

        When it returns with one, all that was written under an earlier epoch is committed, and no more will be. Raises
        JournalError when the database cannot be asked.
        """
        try:
            async with await connect_async(self._place) as link:
                self._links.add(link)
                try:
                    return await self._take(link, key, time.monotonic() + patience)
                finally:
                    self._links.discard(link)
        except (*FAILURES, TimeoutError) as error:
            raise JournalError(f"{self._place}: {key} cannot be taken: {why(error)}") from error

    async def _take(self, link: AsyncConnection[Any], key: str, deadline: float) -> Lease | None:
        await link.execute(_MADE, (key,))
        while not self.lost.is_set():
            left = deadline - time.monotonic()
            await link.execute("SELECT set_config('lock_timeout', %s, false)", (f"{max(1, round(left * 1000))}ms",))
            with suppress(LockNotAvailable):
                cursor = await link.execute(_TAKEN, {"key": key, "free": FREE, "holder": self._holder})
                found = await cursor.fetchone()
                if found is not None and (lease := await self._hold(link, Fence(key=key, epoch=found[0]))) is not None:
                    return lease
            if left <= 0:
                return None
            await asyncio.sleep(min(LOOK, left))
        raise JournalError(f"{self._place}: {key} cannot be taken: {self.trouble}")

    async def _hold(self, link: AsyncConnection[Any], fence: Fence) -> Lease | None:
        """It counts from here: what was taken may have been waited for longer than it is valid. None when it is gone."""
        sent = self.now()
        cursor = await link.execute(_RENEWED, ([fence.key], [fence.epoch]))
        if await cursor.fetchone() is None:
            return None
        lease = Lease(self, fence, until=sent + VALID)
        self._held[fence.key] = lease
        return lease

    async def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        lease.gone.set()
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]
        with suppress(*FAILURES):  # nobody needs it: it is free after FREE seconds
            await self._link.execute(_RELEASED, (lease.key, lease.epoch))

    async def _keep(self) -> None:
        """Renews until nobody can be sure of anything any more."""
        try:
            await self._renew_always()
            self.trouble = f"no renewal of the leases was answered for {VALID:g} s"
        except FAILURES as error:
            self.trouble = f"the connection that renews the leases broke: {why(error)}"
        finally:
            self.lost.set()
            self._let_go()

    async def _renew_always(self) -> None:
        """Returns once no renewal was answered for VALID seconds. Raises one of FAILURES."""
        while (left := self._renewed + VALID - self.now()) > 0:
            beat = asyncio.create_task(self._renew())
            try:
                answered, _ = await asyncio.wait({beat}, timeout=left)
            finally:
                if not beat.done():  # a server that answers nothing answers no request to cancel either
                    self._cut()
                    await asyncio.wait({beat})
                    beat.exception()  # that it was cut off
            if not answered:
                return
            beat.result()
            await asyncio.sleep(EVERY)

    async def _renew(self) -> None:
        """What is held is so for longer; what was taken over is gone. What is over is not kept from others."""
        self._held = {key: lease for key, lease in self._held.items() if lease.is_valid()}
        asked, sent = dict(self._held), self.now()
        epochs = [lease.epoch for lease in asked.values()]
        cursor = await self._link.execute(_RENEWED, (list(asked), epochs))
        kept = {key for (key,) in await cursor.fetchall()}
        self._renewed = sent
        for key, lease in asked.items():
            if key in kept:
                lease.extend(sent + VALID)
            else:
                lease.gone.set()

    def _let_go(self) -> None:
        """Everything is over, also what waits for an answer."""
        for lease in self._held.values():
            lease.gone.set()
        self._held.clear()
        self._cut()

    def _cut(self) -> None:
        """Who waits for the database hears that the connection is broken, even where the server stands still."""
        for link in self._links:
            if not link.closed:
                with socket.socket(fileno=os.dup(link.fileno())) as line, suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
