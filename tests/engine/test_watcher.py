"""Looks are batched, fresh, and unharmed by a read that fails."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from batchmod.engine.halt import Halt
from batchmod.engine.watcher import BATCH, Look, Watcher
from batchmod.errors import CallError, Verdict


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
