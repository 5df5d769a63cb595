"""Time and dice as parameters, so that nothing in the engine asks the machine for them behind a test's back."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`wall`: seconds since the epoch, for what is kept; `now`: monotonic seconds, for waits; `dice`: 0 <= x < 1."""

    wall: Callable[[], float] = time.time
    now: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
