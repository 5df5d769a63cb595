"""What a hand-over in time, and at the pace of the lane, depends on."""

import asyncio

import pytest
from croniter import croniter  # type: ignore[import-untyped]  # it has no stubs

from batchmod.cluster.jobs import SWEEP_CRON
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.model.values import Rate


@pytest.mark.parametrize("moment", [0.0, 59.5, 60.0, 61.0, 3600.0])
def test_stalled_jobs_are_looked_for_every_second(moment: float) -> None:
    """In any minute."""
    times = croniter(SWEEP_CRON, start_time=moment)
    assert times.get_next(ret_type=float) - moment <= 1.0
    assert times.get_next(ret_type=float) - times.get_prev(ret_type=float) == 1.0


async def test_the_pace_goes_on_where_the_last_holder_left_it() -> None:
    """A lane that somebody else had until now gets no call before the next is due."""
    clock = Clock()
    rate, slots = Rate(calls=5, period=1.0), asyncio.Semaphore(9)
    pace = Pacing(lambda _: rate, slots=slots, halt=Halt(), writes=frozenset(), clock=clock, since=clock.now())
    began = clock.now()
    assert await pace.enter("Modify") - began >= 0.2
    pace = Pacing(
        lambda _: rate,
        slots=slots,
        halt=Halt(),
        writes=frozenset({"Modify"}),
        clock=clock,
        written=clock.now() - 0.6,
    )
    began = clock.now()
    assert await pace.enter("Describe") - began < 0.3 < await pace.enter("Modify") - began <= 0.7
    alone = Pacing(lambda _: rate, slots=slots, halt=Halt(), writes=frozenset(), clock=clock)
    assert await alone.enter("Modify") - clock.now() <= 0.0
