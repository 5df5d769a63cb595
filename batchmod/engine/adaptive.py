"""Which quota is kept: the one that was told, less while the service refuses, or one that is found. Pure.

What the service accepted in a whole window when it refuses is its quota. From there on no more is sent in any window;
one call at a time asks when there is room again, and what was found grows slowly as long as nothing is refused.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from batchmod.model.values import Rate

FIRST: Final = 5.0  # calls a second that an unknown quota begins with; doubled each second until one is refused
PERIODS: Final = (1.0, 60.0)  # seconds: what an unknown quota may be counted over
SHORT: Final = 5.0  # seconds: a period up to that grows by the second, a longer one by its own windows
FEW: Final = 10.0  # calls a second: an unknown quota below that is told apart over the longer period only
STILL: Final = 1.5  # periods of refusals after which an unknown period must be the longer one
DRAIN: Final = (
    0.95,
    0.7,
)  # of a window's content may be left when a refused call is tried again, the first time and later
AGAIN: Final = 0.85  # of what was found, when it is refused again within a period
LEAST: Final = 0.5  # of what was found: a refusal never takes more than the rest at once
FULL: Final = 0.7  # of what was found has to be used, or there is no reason to find more
SHORT_GROWTH: Final = (5.0, 0.01, 12.0, 1.08)  # clean seconds, then this share a second; clean seconds, then times that
LONG_GROWTH: Final = (1.0, 0.025, 3.0, 1.5)  # the same in windows
NEAR: Final = 0.85  # of what was told: so little less is rather somebody else's doing than another quota
RETURN: Final = (
    2.0,
    16.0,
)  # clean seconds, or windows, until what was told is tried again; doubled each time up to this
PROBE: Final = 0.2  # of a period between the second and the third call that ask for room, doubled from then on

Within = Callable[[float], int]  # calls that were accepted in the last so many seconds


class Found:
    """A quota of `calls` in `period` seconds that the service keeps to, as far as it let itself be known."""

    def __init__(self, told: Rate | None, *, now: float, start: Rate | None = None) -> None:
        """`told` is never exceeded; None is an unknown one. `start` is what was found the last time."""
        self.told = told
        known = start or told
        self.calls = float(known.calls) if known else FIRST
        self.period = known.period if known else PERIODS[0]
        self._rising = known is None
        if told is not None:
            self._fit(told)
        self._anchor = self.calls
        self._cut_at = self._free_since = -inf  # no refusal yet
        self._clean_since = self._ticked = now
        self._not_before = -inf
        self.asking = False  # one call at a time, until one is accepted
        self._began = now  # of the refusals in a row
        self._tries = 0
        self._return = RETURN[0]
        self.ask_below = inf  # calls in the window

    def _fit(self, told: Rate) -> None:
        """In the period that was told, and never more than was told."""
        self.calls = min(float(told.calls), self.calls * told.period / self.period)
        self.period = told.period

    @property
    def free(self) -> bool:
        """Nothing is known that speaks against the quota that was told."""
        return self.told is not None and self.calls >= self.told.calls

    @property
    def known(self) -> bool:
        """The service has said something that speaks for this quota and against the one that was told."""
        return not self.free and not self._rising

    @property
    def most(self) -> int:
        """Calls that a window may hold now."""
        return max(1, int(min(self.calls, self.ask_below)))

    @property
    def not_before(self) -> float:
        return self._not_before

    def tell(self, told: Rate | None, now: float) -> None:
        """Another quota from now on: a lower one at once, a higher one as far as the service lets it."""
        free, self.told = self.free or self._rising, told
        if told is None:
            return
        self._fit(told)
        if free:
            self.calls = self._anchor = float(told.calls)
        self._ticked = now
        self._rising = False

    def refused(self, granted: float, now: float, within: Within, retry_after: float | None = None) -> None:
        """A call that was granted then was refused by quota; one granted before the last such news tells nothing new."""
        self._not_before = max(self._not_before, now + (retry_after or 0.0))
        if granted <= self._cut_at:
            return
        if self._longer(now, retry_after):
            self.period = PERIODS[-1]
            self._found(float(max(1, within(self.period))), now)
        elif self.asking:
            self._tries += 1
            self.ask_below = max(1.0, min(self.ask_below, within(self.period) * DRAIN[self._tries > 1]))
            pause = self.period * PROBE * 2.0 ** min(self._tries - 2, 4) if self._tries > 1 else 0.0
            self._not_before = max(self._not_before, now + min(pause, self.period))
        else:
            again = now - self._free_since < self.period
            calls = min(float(within(self.period)), self.calls * AGAIN if again else self.calls)
            calls = max(1.0, calls, self.calls * LEAST)
            if self.told is None and self.period == PERIODS[0] and calls < FEW:
                calls = max(within(PERIODS[-1]), within(self.period) * PERIODS[-1] / self.period)
                self.period = PERIODS[-1]
            self._found(calls, now)
        self._cut_at = now
        self._rising = False

    def _longer(self, now: float, retry_after: float | None) -> bool:
        """The quota cannot be counted over so short a period."""
        if self.told is not None or self.period == PERIODS[-1]:
            return False
        return (retry_after or 0.0) > STILL * self.period or (self.asking and now - self._began > STILL * self.period)

    def _found(self, calls: float, now: float) -> None:
        self.calls = self._anchor = calls
        self.asking, self._tries, self.ask_below, self._began = True, 0, inf, now

    def accepted(self, granted: float, now: float) -> None:
        """A call that was granted then was not refused by quota: if it asked for room, there is some again."""
        if self.asking and granted > self._cut_at:
            self.asking, self.ask_below = False, inf
            self._free_since = self._clean_since = self._ticked = now

    def grow(self, now: float, within: Within) -> bool:
        """What was found is a little more when it was used and nothing refused for a while; whether it is."""
        step = 1.0 if self.period <= SHORT else self.period
        if self.free or self.asking or now - self._ticked < step:
            return False
        self._ticked = now
        clean = (now - self._clean_since) / step
        if self.told is not None and self.calls >= self.told.calls * NEAR:
            if clean >= self._return:
                self.calls, self._return = float(self.told.calls), min(2 * self._return, RETURN[1])
            return self.free
        if within(self.period) < self.calls * (FULL if not self._rising else LEAST):
            return False
        hold, share, fast, times = SHORT_GROWTH if self.period <= SHORT else LONG_GROWTH
        if self._rising:
            self.calls *= 2
        elif clean >= fast:
            self.calls *= times
        elif clean >= hold:
            self.calls += self._anchor * share
        if self.told is not None:
            self.calls = min(self.calls, float(self.told.calls))
        return True
