"""Nothing starts outside the window, or when it could not end inside it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import pytest
from engine_support import LOST, Desk, World, phases, row

from batchmod.engine.budget import Budget
from batchmod.engine.context import Context
from batchmod.engine.driver import drive
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.opening import FIRST, REMEMBERED, Opening, until_closed
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState


@dataclass
class Hand:
    """Of a clock that is set by a test; the window is open from 1,000 to 5,000."""

    now: float

    def wall(self) -> float:
        return self.now

    def opening(self, took: dict[Kind, list[float]] | None = None) -> Opening:
        return Opening(lambda at: (1000.0, 5000.0) if 1000 <= at < 5000 else None, wall=self.wall, took=took or {})


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    one = Desk.at(tmp_path)
    yield one
    await one.store.close()


def may(opening: Opening, kind: Kind, *, in_doubt: bool = False) -> bool:
    try:
        opening.check(kind, in_doubt=in_doubt)
    except HaltedError:
        return False
    return True


def test_the_first_change_is_given_five_minutes_and_tde_an_hour() -> None:
    """Before there is one to go by."""
    hand = Hand(5000 - 301)
    opening = hand.opening()
    assert (may(opening, Kind.PASSWORD), opening.refused) == (True, False)
    assert (may(opening, Kind.TDE), opening.refused) == (False, True)
    hand.now = 5000 - 299
    assert not may(opening, Kind.ATTRIBUTES)
    hand.now = 5000 - 3601
    assert may(opening, Kind.TDE)


def test_the_longest_of_the_last_hundred_is_the_estimate() -> None:
    """Of that kind; what is older than a hundred changes is forgotten."""
    opening = Hand(5000 - 50).opening({Kind.PASSWORD: [10.0, 20.0]})
    assert may(opening, Kind.PASSWORD)
    assert not may(opening, Kind.ATTRIBUTES)
    opening.ended(Kind.PASSWORD, 60.0)
    assert not may(opening, Kind.PASSWORD)
    for _ in range(REMEMBERED - 1):
        opening.ended(Kind.PASSWORD, 1.0)
    assert not may(opening, Kind.PASSWORD)
    opening.ended(Kind.PASSWORD, 1.0)
    assert may(opening, Kind.PASSWORD)


def test_a_row_in_doubt_may_be_sent_again_until_the_window_closes() -> None:
    """Its change has started already; outside nothing is sent at all."""
    hand = Hand(5000 - 1)
    assert may(hand.opening(), Kind.PASSWORD, in_doubt=True)
    for now in (999.0, 5000.0):
        assert not may(replace(hand, now=now).opening(), Kind.PASSWORD, in_doubt=True)


def test_without_a_window_it_is_always_open() -> None:
    assert may(Opening(), Kind.TDE)
    assert Opening().left == inf


async def test_the_run_stops_when_the_window_closes_and_at_once_outside_of_any() -> None:
    """Stopped by window; a run that was stopped before keeps its reason, and without a window nothing happens."""
    halt = Halt()
    await until_closed(Hand(6000).opening(), halt)
    assert halt.reason is StoppedBy.WINDOW
    halt, hand = Halt(), Hand(5000 - 0.02)
    closing = asyncio.create_task(until_closed(hand.opening(), halt))
    halt.on_stop(lambda _: None)
    while not closing.done():
        await asyncio.sleep(0.005)
        hand.now += 0.01
    assert halt.reason is StoppedBy.WINDOW
    halt = Halt()
    await until_closed(Opening(), halt)
    assert halt.reason is None
    halt.stop(StoppedBy.SIGNAL)
    await until_closed(Hand(4000).opening(), halt)
    assert halt.reason is StoppedBy.SIGNAL


async def go(context: Context, one: PlannedRow) -> RowState:
    state = RowState(phase=Phase.PLANNED)
    return await drive(context, one, state, parked=lambda: None)


@pytest.mark.parametrize("kind", [Kind.ATTRIBUTES, Kind.PASSWORD, Kind.TDE])
async def test_a_row_that_may_not_start_stays_as_planned_and_holds_nothing(desk: Desk, kind: Kind) -> None:
    """No escrow, no send; its slots are free for those that may."""
    world, one, budget, changing = World(), row(kind), Budget(1), Budget(None)
    await desk.begin("a", [one])
    opening = Hand(5000 - 1).opening()
    context = replace(desk.context(world, "a", budget=budget), changing=changing, opening=opening)
    state = await go(context, one)
    assert (state.phase, world.sent, phases(desk)) == (Phase.PLANNED, [], [Phase.PLANNED])
    assert (budget.held, changing.held, opening.refused) == (0, 0, True)
    assert await desk.store.pending(one.key) is None


async def test_a_window_that_closes_while_a_row_waits_for_its_grant(desk: Desk) -> None:
    """The journal does not know it as armed, nothing is sent, and the slots are given back."""
    world, one, hand = World(), row(), Hand(2000)
    budget, changing = Budget(1), Budget(None)
    await desk.begin("a", [one])

    def close() -> None:
        hand.now = 5000

    world.before_send = close
    context = replace(desk.context(world, "a", budget=budget), changing=changing, opening=hand.opening())
    state = await go(context, one)
    assert (state.phase, state.attempts, world.sent) == (Phase.PLANNED, 0, [])
    assert (budget.held, changing.held) == (0, 0)


async def test_a_row_in_doubt_keeps_its_slots_when_the_window_closes(desk: Desk) -> None:
    """It may have been applied: only the next window can tell, and until then it counts."""
    world, one, hand = World(replies=[LOST], values=[{"name": "old"}]), row(), Hand(2000)
    budget, changing = Budget(2), Budget(None)
    await desk.begin("a", [one])

    def close() -> None:
        hand.now = 5000

    world.before_look = close
    context = replace(desk.context(world, "a", budget=budget), changing=changing, opening=hand.opening())
    state = await go(context, one)
    assert (state.phase, len(world.sent), budget.held, changing.held) == (Phase.IN_DOUBT, 1, 1, 1)


async def test_what_ended_is_remembered_but_not_what_another_process_began(desk: Desk) -> None:
    """A change that a night lay between says nothing about how long one takes."""
    one = row()
    await desk.begin("a", [one])
    opening = Hand(2000).opening()
    context = replace(desk.context(World(), "a"), opening=opening)
    assert (await go(context, one)).phase is Phase.CHANGED
    assert opening.estimate(Kind.ATTRIBUTES) < FIRST[Kind.ATTRIBUTES]
    await desk.begin("b", [one])
    opening = Hand(2000).opening()
    context = replace(desk.context(World(), "b"), opening=opening)
    taken_up = RowState(phase=Phase.SETTLING, attempts=1, last_armed=1.0, started_at=1.0)
    assert (await drive(context, one, taken_up, parked=lambda: None)).phase is Phase.CHANGED
    assert opening.estimate(Kind.ATTRIBUTES) == FIRST[Kind.ATTRIBUTES]
