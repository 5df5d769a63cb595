"""Before anything was sent, a read is asked again as long as that may help, and not for ever."""

import pytest

from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.errors import CallError, Verdict

THROTTLED = CallError(Verdict.SLOW_DOWN, code="Throttling.User", message="")
LOST = CallError(Verdict.LOST, code="ReadTimeout", message="")
REFUSED = CallError(Verdict.REFUSED, code="InvalidParameter", message="")


class Service:
    """Fails so, in order, then answers; a clock that every question moves on by `step` seconds."""

    def __init__(self, *errors: CallError, step: float = 0.0) -> None:
        self.errors = list(errors)
        self.asked = 0
        self.now = 0.0
        self.step = step

    async def call(self) -> str:
        self.asked += 1
        self.now += self.step
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def ask(self, *, attempts: int = 3) -> str:
        clock = Clock(now=lambda: self.now, dice=lambda: 0.0)
        return await ask(self.call, attempts=attempts, max_delay=0.001, clock=clock)


async def test_silence_is_given_up_on() -> None:
    """After so many attempts."""
    assert await Service(LOST, LOST).ask() == "answer"
    service = Service(LOST, LOST, LOST)
    with pytest.raises(CallError, match="ReadTimeout"):
        await service.ask()
    assert service.asked == 3


async def test_a_quota_is_waited_out() -> None:
    """Many times within a minute, or over a long time with few attempts of which none was enough."""
    assert await Service(*[THROTTLED] * 50, step=1.0).ask() == "answer"
    assert await Service(THROTTLED, THROTTLED, step=500.0).ask() == "answer"


async def test_a_quota_that_never_frees_is_given_up_on() -> None:
    """A plan does not hang."""
    service = Service(*[THROTTLED] * 500, step=1.0)
    with pytest.raises(CallError, match="Throttling"):
        await service.ask()
    assert service.asked == 71


async def test_a_refusal_is_an_answer() -> None:
    """Asked once."""
    service = Service(REFUSED, LOST)
    with pytest.raises(CallError, match="InvalidParameter"):
        await service.ask()
    assert service.asked == 1
