"""The API quota as a clock: one turnstile per API, account and region over asyncio-throttle.

A quota belongs to an API x account x region, so nothing is shared between lanes but the connection slots.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil

from asyncio_throttle.throttler import Throttler

from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import CallError, Verdict
from batchmod.model.values import Rate

SHARE = 0.97  # of the quota: measured to use 95.9 % of it and never more than 97.5 % in any window
WINDOW = 0.1  # seconds that one batch of grants spans: grants come evenly instead of all at once
POLL = 0.002  # seconds between two looks of the one waiter that polls
CUT, GROW = 0.7, 1.05  # of the rate at a throttled answer, and per second without one
FLOOR = 0.05  # of the ceiling: a pacer never becomes slower than that


def batch_of(per_second: float, quota: Rate) -> int:
    """How many grants may come at once: about WINDOW's worth, and never so many that a window of the quota's own
    length could hold more than the quota.
    """
    for batch in range(max(1, int(per_second * WINDOW)), 1, -1):
        if batch * ceil(per_second * quota.period / batch - 1e-9) <= quota.calls:
            return batch
    return 1


class Pacer:
    """Grants calls of one API in one lane, first come, first served, never faster than its ceiling.

    Slower for a while when the service throttles; `wait` sleeps and may raise to end the wait.
    """

    def __init__(self, rate: Rate, *, clock: Clock, wait: Callable[[float], Awaitable[None]]) -> None:
        self._quota = rate
        self._ceiling = self._rate = rate.per_second * SHARE
        self._clock = clock
        self._wait = wait
        self._turn = asyncio.Lock()
        self._not_before = self._changed = clock.now()
        self._gate = Throttler(rate_limit=1, period=1.0, retry_interval=POLL)
        self._grants: deque[float] = deque()
        self._set(self._ceiling)

    @property
    def per_second(self) -> float:
        return self._rate

    def _set(self, rate: float) -> None:
        self._rate = max(self._ceiling * FLOOR, min(self._ceiling, rate))
        batch = batch_of(self._rate, self._quota)
        self._gate.rate_limit, self._gate.period = batch, batch / self._rate
        self._grants = deque(self._grants, maxlen=batch)

    async def grant(self, slots: asyncio.Semaphore) -> None:
        """Returns with a grant and a connection slot; the slot first, so that a grant is used when it is given."""
        async with self._turn:
            await self._until_due()
            await slots.acquire()
            granted = False
            try:
                await self._gate.acquire()  # type: ignore[no-untyped-call]  # the library has no types
                granted = True
            finally:
                if not granted:  # cancelled while polling
                    slots.release()
            self._grants.append(self._clock.now())

    async def _until_due(self) -> None:
        """Sleeps until shortly before a grant can be due: polling for longer would cost a core."""
        while True:
            now = self._clock.now()
            if self._rate < self._ceiling and now - self._changed >= 1.0:
                self._changed = now
                self._set(self._rate * GROW)
            full = self._grants and len(self._grants) == self._grants.maxlen
            due = self._grants[0] + self._gate.period - POLL if full else now
            pause = max(due, self._not_before) - now
            await self._wait(pause)
            if pause <= 0:
                return

    def throttled(self, retry_after: float | None) -> None:
        """The service refused a call by quota: slower, at most one cut a second, and not before it said."""
        now = self._clock.now()
        self._not_before = max(self._not_before, now + (retry_after or 0.0))
        if now - self._changed >= 1.0 or self._rate == self._ceiling:
            self._changed = now
            self._set(self._rate * CUT)


class Pacing:
    """All pacers of one lane, made when an API is first called. Calls that write end their wait when the run stops."""

    def __init__(
        self,
        rate_for: Callable[[str], Rate],
        *,
        slots: asyncio.Semaphore,
        halt: Halt,
        writes: frozenset[str],
        clock: Clock,
    ) -> None:
        self._rate_for = rate_for
        self._slots = slots
        self._halt = halt
        self._writes = writes
        self._clock = clock
        self._pacers: dict[str, Pacer] = {}

    def pacer(self, api: str) -> Pacer:
        if api not in self._pacers:
            sending = api in self._writes
            self._pacers[api] = Pacer(
                self._rate_for(api),
                clock=self._clock,
                wait=lambda seconds: self._halt.sleep(seconds, sending=sending),
            )
        return self._pacers[api]

    @asynccontextmanager
    async def turn(self, api: str) -> AsyncIterator[None]:
        """Inside, a connection slot and a grant are held."""
        await self.pacer(api).grant(self._slots)
        try:
            yield
        finally:
            self._slots.release()

    def answered(self, api: str, error: CallError | None) -> None:
        """Tells the pacer how a call of its API was answered."""
        if error is not None and error.verdict is Verdict.SLOW_DOWN:
            self.pacer(api).throttled(error.retry_after)
