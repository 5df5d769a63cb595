"""What another process saw long ago is seen again before the first attempt."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from engine_support import BUSY, OK, REFUSED, STOPPED, Desk, World, row

from batchmod.engine.budget import Budget
from batchmod.engine.driver import drive
from batchmod.engine.halt import Halt
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.record import RowState
from batchmod.model.secret import Secret

OLD = 301.0  # seconds


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    one = Desk.at(tmp_path)
    yield one
    await one.store.close()


async def go(
    desk: Desk, world: World, *, age: float = OLD, kind: Kind = Kind.ATTRIBUTES, run_id: str = "a", **more: Any
) -> RowState:
    one = row(kind)
    await desk.begin(run_id, [one])
    at = desk.clock.wall() - age
    context = replace(desk.context(world, run_id, **more), observed_at=at)
    state = await drive(context, one, RowState(phase=Phase.PLANNED), parked=lambda: None)
    ((_, kept),) = desk.journal.states(run_id)
    assert kept == state
    return state


async def test_as_the_plan_saw_it_it_is_sent(desk: Desk) -> None:
    world = World(values=[{"name": "old"}, {"name": "new"}])
    assert (await go(desk, world)).phase is Phase.CHANGED
    assert len(world.sent) == 1


@pytest.mark.parametrize("age", [-inf, 299.0])
async def test_what_was_just_seen_is_not_looked_at_again(desk: Desk, age: float) -> None:
    """Somebody else's rename is then seen by nobody: the first read is the one after the change."""
    world = World(values=[{"name": "theirs"}, {"name": "new"}])
    await go(desk, world, age=age)
    assert len(world.sent) == 1


async def test_somebody_elses_change_is_not_overwritten(desk: Desk) -> None:
    """Skipped, nothing sent, no slot spent, and the reason says what became of what."""
    world, budget = World(values=[{"name": "theirs"}]), Budget(1)
    state = await go(desk, world, budget=budget)
    assert (state.phase, world.sent, budget.held, budget.spent) == (Phase.SKIPPED, [], 0, 0)
    assert state.detail == "since the plan was made, name 'old' became 'theirs'"


async def test_what_somebody_else_did_already_is_unchanged(desk: Desk) -> None:
    state = await go(desk, World(values=[{"name": "new"}]))
    assert state.phase is Phase.UNCHANGED


async def test_an_instance_that_vanished_is_failed_and_costs_a_slot(desk: Desk) -> None:
    """It would have been sent: so it counts, and the last slot stops the run."""
    halt = Halt()
    budget = Budget(1, exhausted=lambda: halt.stop(StoppedBy.MAX_FAILURES))
    world = World(statuses=[None])
    state = await go(desk, world, budget=budget, halt=halt)
    assert (state.phase, state.code, world.sent) == (Phase.FAILED, "InvalidInstanceId.NotFound", [])
    assert (budget.spent, halt.reason) == (1, StoppedBy.MAX_FAILURES)


async def test_a_look_that_is_refused_sends_nothing(desk: Desk) -> None:
    """Skipped with the service's reason; a stopped account's row is not started."""
    world = World(statuses=[REFUSED])
    assert (await go(desk, world)).phase is Phase.SKIPPED
    assert world.sent == []


async def test_a_look_that_stops_the_account(desk: Desk) -> None:
    world = World(statuses=[STOPPED])
    assert (await go(desk, world)).phase is Phase.NOT_STARTED
    assert world.sent == []


async def test_what_moved_while_somebody_elses_task_ran_is_not_overwritten(desk: Desk) -> None:
    """Every attempt was refused, so it is failed as the last one was; what was seen a moment ago is not read again."""
    world = World(replies=[BUSY, OK], values=[{"name": "old"}, {"name": "new"}])
    state = await go(desk, world)
    assert (state.phase, len(world.sent), len(world.values)) == (Phase.CHANGED, 2, 1)
    world = World(replies=[BUSY, OK], values=[{"name": "old"}, {"name": "theirs"}])
    desk.clock = replace(desk.clock, wall=_leaping(desk.clock.wall, world))
    state = await go(desk, world, run_id="b")
    assert (state.phase, state.code, len(world.sent)) == (Phase.FAILED, "TaskExists", 1)
    assert state.detail == "since the plan was made, name 'old' became 'theirs'"


def _leaping(wall: Callable[[], float], world: World) -> Callable[[], float]:
    """A clock that is ten minutes ahead once something was sent: somebody else's task took that long."""
    return lambda: wall() + 600.0 * bool(world.sent)


async def test_a_password_cannot_be_seen_but_its_instance_can(desk: Desk) -> None:
    """There: it goes out. Gone: failed before any way to it is tried, nothing escrowed, nothing sent."""
    world = World()
    assert (await go(desk, world, kind=Kind.PASSWORD)).phase is Phase.CHANGED
    assert len(world.sent) == 1
    world = World(statuses=[None], preflight_says="no route")
    state = await go(desk, world, kind=Kind.PASSWORD, run_id="b")
    assert (state.phase, state.code, world.sent) == (Phase.FAILED, "InvalidInstanceId.NotFound", [])
    assert await desk.store.pending(row(Kind.PASSWORD).key) is None


async def test_an_escrowed_password_of_an_instance_that_vanished_is_let_go(desk: Desk) -> None:
    """Taken up by a later process: it was never sent, and is not pending any more."""
    one = row(Kind.PASSWORD)
    await desk.begin("a", [one])
    made = await desk.store.escrow(one.key, login="r-1", secret=Secret("Passw0rd-a"), run_id="a")
    state = RowState(phase=Phase.ESCROWED, generation=made.generation)
    context = replace(desk.context(World(statuses=[None]), "a"), observed_at=desk.clock.wall() - OLD)
    assert (await drive(context, one, state, parked=lambda: None)).phase is Phase.FAILED
    assert [stage for stage, _ in await desk.stages(one)] == ["candidate"]


async def test_what_moved_while_the_row_waited_for_its_place_is_not_overwritten(desk: Desk) -> None:
    """Seen as the plan had it, then an hour in line for `changing`: seen again before anything is sent."""
    late = 0.0
    real = desk.clock
    desk.clock = replace(real, wall=lambda: real.wall() + late, now=lambda: real.now() + late)
    world, changing, one = World(values=[{"name": "old"}, {"name": "theirs"}]), Budget(1, held=1), row()
    await desk.begin("a", [one])
    context = replace(desk.context(world, "a"), observed_at=real.wall() - OLD, changing=changing)
    going = asyncio.ensure_future(drive(context, one, RowState(phase=Phase.PLANNED), parked=lambda: None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert (len(world.values), world.sent) == (1, [])  # looked at, and in line
    late = 3600.0
    changing.give_back()
    state = await going
    assert (state.phase, world.sent, changing.held) == (Phase.SKIPPED, [], 0)
