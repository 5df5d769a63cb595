"""Of a group one instance is in change at a time; the others wait and hold nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_support import BUSY, OK, Desk, World, row

from batchmod.engine.budget import Budget
from batchmod.engine.driver import drive
from batchmod.engine.groups import Groups
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.runner import run_all
from batchmod.engine.watcher import Sight
from batchmod.model.events import Kind, Phase, Proof
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    one = Desk.at(tmp_path)
    yield one
    await one.store.close()


def in_group(number: int, group: str | None) -> PlannedRow:
    return replace(row(instance=f"r-{number}", seq=number), group=group)


async def test_a_closed_turn_is_not_waited_for() -> None:
    """Neither one that was known nor one that comes later."""
    groups = Groups([in_group(0, "pay")])
    known, free = groups.of(in_group(1, "pay")), groups.of(in_group(2, None))
    assert known is not None
    assert (known.free, free) == (False, None)
    groups.close()
    for turn in (known, groups.of(in_group(3, "shop"))):
        assert turn is not None
        with pytest.raises(HaltedError):
            await turn.reserve()


class Busy(World):
    """Counts who is in change: from the send to the first look that finds the instance Normal."""

    def begin(self) -> None:
        self.groups: dict[str, str] = {}
        self.in_change: set[str] = set()
        self.most, self.clashes = 0, 0

    async def send(self, one: PlannedRow, *arguments: object, **more: object) -> str:  # type: ignore[override]  # passed through
        answer = await super().send(one, *arguments, **more)  # type: ignore[arg-type]  # passed through
        self.clashes += any(self.groups[other] == self.groups[one.instance_id] for other in self.in_change)
        self.in_change.add(one.instance_id)
        self.most = max(self.most, len(self.in_change))
        return answer

    async def read_back(self, one: PlannedRow, sight: Sight) -> dict[str, str]:  # noqa: ARG002  all are alike
        await asyncio.sleep(0)
        self.in_change.discard(one.instance_id)
        return {"name": "new"}


async def test_two_of_a_group_are_never_in_change_at_once(desk: Desk) -> None:
    """All end, others overlap with them, and those that wait leave the lane to others."""
    world = Busy(replies=[OK])
    world.begin()
    rows = [in_group(number, f"team{number % 3}") for number in range(12)]
    world.groups = {one.instance_id: one.group or "" for one in rows}
    await desk.begin("a", rows)
    context = replace(desk.context(world, "a"), groups=Groups())
    async with asyncio.timeout(20):
        await run_all(context, [(one, RowState(phase=Phase.PLANNED)) for one in rows], ahead=4, watchers=[])
    assert {state.phase for _, state in desk.journal.states("a")} == {Phase.CHANGED}
    assert (world.clashes, world.most) == (0, 3)


async def test_a_busy_instance_gives_its_turn_away(desk: Desk) -> None:
    """A task of somebody else's is waited out; nothing of ours is in change meanwhile."""
    world = World(replies=[BUSY, OK], statuses=["Changing", "Normal"])
    rows = [in_group(0, "pay"), in_group(1, "pay")]
    await desk.begin("a", rows)
    context = replace(desk.context(world, "a"), groups=Groups())
    async with asyncio.timeout(20):
        await run_all(context, [(one, RowState(phase=Phase.PLANNED)) for one in rows], ahead=4, watchers=[])
    states = [state for _, state in desk.journal.states("a")]
    assert [state.phase for state in states] == [Phase.CHANGED] * 2
    assert (states[1].finished_at or 0) < (states[0].finished_at or 0)


@pytest.mark.parametrize(("statuses", "looks"), [(["Changing", "Changing", "Normal"], 3), ([None], 1), (["Normal"], 2)])
async def test_a_place_is_held_until_the_change_is_over_whatever_the_proof(
    desk: Desk, statuses: list[str | None], looks: int
) -> None:
    """An answer is all that `accepted` asks for; the instance is in change all the same, as long as that can be seen."""
    world, seen = World(statuses=list(statuses)), []
    world.before_look = lambda: seen.append(1)
    one = row(Kind.PASSWORD)
    await desk.begin("a", [one])
    context = replace(desk.context(world, "a", level=Proof.ACCEPTED), changing=Budget(1))
    state = await drive(context, one, RowState(phase=Phase.PLANNED), parked=lambda: None)
    assert (state.phase, state.proof, len(world.sent)) == (Phase.CHANGED, Proof.ACCEPTED, 1)
    assert len(seen) >= looks
    state = await desk.go(
        World(before_look=lambda: pytest.fail("looked for nothing")), one, run_id="b", level=Proof.ACCEPTED
    )
    assert state.phase is Phase.CHANGED


async def test_a_stop_ends_the_waits_and_rows_in_doubt_hold_their_turn(desk: Desk) -> None:
    """A row that a dead process left in doubt is the one of its group that may be in change."""
    world, halt = World(), Halt()
    waits, doubtful = in_group(0, "pay"), in_group(1, "pay")
    await desk.begin("a", [waits, doubtful])
    groups = Groups([doubtful])
    context = replace(desk.context(world, "a", halt=halt, budget=Budget(None)), groups=groups)
    work = asyncio.create_task(run_all(context, [(waits, RowState(phase=Phase.PLANNED))], ahead=4, watchers=[]))
    for _ in range(20):
        await asyncio.sleep(0)
    groups.close()
    async with asyncio.timeout(5):
        await work
    assert world.sent == []
    turn = groups.of(doubtful)
    assert turn is not None
    assert turn.held == 1


async def test_a_run_that_leaves_knows_what_was_accepted(desk: Desk) -> None:
    """The place was held for the change's sake only: when nothing is waited for any more, the answer is the proof."""
    halt, one = Halt(), row(Kind.PASSWORD)
    world = World(statuses=["Changing"], before_look=halt.leave)
    await desk.begin("a", [one])
    context = replace(desk.context(world, "a", level=Proof.ACCEPTED, halt=halt), changing=Budget(1))
    state = await drive(context, one, RowState(phase=Phase.PLANNED), parked=lambda: None)
    assert (state.phase, state.proof) == (Phase.CHANGED, Proof.ACCEPTED)
