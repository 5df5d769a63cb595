"""What the service may have in its window at this moment, as far as a client can know. Pure: times come from the caller.

A call arrives at some moment between its grant and its answer. It is counted from its grant until a period after its
answer: so two of them do not come closer together on arrival than they are taken for, whatever held up either. (The fastest
round trip cannot be taken off: one call's way there and another's way back may be faster together.) What is in flight is
counted as long as that lasts: whatever holds it up may be at the service's door.
"""

from bisect import bisect_right
from collections import deque
from math import inf
from typing import Final

SOON: Final = 0.01  # seconds until it is asked again where all that there may be is in flight
KEPT: Final = 100_000  # answered calls at most: larger quotas are kept by the pace alone


class Arrivals:
    """The calls in flight, and those that the service has answered with anything but a refusal by quota."""

    def __init__(self) -> None:
        self._flying: dict[float, int] = {}  # how many were granted at each moment
        self.in_flight = 0
        self._answered: deque[float] = deque(maxlen=KEPT)
        self.last = -inf  # when a call was answered last, or given up

    def granted(self, at: float) -> None:
        self._flying[at] = self._flying.get(at, 0) + 1
        self.in_flight += 1

    def answered(self, granted: float, at: float, *, counts: bool) -> None:
        """`counts`: the service has it in its window now. Once a call."""
        left = self._flying.pop(granted, 0)
        if not left:
            return
        if left > 1:
            self._flying[granted] = left - 1
        self.in_flight -= 1
        if counts:
            self._answered.append(at)
        self.last = at

    def within(self, period: float, now: float) -> int:
        """How many were answered in the last `period` seconds, and had not been refused."""
        return len(self._answered) - bisect_right(self._answered, now - period)

    def room_at(self, calls: int, period: float, now: float) -> float:
        """When one more call keeps a window of `period` to so many calls; not later than `now` if it does so now."""
        if len(self._answered) + self.in_flight < calls:
            return now
        last = calls - self.in_flight
        if last <= 0:  # if one were answered now
            return now + max(period, SOON)
        return self._answered[-last] + period

    def forget(self, before: float) -> None:
        """What was answered before that is never asked about again."""
        answered = self._answered
        while answered and answered[0] < before:
            answered.popleft()
