"""Looks are batched, fresh, and unharmed by a read that fails."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from breaking_time import run_skipping

from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.watcher import BATCH, GAPS, LINGER, WAIT, Look, Watcher
from batchmod.errors import CallError, Verdict
from batchmod.model.events import StoppedBy


@dataclass(frozen=True)
class Seen:
    status: str


def watcher(look: Look[Seen], halt: Halt | None = None) -> Watcher[Seen]:
    return Watcher(look, halt or Halt())


@contextmanager
def running(one: Watcher[Seen]) -> Iterator[None]:
    task = asyncio.ensure_future(one.run())
    try:
        yield
    finally:
        task.cancel()


async def test_a_hundred_looks_are_four_calls() -> None:
    """At most 30 ids each, every asker gets its own instance, None for one that is gone."""
    asked: list[Sequence[str]] = []

    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        asked.append(ids)
        return {name: None if name == "r-7" else Seen(name) for name in ids}

    one = watcher(look)
    with running(one):
        found = await asyncio.gather(*(one.look(f"r-{number}") for number in range(100)))
    assert [seen.status if seen else None for seen in found] == [None if n == 7 else f"r-{n}" for n in range(100)]
    assert len(asked) == 4
    assert max(len(ids) for ids in asked) == BATCH


@pytest.mark.parametrize("verdict", [Verdict.SLOW_DOWN, Verdict.LOST, Verdict.ACCOUNT_STOP])
async def test_a_read_that_fails_is_told_to_all_who_asked(verdict: Verdict) -> None:
    """And to nobody else: the next look is a new one."""
    answers: list[CallError | None] = [CallError(verdict, code="No", message=""), None]

    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return {name: Seen("Normal") for name in ids}

    one = watcher(look)
    with running(one):
        results = await asyncio.gather(one.look("r-1"), one.look("r-2"), return_exceptions=True)
        assert [type(result) for result in results] == [CallError] * 2
        assert await one.look("r-1") == Seen("Normal")


async def test_a_look_is_never_older_than_its_question() -> None:
    """A question that comes while a call is under way is answered by the next one."""
    under_way, go_on = asyncio.Event(), asyncio.Event()
    status = "Changing"

    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        read = status
        under_way.set()
        await go_on.wait()
        return {name: Seen(read) for name in ids}

    one = watcher(look)
    with running(one):
        first = asyncio.ensure_future(one.look("r-1"))
        await under_way.wait()
        status = "Normal"
        second = asyncio.ensure_future(one.look("r-1"))
        await asyncio.sleep(0)
        go_on.set()
        assert await first == Seen("Changing")
        assert await second == Seen("Normal")


async def test_a_bug_in_reading_is_loud() -> None:
    """It ends the watcher instead of being taken for an answer."""

    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        raise ZeroDivisionError(ids)

    one = watcher(look)
    task = asyncio.ensure_future(one.run())
    asker = asyncio.ensure_future(one.look("r-1"))
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert caught.group_contains(ZeroDivisionError)
    asker.cancel()


def counted(asked: list[int]) -> Look[Seen]:
    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        asked.append(len(ids))
        await asyncio.sleep(0.05)
        return {name: Seen("Normal") for name in ids}

    return look


def looks(rate: float, changes: int, after: float, waits: list[float]) -> list[int]:
    """How many ids each call had while a lane sends at a steady rate; `waits`: of each look, beyond `after`."""
    asked: list[int] = []

    async def one_change(one: Watcher[Seen], number: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await one.look(f"r-{number}", after=after)
        waits.append(loop.time() - began - after)

    async def lane() -> None:
        one = watcher(counted(asked))
        with running(one):
            async with asyncio.TaskGroup() as group:
                with one.coming():  # the next one always waits for its turn
                    for number in range(changes):
                        group.create_task(one_change(one, number))
                        await asyncio.sleep(1 / rate)

    run_skipping(lane())
    return asked


@pytest.mark.parametrize("rate", [3.23, 38.8, 970.0])
def test_a_steady_lane_asks_for_thirty_at_a_time(rate: float) -> None:
    """Whatever its quota; no look waits for more than ten seconds for others, and the last ones for a moment only."""
    waits: list[float] = []
    asked = looks(rate, 600, 0.5, waits)
    assert sum(asked) == 600
    assert len(asked) <= 600 / BATCH * 1.5
    assert max(waits) <= WAIT + 0.5
    assert waits[-1] <= max(LINGER, GAPS / rate) + 0.5


def test_a_slow_lane_waits_for_others_for_ten_seconds_at_most() -> None:
    """Thirty would take half a minute."""
    waits: list[float] = []
    asked = looks(1.0, 60, 0.5, waits)
    assert max(waits) <= WAIT + 0.5
    assert len(asked) <= 12


def test_a_few_rows_are_looked_at_soon() -> None:
    """Nobody waits for more that do not come."""
    waits: list[float] = []
    assert looks(20.0, 3, 0.5, waits) in ([3], [1, 2], [2, 1])
    assert max(waits) <= 2 * LINGER + 0.1


@pytest.mark.parametrize(("slots", "seconds"), [(1, 1.0), (5, 2.4), (20, 7.5)])
def test_what_only_these_looks_can_let_go_is_not_waited_for(slots: int, seconds: float) -> None:
    """So many changes at a time, three sent a second: however long it goes on, no round of them takes longer."""
    rounds, rate = 40, 3.23

    async def one_change(one: Watcher[Seen], number: int, free: asyncio.Semaphore, turn: asyncio.Lock) -> None:
        async with free:
            with one.coming():
                async with turn:
                    await asyncio.sleep(1 / rate)
            await one.look(f"r-{number}", after=0.5)

    async def lane() -> float:
        one, free, turn = watcher(counted([])), asyncio.Semaphore(slots), asyncio.Lock()
        began = asyncio.get_running_loop().time()
        with running(one):
            await asyncio.gather(*(one_change(one, number, free, turn) for number in range(slots * rounds)))
        return asyncio.get_running_loop().time() - began

    assert run_skipping(lane()) / rounds <= seconds


def test_what_is_due_first_is_asked_for_first() -> None:
    """However late it was asked; what is not due is left."""
    order: list[str] = []

    async def look(ids: Sequence[str]) -> Mapping[str, Seen | None]:
        order.extend(ids)
        return {name: Seen("Normal") for name in ids}

    async def lane() -> None:
        one = watcher(look)
        with running(one):
            far = asyncio.ensure_future(one.look("r-far", after=100.0))
            near = asyncio.ensure_future(one.look("r-near", after=10.0))
            await one.look("r-now")
            assert order == ["r-now"]
            await near
            assert not far.done()
            await far
        assert order == ["r-now", "r-near", "r-far"]

    run_skipping(lane())


async def test_a_wait_that_has_become_pointless_ends() -> None:
    """Before a send: when nothing is sent any more; any other: when nothing is waited for."""
    halt = Halt()
    one = watcher(counted([]), halt)
    with running(one):
        to_send = asyncio.ensure_future(one.look("r-1", after=3600.0, sending=True))
        to_know = asyncio.ensure_future(one.look("r-2", after=3600.0))
        await asyncio.sleep(0)
        halt.stop(StoppedBy.SIGNAL)
        with pytest.raises(HaltedError):
            await to_send
        with pytest.raises(HaltedError):
            await one.look("r-1", sending=True)
        assert not to_know.done()
        halt.leave()
        with pytest.raises(HaltedError):
            await to_know
        with pytest.raises(HaltedError):
            await one.look("r-2")
