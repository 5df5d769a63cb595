"""One API of one lane: calls go through one at a time, first come, first served, over asyncio-throttle."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

from asyncio_throttle.throttler import Throttler

from batchmod.engine.adaptive import Found
from batchmod.engine.arrivals import Arrivals
from batchmod.engine.clock import Clock
from batchmod.engine.tally import Tally
from batchmod.model.pace import Pace, Remembered
from batchmod.model.plan import Lane
from batchmod.model.values import Rate

SHARE = 0.97  # of the quota: measured to use 95.9 % of it and never more than 97.5 % in any window
WINDOW = 0.1  # seconds that one batch of grants spans: grants come evenly instead of all at once
POLL = 0.002  # seconds between two looks of the one waiter that polls
ASK = 0.02  # seconds between two looks whether the one call that asks for room was answered
NAP = 1.0  # seconds at most until a waiter notices that its rate was changed, or that nothing may be sent
LATE = 0.25  # of a batch's time is made up for when the machine woke us late
AFTER = 1.0  # seconds after somebody else's last call, or a period that is shorter: it may have arrived late
MEMORY = 1.2  # periods for which answers are remembered


def batch_of(per_second: float, calls: int) -> int:
    """How many grants may come at once: at most WINDOW's worth, and a divisor of the quota, so that the pace alone
    keeps any window of its period to the quota.
    """
    for batch in range(min(calls, int(per_second * WINDOW * 1.05)), 1, -1):
        if calls % batch <= calls // 200:  # near enough: the rest is less than what SHARE leaves
            return batch
    return 1


class Gate(Throttler):
    """asyncio-throttle's log of grants on the clock that everything else here goes by."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(1, 1.0, POLL)
        self._now = now

    def flush(self) -> None:
        log, before = self._task_logs, self._now() - self.period
        while log and log[0] <= before:
            log.popleft()

    async def acquire(self) -> None:
        await super().acquire()  # type: ignore[no-untyped-call]
        self._task_logs[-1] = self._now()

    @property
    def due(self) -> float:
        """When the next grant is; long ago if there is room now."""
        log = self._task_logs
        return log[-self.rate_limit] + self.period if len(log) >= self.rate_limit else -inf


class Pacer:
    """Grants calls of one API in one lane, first come, first served, never faster than its quota lets it.

    Slower for a while when the service throttles; `wait` sleeps and may raise to end the wait. Without a rate the quota
    is found; `start` is what was found the last time. `since`: until then, on the clock's `now`, the turn was somebody
    else's, whose last call arrived at `written` at the latest.
    """

    def __init__(
        self,
        rate: Rate | None,
        *,
        clock: Clock,
        wait: Callable[[float], Awaitable[None]],
        start: Remembered | None = None,
        since: float = -inf,
        written: float = -inf,
    ) -> None:
        now = clock.now()
        self._since = since
        self._written = written
        self._clock = clock
        self._wait = wait
        self._turn = asyncio.Lock()
        self._queue = 0  # calls that wait for their turn, or have it
        self._found = Found(rate, now=now, start=start.rate if start else None)
        self._said_at = start.at if start else None  # when the service last spoke against what was told
        self._arrivals = Arrivals()
        self._gate = Gate(clock.now)
        self._scheduled = self._looked = now
        self._step = 0.0  # seconds from one batch to the next
        self._left = 0  # grants of this batch
        self._told_at = -inf
        self.tally = Tally()
        self._set(now)

    @property
    def per_second(self) -> float:
        return self._found.calls / self._found.period * SHARE

    def pace(self, api: str, lane: Lane | None) -> Pace:
        """The quota that is kept now, and what was made of it so far."""
        found, tally = self._found, self.tally
        return Pace(
            account_id=lane.account_id if lane else "",
            region=lane.region if lane else "",
            api=api,
            rate=str(Rate(calls=max(1, int(found.calls)), period=found.period)),
            found=found.known and self._said_at is not None,
            found_at=self._said_at or 0.0,
            calls=tally.calls,
            throttled=tally.throttled,
            allowed=round(tally.allowed, 3),
        )

    @property
    def last(self) -> float:
        """When a call of it can have arrived last, on the clock's `now`."""
        return self._clock.now() if self._arrivals.in_flight else self._arrivals.last

    def is_news(self) -> bool:
        """At most once a second."""
        now = self._clock.now()
        news = now - self._told_at >= 1.0
        self._told_at = now if news else self._told_at
        return news

    def _set(self, now: float) -> None:
        rate = self.per_second
        batch = batch_of(rate, int(self._found.calls))
        self._step = batch / rate
        self._gate.rate_limit, self._gate.period = batch, self._step
        self._left = min(self._left, batch)
        self.tally.allow(self._found.calls / self._found.period, now)

    def set_quota(self, quota: Rate | None) -> None:
        """Paced by this quota from now on; slowed down by the service, not faster than that made it.

        A window that ends later waits until what was granted before leaves room for more.
        """
        now = self._clock.now()
        self._found.tell(quota, now)
        self._set(now)

    async def grant(self, slots: asyncio.Semaphore) -> float:
        """Returns with a grant and a connection slot, and when; the slot first, so that a grant is used when given."""
        now = self._clock.now()
        if not self._queue and not slots.locked() and now - self._looked < NAP and self._due(now) <= now:
            await self._wait(0.0)  # like what follows it gives way to nobody
            await slots.acquire()
            try:
                await self._gate.acquire()
            except BaseException:
                slots.release()
                raise
            return self._granted()
        self._queue += 1
        try:
            async with self._turn:
                return await self._in_turn(slots)
        finally:
            self._queue -= 1

    async def _in_turn(self, slots: asyncio.Semaphore) -> float:
        while True:
            await self._until_due()
            await slots.acquire()
            granted = False
            try:
                if self._due(self._clock.now()) <= self._clock.now():  # else: news while it waited for the slot
                    await self._gate.acquire()
                    granted = True
                    return self._granted()
            finally:
                if not granted:
                    slots.release()

    def _granted(self) -> float:
        at = self._clock.now()
        self._arrivals.granted(at)
        if self._left == 0:  # the first of a batch: who was woken late makes up for a part of it
            late = min(max(0.0, at - self._scheduled), LATE * self._step)
            self._scheduled = at - late + self._step
            self._gate.period = self._step - late
            self._left = self._gate.rate_limit
        self._left -= 1
        return at

    async def _until_due(self) -> None:
        """Sleeps until a grant can be due: polling for longer would cost a core."""
        while True:
            now = self._clock.now()
            if now - self._looked >= NAP:
                self._look(now)
            pause = self._due(now) - now
            await self._wait(min(pause, NAP))
            if pause <= 0:
                return

    def _due(self, now: float) -> float:
        found, arrivals = self._found, self._arrivals
        due = max(
            self._since + self._step,
            self._written + min(found.period, AFTER),
            found.not_before,
            self._gate.due,
            arrivals.room_at(found.most, found.period, now),
        )
        if found.asking and arrivals.in_flight:
            due = max(due, now + ASK)
        return due

    def _look(self, now: float) -> None:
        self._looked = now
        period = self._found.period if self._found.told else 60.0
        self._arrivals.forget(now - MEMORY * max(1.0, period))
        if self._found.grow(now, lambda period: self._arrivals.within(period, now)):
            self._set(now)

    def given_up(self, granted: float) -> None:
        """A call that was granted then never ended: for all that is known the service has just had it."""
        self._arrivals.answered(granted, self._clock.now(), counts=True)

    def answered(
        self,
        granted: float,
        *,
        throttled: bool,
        sent: bool = True,
        retry_after: float | None = None,
    ) -> None:
        """A call that was granted then was answered, or its connection broke; refused by quota if `throttled`."""
        now = self._clock.now()
        self._arrivals.answered(granted, now, counts=sent and not throttled)
        if not sent:
            return
        self.tally.count(now, throttled=throttled)
        if throttled:
            self._said_at = round(self._clock.wall(), 3)
            self._found.refused(granted, now, lambda period: self._arrivals.within(period, now), retry_after)
            self._set(now)
        elif self._found.asking:
            self._found.accepted(granted, now)
