"""A read is asked again until it is answered: a quota is waited out, silence is given up on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from batchmod.engine.clock import Clock
from batchmod.engine.retry import ASK_AGAIN, pause_after
from batchmod.errors import CallError, Verdict

T = TypeVar("T")


async def ask(call: Callable[[], Awaitable[T]], *, attempts: int, max_delay: float, clock: Clock) -> T:
    """The answer. Raises the CallError of a refusal, or of the last of so many attempts without any answer."""
    failures = unanswered = 0
    while True:
        try:
            return await call()
        except CallError as error:
            unanswered += error.verdict is not Verdict.SLOW_DOWN
            if error.verdict not in ASK_AGAIN or unanswered >= attempts:
                raise
            failures += 1
            pause = pause_after(error, failures, cap=max_delay, jitter=clock.dice())
        await asyncio.sleep(pause)
