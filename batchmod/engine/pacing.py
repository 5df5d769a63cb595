"""The API quota as a clock: one turnstile per API, account and region over asyncio-throttle.

A quota belongs to an API x account x region, so nothing is shared between lanes but the connection slots.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
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
PAST = 10_000  # grants that are remembered at most: larger quotas are kept by the pace alone
NAP = 1.0  # seconds at most until a waiter notices that its rate was changed, or that nothing may be sent


def batch_of(per_second: float, quota: Rate) -> int:
    """How many grants may come at once: about WINDOW's worth, and never so many that a window of the quota's own
    length could hold more than the quota.
    """
    for batch in range(min(quota.calls, int(per_second * WINDOW)), 1, -1):
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
        self._past: deque[float] = deque(maxlen=PAST)
        self._set(self._ceiling)

    @property
    def per_second(self) -> float:
        return self._rate

    def _set(self, rate: float) -> None:
        self._rate = max(self._ceiling * FLOOR, min(self._ceiling, rate))
        batch = batch_of(self._rate, self._quota)
        self._gate.rate_limit, self._gate.period = batch, batch / self._rate
        self._grants = deque(self._grants, maxlen=batch)

    def set_quota(self, quota: Rate) -> None:
        """Paced by this quota from now on; slowed down by the service, not faster than that made it.

        A window that ends later waits until what was granted before leaves room for more; one that the change falls into
        holds no more than the faster of the two quotas lets it.
        """
        before, free = self._gate.period, self._rate == self._ceiling
        self._quota = quota
        self._ceiling = quota.per_second * SHARE
        self._set(self._ceiling if free else self._rate)
        if self._past:  # batches of the two rates must not add up
            self._not_before = max(self._not_before, self._past[-1] + before + self._gate.period)

    async def grant(self, slots: asyncio.Semaphore) -> float:
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
            at = self._clock.now()
            self._grants.append(at)
            self._past.append(at)
            return at

    async def _until_due(self) -> None:
        """Sleeps until shortly before a grant can be due: polling for longer would cost a core."""
        while True:
            now = self._clock.now()
            if self._rate < self._ceiling and now - self._changed >= 1.0:
                self._changed = now
                self._set(self._rate * GROW)
            full = self._grants and len(self._grants) == self._grants.maxlen
            due = self._grants[0] + self._gate.period - POLL if full else now
            if len(self._past) >= self._quota.calls:
                due = max(due, self._past[-self._quota.calls] + self._quota.period)
            pause = max(due, self._not_before) - now
            await self._wait(min(pause, NAP))
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
    """All pacers of one lane, made when an API is first called.

    A call that writes ends its wait when the run stops or is paused; a pause holds no grant, slot or turn.
    """

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
            wait = self._to_send if api in self._writes else self._to_read
            self._pacers[api] = Pacer(self._rate_for(api), clock=self._clock, wait=wait)
        return self._pacers[api]

    async def _to_send(self, seconds: float) -> None:
        self._halt.check_now()
        await self._halt.sleep(seconds, sending=True)

    async def _to_read(self, seconds: float) -> None:
        await self._halt.sleep(seconds, sending=False)

    def set_rates(self, rate_for: Callable[[str], Rate]) -> None:
        """Every API has the rate that this one names, those that were called before too."""
        before, self._rate_for = self._rate_for, rate_for
        for api, pacer in self._pacers.items():
            if rate_for(api) != before(api):
                pacer.set_quota(rate_for(api))

    async def enter(self, api: str) -> float:
        """Returns with a connection slot and a grant: when it was given, on the clock's `now`."""
        return await self.pacer(api).grant(self._slots)

    def leave(self, api: str) -> None:  # noqa: ARG002  every API shares the slots
        """The connection slot is free again."""
        self._slots.release()

    def answered(self, api: str, granted: float, error: CallError | None) -> None:  # noqa: ARG002  for the guard
        """Tells the pacer how a call of its API that was granted then was answered."""
        if error is not None and error.verdict is Verdict.SLOW_DOWN:
            self.pacer(api).throttled(error.retry_after)
