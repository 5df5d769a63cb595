"""A process that may have been replaced by another sends nothing: not what waits for its turn, not what is armed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_support import LOST, OK, Desk, World, phases, row

from batchmod.engine.clock import Clock
from batchmod.engine.driver import drive
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.pacing import Pacing
from batchmod.errors import JournalError
from batchmod.journal.memory import MemoryJournal
from batchmod.model.events import Phase, StoppedBy
from batchmod.model.record import Step


def armed(desk: Desk, phase: Phase = Phase.ARMED) -> Callable[[], bool]:
    """Whether this process is still the only one: not any more once an attempt is written down."""
    return lambda: phases(desk) != [phase]


async def test_who_is_not_sure_any_more_stops_and_waits_for_nothing() -> None:
    """Also when it is sure again a moment later; who is sure goes on."""
    Halt().check_held()
    held, told = True, list[StoppedBy]()
    halt = Halt(held=lambda: held)
    halt.on_stop(told.append)
    halt.check_held()
    assert told == []
    held = False
    with pytest.raises(HaltedError):
        halt.check_held()
    assert (halt.reason, halt.left, told) == (StoppedBy.STORE, True, [StoppedBy.STORE])
    held = True
    with pytest.raises(HaltedError):
        halt.check_now()


@pytest.mark.parametrize("api", ["Modify", "Describe"])
async def test_a_call_that_is_not_made_gives_its_grant_and_its_connection_back(api: str) -> None:
    """Where the quota is not known, one that seemed to be on its way would keep the next one waiting."""
    slots, halt = asyncio.Semaphore(1), Halt(held=lambda: False)
    pace = Pacing(lambda _: None, slots=slots, halt=halt, writes=frozenset({"Modify"}), clock=Clock())
    with pytest.raises(HaltedError):
        await pace.enter(api)
    assert not slots.locked()
    assert pace.pacer(api)._arrivals.in_flight == 0  # the pacer's own: nothing else is granted after this stop


async def test_what_was_armed_meanwhile_is_not_sent(tmp_path: Path) -> None:
    """The journal knows the row as held back, and whoever takes it up sends it as if nothing had been armed."""
    desk, world = Desk.at(tmp_path), World()
    halt = Halt(held=armed(desk))
    state = await desk.go(world, halt=halt)
    assert (state.phase, state.attempts, world.sent) == (Phase.WAITING, 1, [])
    assert phases(desk) == [Phase.WAITING]
    assert (halt.reason, halt.left) == (StoppedBy.STORE, True)
    assert (await desk.go(world, new=False)).phase is Phase.CHANGED
    assert len(world.sent) == 1


async def test_what_was_armed_again_while_in_doubt_stays_in_doubt(tmp_path: Path) -> None:
    """Its first attempt may still have been applied."""
    desk = Desk.at(tmp_path)
    world = World(replies=[LOST, OK], values=[{"name": "old"}, {"name": "new"}])
    state = await desk.go(world, halt=Halt(held=armed(desk, Phase.REARMED)))
    assert state.attempts == 2
    assert (state.phase, len(world.sent)) == (Phase.IN_DOUBT, 1)
    assert phases(desk) == [Phase.IN_DOUBT]


async def test_a_journal_that_takes_nothing_more_leaves_the_row_armed(tmp_path: Path) -> None:
    """Its successor finds it in doubt, which is on the safe side; nothing was sent all the same."""
    desk, world, troubles = Desk.at(tmp_path), World(), list[Exception]()

    class Stale(MemoryJournal):
        """Another process has taken over once the attempt is written down."""

        def note(self, run_id: str, step: Step) -> None:
            if phases(desk) == [Phase.ARMED]:
                raise JournalError(f"another process has taken over {run_id}, {step.phase}")
            super().note(run_id, step)

    desk.journal = Stale()
    await desk.begin("a", [row()])
    context = desk.context(world, "a", halt=Halt(held=armed(desk)), troubles=troubles)
    state = await drive(context, row(), next(desk.journal.states("a"))[1], parked=lambda: None)
    assert (state.phase, phases(desk), world.sent) == (Phase.ARMED, [Phase.ARMED], [])
    assert [str(trouble) for trouble in troubles] == ["another process has taken over a, waiting"]
