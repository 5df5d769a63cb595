"""A read is asked again until it is answered: a quota is waited out for a while, silence is given up on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from batchmod.engine.clock import Clock
from batchmod.engine.retry import ASK_AGAIN, pause_after
from batchmod.errors import CallError, Verdict

T = TypeVar("T")
ATTEMPTS = 6  # of a read without any answer; `retry.attempts` counts writes only
PATIENCE = 70.0  # seconds of being throttled, before there is anything to lose: longer than any published quota period


async def ask(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int = ATTEMPTS,
    max_delay: float,
    clock: Clock,
    patience: float = PATIENCE,
) -> T:
    """The answer. Raises the CallError of a refusal, or of the last of so many attempts without any answer; throttled
    ones count only when they have gone on for `patience` seconds.
    """
    since: float | None = None
    failures = unanswered = throttled = 0
    while True:
        try:
            return await call()
        except CallError as error:
            if error.verdict is Verdict.SLOW_DOWN:
                since = clock.now() if since is None else since
                throttled += 1
                given_up = throttled >= attempts and clock.now() - since >= patience
            else:
                unanswered += 1
                given_up = unanswered >= attempts
            if error.verdict not in ASK_AGAIN or given_up:
                raise
            failures += 1
            pause = pause_after(error, failures, cap=max_delay, jitter=clock.dice())
        await asyncio.sleep(pause)
