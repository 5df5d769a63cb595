"""One look at many instances: what waits on a lane is asked for 30 ids at a time, never one instance per poll."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar

from batchmod.engine.halt import Halt, HaltedError
from batchmod.errors import CallError

BATCH = 30  # ids in one DescribeInstances
LINGER = 0.1  # seconds in which looks that come one after the other become one call
GAPS = 5  # as many usual gaps between two looks without one: no more is coming
WAIT = 10.0  # seconds that a look waits for others at most: in these a lane with the vendor's usual quota sends 30
SHARE, LONGEST = 0.1, 2.0  # of the newest gap in the usual one, and the longest gap that counts
TICK = 0.05  # seconds between two counts of what has become due
AT_ONCE = 8  # calls under way: what waits for a quota is better waited for together


class Sight(Protocol):
    """What is known of an instance that was read."""

    @property
    def status(self) -> str: ...


S = TypeVar("S", bound=Sight)
Look = Callable[[Sequence[str]], Awaitable[Mapping[str, S | CallError | None]]]  # a CallError is of that id alone


class _Asked(NamedTuple, Generic[S]):
    due: float  # on the loop's clock
    order: int
    instance_id: str
    sending: bool
    answer: asyncio.Future[S | None]


class Coming:
    """Counts the blocks that it is entered by; one for all of them, since a generator for each takes as long as a look."""

    def __init__(self, none_left: Callable[[], None]) -> None:
        self.changes = 0
        self._none_left = none_left

    def __enter__(self) -> None:
        self.changes += 1

    def __exit__(self, *_: object) -> None:
        self.changes -= 1
        if not self.changes:
            self._none_left()


class Watcher(Generic[S]):
    """Looks on behalf of all rows of one lane. `run` must be running for `look` to return.

    A call is made when 30 looks are due, or as soon as no more seem to come: a lane that sends three changes a second
    asks for thirty of them at a time; one where nothing can be sent before these looks are answered does not wait.
    """

    def __init__(self, look: Look[S], halt: Halt) -> None:
        self._look = look
        self._halt = halt
        self._later: list[_Asked[S]] = []  # a heap
        self._due: list[_Asked[S]] = []
        self._order = count()
        self._gap = 0.0  # the usual one between two instances that become due
        self._last: _Asked[S] | None = None  # that became due
        self._wakes = -inf  # when `run` looks by itself; before that it is told
        self._told = asyncio.Event()
        self._coming = Coming(self._told.set)  # changes that are being sent, or wait for their turn: their looks follow
        halt.on_stop(lambda _: self._let_go(sending=True))
        halt.on_leave(lambda: self._let_go(sending=False))

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> S | None:
        """The instance as read in `after` seconds or a little later, None when it is gone.

        Raises CallError for a read that was refused, throttled or lost: it is the asker's deadline that counts; and
        HaltedError when the wait is pointless: one before a send from a stop on, any other once nothing is waited for.
        """
        if self._halt.left or (sending and self._halt.reason is not None):
            raise HaltedError
        loop = asyncio.get_running_loop()
        due = loop.time() + after
        answer: asyncio.Future[S | None] = loop.create_future()
        heappush(self._later, _Asked(due, next(self._order), instance_id, sending, answer))
        if due < self._wakes:
            self._told.set()
        return await answer

    def coming(self) -> Coming:
        """A change is on its way in the block: while one is, it is worth waiting for the look that will follow it."""
        return self._coming

    async def run(self) -> None:
        """Serves looks until it is cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def serve(batch: Sequence[_Asked[S]]) -> None:
            try:
                await self._serve(batch)
            finally:
                slots.release()

        async with asyncio.TaskGroup() as calls:
            while True:
                await slots.acquire()
                await self._until_worth_a_call()
                batch, self._due = self._due[:BATCH], self._due[BATCH:]
                calls.create_task(serve([asked for asked in batch if not asked.answer.done()]))

    async def _until_worth_a_call(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            self._become_due(now)
            if len(self._due) >= BATCH:
                return
            if self._due:
                last = self._no_more_after()
                if last <= now:
                    return
                self._wakes = min(last, max(self._later[0].due, now + TICK)) if self._later else last
            else:
                self._wakes = self._later[0].due if self._later else inf
            self._told.clear()
            try:
                async with asyncio.timeout_at(self._wakes if self._wakes < inf else None):
                    await self._told.wait()
            except TimeoutError:
                pass
            finally:
                self._wakes = -inf

    def _no_more_after(self) -> float:
        """Until when it is worth waiting for one more look, beyond those that are due."""
        newest, longest = self._due[-1].due, self._due[0].due + WAIT
        patience = max(LINGER, GAPS * self._gap)
        if self._coming.changes or (self._later and self._later[0].due <= newest + patience):
            return min(newest + patience, longest)
        return min(newest + LINGER, longest)

    def _become_due(self, now: float) -> None:
        while self._later and self._later[0].due <= now:
            asked = heappop(self._later)
            if asked.answer.done():
                continue
            if self._last is not None and self._last.instance_id != asked.instance_id:
                self._gap += SHARE * (min(LONGEST, asked.due - self._last.due) - self._gap)
            self._last = asked
            self._due.append(asked)

    async def _serve(self, batch: Sequence[_Asked[S]]) -> None:
        if not batch:
            return
        try:
            seen = await self._look(sorted({asked.instance_id for asked in batch}))
        except (CallError, HaltedError) as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        for asked in batch:
            if asked.answer.done():
                continue
            found = seen[asked.instance_id]
            if isinstance(found, CallError):
                asked.answer.set_exception(found)
            else:
                asked.answer.set_result(found)

    def _let_go(self, *, sending: bool) -> None:
        """Waits that have become pointless end; what is being asked for is answered."""
        for asked in (*self._later, *self._due):
            if not asked.answer.done() and (asked.sending or not sending):
                asked.answer.set_exception(HaltedError())
