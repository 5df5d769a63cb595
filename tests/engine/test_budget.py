"""The failure budget cannot be exceeded."""

import asyncio
import random

import pytest

from batchmod.engine.budget import Budget
from batchmod.engine.halt import HaltedError


async def test_slots_are_given_first_come_first_served() -> None:
    """Who asked first is served first, and a cancelled wait takes nothing."""
    budget = Budget(1)
    await budget.reserve()
    order: list[int] = []

    async def want(number: int) -> None:
        await budget.reserve()
        order.append(number)
        budget.give_back()

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(want(number)) for number in range(4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
        budget.give_back()
    assert order == [0, 2, 3]
    assert budget.held == 0


async def test_a_spent_budget_is_told_once_it_is_spent_and_frees_who_waits() -> None:
    """The last failure stops the run; closing ends every wait."""
    told: list[str] = []
    budget = Budget(1, exhausted=lambda: told.append("spent"))
    await budget.reserve()
    waiting = asyncio.ensure_future(budget.reserve())
    await asyncio.sleep(0)
    budget.spend()
    assert told == ["spent"]
    budget.close()
    with pytest.raises(HaltedError):
        await waiting
    with pytest.raises(HaltedError):
        await budget.reserve()
    assert not budget.take()


async def test_a_grant_that_is_cancelled_in_the_same_moment_is_not_lost() -> None:
    """The slot goes to the next one."""
    budget = Budget(1)
    await budget.reserve()
    first, second = asyncio.ensure_future(budget.reserve()), asyncio.ensure_future(budget.reserve())
    await asyncio.sleep(0)
    budget.give_back()
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert budget.held == 1


@pytest.mark.parametrize("seed", range(40))
async def test_failures_never_exceed_the_limit(seed: int) -> None:
    """At any concurrency and any share of failures, spent + held <= limit at every moment."""
    dice = random.Random(seed)
    limit = dice.randrange(1, 8)
    failures = 0
    budget = Budget(limit, exhausted=lambda: budget.close())  # noqa: PLW0108  it is being made

    async def walk(fails: bool) -> None:
        nonlocal failures
        try:
            await budget.reserve()
        except HaltedError:
            return
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
            assert budget.spent + budget.held <= limit
        if fails:
            failures += 1
            budget.spend()
        else:
            budget.give_back()

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(walk(dice.random() < 0.4))
    assert failures == budget.spent <= limit
    assert budget.held == 0


def test_no_limit_means_any_number() -> None:
    """And never tells that it is spent."""
    budget = Budget(None, exhausted=lambda: pytest.fail("spent"))
    assert all(budget.take() for _ in range(1000))
