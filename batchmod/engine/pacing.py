"""The API quota as a clock: one turnstile per API, account and region.

A quota belongs to an API x account x region, so nothing is shared between lanes but the connection slots.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType

from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.turnstile import Pacer
from batchmod.errors import CallError, Verdict
from batchmod.model.pace import Pace, Remembered
from batchmod.model.plan import Lane
from batchmod.model.values import Rate


class Pacing:
    """All pacers of one lane, made when an API is first called.

    A call that writes ends its wait when the run stops or is paused; a pause holds no grant, slot or turn.
    """

    def __init__(
        self,
        rate_for: Callable[[str], Rate | None],
        *,
        slots: asyncio.Semaphore,
        halt: Halt,
        writes: frozenset[str],
        clock: Clock,
        lane: Lane | None = None,
        found: Mapping[str, Remembered] = MappingProxyType({}),
        tell: Callable[[Pace], None] | None = None,
        since: float = -inf,
        written: float = -inf,
    ) -> None:
        """`rate_for` an API is None when nobody knows its quota; `found` is what was found the last time. `since`: until
        then, on the clock's `now`, another process had the lane, which wrote at `written` for the last time: the pace goes
        on where that one left it.

        `tell` is called at most once a second and API, when something was answered.
        """
        self._rate_for = rate_for
        self._slots = slots
        self._halt = halt
        self._writes = writes
        self._clock = clock
        self.lane = lane
        self._start = found
        self._tell = tell
        self._since = since
        self._written = written
        self._pacers: dict[str, Pacer] = {}

    def pacer(self, api: str) -> Pacer:
        pacer = self._pacers.get(api)
        if pacer is None:
            writes = api in self._writes
            pacer = Pacer(
                self._rate_for(api),
                clock=self._clock,
                wait=self._to_send if writes else self._to_read,
                start=self._start.get(api),
                since=self._since,
                written=self._written if writes else -inf,
            )
            self._pacers[api] = pacer
        return pacer

    async def _to_send(self, seconds: float) -> None:
        self._halt.check_now()
        await self._halt.sleep(seconds, sending=True)

    async def _to_read(self, seconds: float) -> None:
        await self._halt.sleep(seconds, sending=False)

    def set_rates(self, rate_for: Callable[[str], Rate | None]) -> None:
        """Every API has the rate that this one names, those that were called before too."""
        before, self._rate_for = self._rate_for, rate_for
        for api, pacer in self._pacers.items():
            if rate_for(api) != before(api):
                pacer.set_quota(rate_for(api))

    async def enter(self, api: str) -> float:
        """Returns with a connection slot and a grant: when it was given, on the clock's `now`."""
        pacer = self.pacer(api)
        granted = await pacer.grant(self._slots)
        try:
            self._halt.check_held()  # a process that was frozen wakes up here, with another one in its place
        except HaltedError:
            pacer.given_up(granted)
            self._slots.release()
            raise
        return granted

    def leave(self, api: str) -> None:  # noqa: ARG002  every API shares the slots
        """The connection slot is free again."""
        self._slots.release()

    def given_up(self, api: str, granted: float) -> None:
        """Tells the pacer that a call that was granted then never ended."""
        self._pacers[api].given_up(granted)

    def answered(self, api: str, granted: float, error: CallError | None) -> None:
        """Tells the pacer how a call of its API that was granted then was answered."""
        pacer = self.pacer(api)
        if error is None:
            pacer.answered(granted, throttled=False)
        else:
            throttled, sent = error.verdict is Verdict.SLOW_DOWN, error.verdict is not Verdict.NOT_SENT
            pacer.answered(granted, throttled=throttled, sent=sent, retry_after=error.retry_after)
        if self._tell is not None and pacer.is_news():
            self._tell(pacer.pace(api, self.lane))

    def last_write(self) -> float:
        """When a call that writes can have arrived last, by this process or the one before it, on the clock's `now`."""
        return max([self._written, *(pacer.last for api, pacer in self._pacers.items() if api in self._writes)])

    def paces(self) -> list[Pace]:
        """How every API that was called is paced, and how much of its quota was used."""
        return [pacer.pace(api, self.lane) for api, pacer in self._pacers.items() if pacer.tally.calls]
