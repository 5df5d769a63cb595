"""Whether a stored password is young enough to be left alone. Pure.

Its age is counted from the start of the process that escrowed it to the start of the process that asks. What each of them
takes until it comes to an instance is no part of it: a job at a fixed time of the day finds whole days between its runs.
"""

from collections.abc import Callable, Sequence
from typing import Final

from batchmod.engine.clock import AHEAD
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.model.values import about, format_duration

JITTER: Final = 60.0  # seconds that a scheduler may begin early, measured by when it began the last time
JITTER_SHARE: Final = 0.01  # of max_age, where that is less: a short max_age is not a matter of nights


def youth(
    stages: Sequence[Generation], *, began: Callable[[Generation], float | None], now: float, max_age: float
) -> str | None:
    """Why an instance's password is not due yet; None when it is, or when nobody knows how old it is.

    `stages` are its generations, oldest first; a younger one than the current may be what is live. `began` tells when the
    process began that escrowed one, None when that is not known; a time from the future tells nothing. `now` is when this
    process began. All are seconds (since the epoch).
    """
    if not stages or stages[-1].stage is not Stage.CURRENT:
        return None
    since = began(stages[-1])
    if since is None:
        return None
    age = now - since
    if age < -AHEAD or age >= max_age - min(JITTER, max_age * JITTER_SHARE):
        return None
    return f"rotated {about(max(0.0, age))} ago; max_age {format_duration(max_age)}"


async def never_young(_: InstanceKey) -> None:
    """Without `max_age` every password is due."""
