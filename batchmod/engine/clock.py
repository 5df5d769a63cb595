"""Time and dice as parameters, so that nothing in the engine asks the machine for them behind a test's back."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

AHEAD = 120.0  # seconds: two clocks may each be 60 s off the service's, in opposite directions


def since_boot() -> Callable[[], float]:
    """Seconds that go on evenly; those in which the machine sleeps count, where the platform can tell them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot is None else partial(time.clock_gettime, boot)


def steady_wall(wall: Callable[[], float] = time.time, tick: Callable[[], float] | None = None) -> Callable[[], float]:
    """Seconds since the epoch that go on evenly from now: a clock that is set meanwhile moves no fence, in this process
    or, through what the journal keeps, in the next.
    """
    tick = tick or since_boot()
    offset = wall() - tick()
    return lambda: offset + tick()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`wall`: seconds since the epoch, for what is kept; `now`: monotonic seconds, for waits; `dice`: 0 <= x < 1."""

    wall: Callable[[], float] = field(default_factory=steady_wall)
    now: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
