"""Random uses of a budget: slots are neither lost nor doubled, whoever waits, gives up or is given one too late."""

import asyncio
from contextlib import suppress
from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from soaking import examples

from batchmod.engine.budget import Budget
from batchmod.engine.halt import HaltedError

LIMIT = st.none() | st.integers(min_value=1, max_value=4)


class Uses(RuleBasedStateMachine):
    """A loop of its own that is turned only when a rule says so: grants and cancellations meet in every order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.waiting: list[asyncio.Task[None]] = []
        self.cancelled: list[asyncio.Task[None]] = []  # which may have got their slot before
        self.holders = 0
        self.told = 0
        self.ended = 0
        self.closed = False
        self.spent_once = False

    @initialize(limit=LIMIT, spent=st.integers(0, 1), held=st.integers(0, 1))
    def begin(self, limit: int | None, spent: int, held: int) -> None:
        if limit is not None and spent + held > limit:
            held = 0
        self.ended, self.holders = spent, held
        self.allowed: float = inf if limit is None else limit
        self.budget = Budget(limit, spent=spent, held=held, exhausted=self.tell)

    def tell(self) -> None:
        self.told += 1

    def turn(self) -> None:
        """Everything that can go on does."""
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.waiting + self.cancelled if task.done()]:
            (self.waiting if task in self.waiting else self.cancelled).remove(task)
            with suppress(asyncio.CancelledError, HaltedError):
                task.result()
                self.holders += 1

    @rule()
    def ask(self) -> None:
        self.waiting.append(self.loop.create_task(self.budget.reserve()))

    @rule()
    def go_on(self) -> None:
        self.turn()

    @rule()
    def take(self) -> None:
        self.holders += self.budget.take()

    @precondition(lambda self: self.waiting)
    @rule(place=st.integers(min_value=0))
    def give_up_waiting(self, place: int) -> None:
        task = self.waiting.pop(place % len(self.waiting))
        task.cancel()
        self.cancelled.append(task)

    @precondition(lambda self: self.holders)
    @rule()
    def give_back(self) -> None:
        self.holders -= 1
        self.budget.give_back()

    @precondition(lambda self: self.holders)
    @rule()
    def spend(self) -> None:
        self.holders -= 1
        self.ended += 1
        self.budget.spend()

    @rule(limit=LIMIT)
    def set_limit(self, limit: int | None) -> None:
        """Who holds a slot beyond it keeps it, so the use may only shrink to the limit."""
        self.budget.set_limit(limit)
        self.allowed = max(inf if limit is None else limit, self.budget.spent + self.budget.held)

    @rule()
    def close(self) -> None:
        self.closed = True
        self.budget.close()

    @invariant()
    def the_limit_holds(self) -> None:
        """At every moment, with what is granted but not yet noticed."""
        used = self.budget.spent + self.budget.held
        assert used <= self.allowed
        self.allowed = max(inf if self.budget.limit is None else self.budget.limit, min(self.allowed, used))
        assert self.budget.spent == self.ended
        assert self.budget.held >= self.holders

    @invariant()
    def a_spent_budget_is_told(self) -> None:
        """And stays told, whatever the limit becomes."""
        self.spent_once |= self.budget.limit is not None and self.ended >= self.budget.limit
        assert (self.told > 0) == self.spent_once

    def teardown(self) -> None:
        self.turn()
        assert self.budget.held == self.holders, "a slot was lost or doubled"
        if self.waiting:
            assert not self.budget.free, "somebody waits although a slot is free"
            assert not self.closed, "somebody waits for a budget that is closed"
        self.budget.close()
        self.turn()
        assert not self.waiting
        self.loop.close()


TestUses = Uses.TestCase
TestUses.settings = examples(150, stateful_step_count=30)
