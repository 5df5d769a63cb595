"""While a run is paused nothing new is sent, what is open settles on, and what is seen again decides afterwards."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from engine_support import BUSY, LIMITS, LOST, OK, Desk, World, phases, row

from batchmod.engine.halt import Halt, HaltedError, PausedError
from batchmod.engine.walk import Walk
from batchmod.model.events import Phase, StoppedBy
from batchmod.model.record import RowState


async def turns(count: int = 50) -> None:
    """Everything that can go on does."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_pause_lasts_until_it_is_ended_or_the_run_stops() -> None:
    """Pausing and going on twice are fine; a run that stops is not paused."""
    halt = Halt()
    halt.go_on()
    await halt.unpaused()
    for _ in range(2):
        halt.pause()
        with pytest.raises(PausedError):
            halt.check_now()
        halt.check()
    waiting = asyncio.ensure_future(halt.unpaused())
    await turns()
    halt.go_on()
    halt.pause()
    await turns()
    assert not waiting.done(), "was let go by a pause that had ended"
    halt.stop(StoppedBy.CONTROL)
    with pytest.raises(HaltedError):
        await waiting
    halt.pause()
    assert not halt.paused


async def test_nothing_goes_out_while_the_run_is_paused(tmp_path: Path) -> None:
    """The row waits before anything is reserved; then it is sent, once."""
    desk, world, halt = Desk.at(tmp_path), World(), Halt()
    halt.pause()
    going = asyncio.ensure_future(desk.go(world, halt=halt))
    await turns()
    assert world.sent == []
    halt.go_on()
    assert (await going).phase is Phase.CHANGED
    assert len(world.sent) == 1


async def test_a_pause_between_grant_and_arming_sends_the_row_back(tmp_path: Path) -> None:
    """Nothing is armed, nothing is sent, and the row is not left open."""
    desk, halt = Desk.at(tmp_path), Halt()
    world = World(before_send=lambda: halt.pause() if not world.sent else None)
    going = asyncio.ensure_future(desk.go(world, halt=halt))
    await turns()
    assert (world.sent, phases(desk)) == ([], [Phase.PLANNED])
    world.before_send = lambda: None
    halt.go_on()
    assert (await going).attempts == 1
    assert phases(desk) == [Phase.CHANGED]


async def test_a_paused_row_is_left_open_by_a_stop(tmp_path: Path) -> None:
    """At once, and with nothing sent."""
    desk, world, halt = Desk.at(tmp_path), World(), Halt()
    halt.pause()
    going = asyncio.ensure_future(desk.go(world, halt=halt))
    await turns()
    halt.stop(StoppedBy.SIGNAL)
    assert (await asyncio.wait_for(going, 5)).is_open
    assert world.sent == []


async def test_a_row_in_doubt_is_looked_at_again_after_a_pause(tmp_path: Path) -> None:
    """What was seen before may not be so any more: the value that has landed meanwhile is not sent again."""
    desk, halt = Desk.at(tmp_path), Halt()
    world = World(replies=[LOST], values=[{"name": "old"}])
    looks = 0

    def seen() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            halt.pause()

    world.before_look = seen
    going = asyncio.ensure_future(desk.go(world, halt=halt))
    async with asyncio.timeout(10):
        while not looks:  # noqa: ASYNC110  a script has no event
            await asyncio.sleep(0.01)
    await turns()
    world.values = [{"name": "new"}]
    halt.go_on()
    assert (await going).phase is Phase.CHANGED
    assert (looks, len(world.sent)) == (2, 1)


def test_no_deadline_counts_a_pause() -> None:
    """Both are later by it; what has not begun has not."""
    walk = Walk(row=row(), state=RowState(phase=Phase.WAITING), parked=lambda: None, busy_since=5.0)
    walk.put_off(2.5)
    assert (walk.busy_since, walk.open_since) == (7.5, None)


async def test_a_pause_puts_off_the_deadline_of_a_busy_instance(tmp_path: Path) -> None:
    """The pause is longer than the row may wait; it is sent after it."""
    desk, halt = Desk.at(tmp_path), Halt()
    world = World(replies=[BUSY, OK], statuses=["Changing", "Normal"])

    def pause() -> None:
        world.before_look = lambda: None
        halt.pause()
        asyncio.get_running_loop().call_later(1.5, halt.go_on)

    world.before_look = pause
    state = await desk.go(world, halt=halt, limits=replace(LIMITS, busy_timeout=1.2))
    assert (state.phase, len(world.sent)) == (Phase.CHANGED, 2)
    await desk.store.close()
