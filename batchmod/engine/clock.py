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
    _ahead: float = field(init=False)  # of `wall` against `now`, when this was made

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ahead", self.wall() - self.now())  # the one way to set a field of a frozen one

    def surely(self) -> float:
        """`wall`, but no jump of the machine's clock sets it forward: for what must be over, late rather than early."""
        return min(self.wall(), self.now() + self._ahead)
