"""What the engine's rows reserve, when they are the rows of many processes: see engine/ports.Slots."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Final, Protocol, TypeVar

from psycopg import Cursor

from batchmod.cluster import places
from batchmod.cluster.places import Caps, Pool, Reserved
from batchmod.engine.halt import HaltedError
from batchmod.errors import JournalError
from batchmod.pg.link import Row

T = TypeVar("T")
FIRST: Final = 0.1  # seconds until a place that another process may have given back is asked for again
MOST: Final = 0.4  # and at most, after some times in vain


class Fenced(Protocol):
    """A view of the journal that stands under the lease of the rows' lane."""

    async def transact(self, work: Callable[[Cursor[Row]], T]) -> T: ...
    def post(self, work: Callable[[Cursor[Row]], object]) -> None: ...


class SharedSlots:
    """Places of one pool of a run, of which all processes together have no more than there are.

    Without a limit none is written down. What is awaited raises JournalError, StaleError with nothing taken once another
    process works on these rows.
    """

    def __init__(
        self,
        journal: Fenced,
        run_id: str,
        pool: str,
        *,
        wave: int,
        caps: Caps,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        """`exhausted` is called when all is spent that may be. Rows in change or in doubt have their places by `take_up`."""
        self._journal = journal
        self._pool = Pool(run=run_id, name=pool, wave=wave, caps=caps)
        self._who = token_hex(8)  # among those who wait for the places of this pool
        self._unlimited: set[int] = set()  # places that were got while there was no limit: not written down
        self._exhausted = exhausted
        self._closed = False
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._woken = asyncio.Event()
        self._is_listed = False  # as one who waits
        self._is_behind = False  # what is given back here is others' first
        self._serving: asyncio.Task[None] | None = None

    @property
    def limit(self) -> int | None:
        return self._pool.caps.least

    @property
    def free(self) -> bool:
        """What others hold is not known here: who needs one of a limited number has to ask, and may have to wait."""
        return self.limit is None

    def set_limit(self, limit: int | None) -> None:
        """From now on so many of the run; who holds one beyond that keeps it."""
        self._pool = pool = replace(self._pool, caps=replace(self._pool.caps, run=limit))
        if self.limit is not None and self._unlimited:
            seqs, self._unlimited = sorted(self._unlimited), set()
            self._post(lambda cursor: _put(cursor, pool, seqs))
        self._woken.set()

    async def reserve(self, seq: int) -> None:
        """Returns with a place, first come, first served among those of this process, which takes turns with others.

        Raises HaltedError once closed.
        """
        if self._closed:
            raise HaltedError
        if self.limit is None and not self._waiting:
            self._unlimited.add(seq)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, turn))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self.give_back(seq)  # granted and cancelled in the same moment
            self._woken.set()
            raise

    async def claim(self, seq: int) -> bool:
        """Takes a place if one is free: for what cannot wait."""
        if self.limit is None:
            self._unlimited.add(seq)
            return True
        try:
            return bool((await self._ask([seq], who=None)).seqs)
        except asyncio.CancelledError:
            self.give_back(seq)  # it may have been granted
            raise

    def give_back(self, seq: int) -> None:
        """The row ended well, or nothing of it can be live: its place is free, once what was written before is durable."""
        if seq in self._unlimited:
            self._unlimited.remove(seq)
        else:
            pool = self._pool
            self._post(lambda cursor: places.give_back(cursor, pool, seq))
        if not self._is_behind:
            self._woken.set()

    def spend(self, seq: int) -> None:
        """The row ended failed or unresolved: its place is gone for good."""
        self._unlimited.discard(seq)
        if self.limit is None:
            return
        pool, loop = self._pool, asyncio.get_running_loop()

        def work(cursor: Cursor[Row]) -> None:
            if places.spend(cursor, pool, seq):
                with suppress(RuntimeError):  # that loop has ended: nobody is left to be told
                    loop.call_soon_threadsafe(self._exhausted)

        self._post(work)

    def close(self) -> None:
        """Nobody gets a place by waiting any more."""
        self._closed = True
        self._refuse(HaltedError())

    def _post(self, work: Callable[[Cursor[Row]], object]) -> None:
        """A journal that fails says so to everybody who writes a step; the places stay as they are until the rows are
        taken up again.
        """
        with suppress(JournalError):
            self._journal.post(work)

    async def _ask(self, seqs: Sequence[int], who: str | None) -> Reserved:
        pool = self._pool
        reserved = await self._journal.transact(lambda cursor: places.reserve(cursor, pool, seqs, who=who))
        if reserved.exhausted:
            self._exhausted()
        return reserved

    async def _serve(self) -> None:
        """Whoever waits gets a place, one after the other, or hears why not."""
        pause = FIRST
        try:
            while self._waiting:
                self._woken.clear()
                got, missed = await self._try()
                if missed:
                    pause = FIRST if got else pause
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), pause)
                    pause = min(2 * pause, MOST)
        except Exception as error:  # noqa: BLE001  raised by everybody who waits
            self._refuse(error)
        if self._is_listed:  # and waits no more
            self._is_listed = False
            pool, who = self._pool, self._who
            self._post(lambda cursor: places.leave(cursor, pool, who))

    async def _try(self) -> tuple[int, int]:
        """How many of those who wait now got a place, and how many did not."""
        self._waiting = deque(each for each in self._waiting if not each[1].done())
        asked = list(self._waiting)[: None if self.limit is None else max(1, self.limit)]  # more cannot get one
        if self.limit is None or not asked:
            got = {seq for seq, _ in asked}
            self._unlimited |= got
        else:
            reserved = await self._ask([seq for seq, _ in asked], self._who)
            got, self._is_behind = set(reserved.seqs), reserved.is_behind
            self._is_listed = len(got) < len(asked)
        for seq, turn in asked:
            if seq in got and turn.done():
                self.give_back(seq)
            elif seq in got:
                turn.set_result(None)
        self._waiting = deque(each for each in self._waiting if not each[1].done())
        return len(got), len(asked) - len(got)

    def _refuse(self, error: Exception) -> None:
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)
        self._woken.set()


def _put(cursor: Cursor[Row], pool: Pool, seqs: Sequence[int]) -> None:
    places.take_turn(cursor)
    places.put(cursor, pool, seqs)
