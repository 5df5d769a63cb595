"""Random uses of a budget by two processes that may die: places are neither lost nor doubled, whoever asks, gives up, is
given one too late, or is replaced.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from journal_records import a_row, rows
from lease_support import DEADLOCKS, Process, a_campaign, a_process
from postgres import Database
from soaking import examples

from batchmod.cluster import slots as module
from batchmod.cluster.places import FAILURES, Caps
from batchmod.cluster.slots import SharedSlots
from batchmod.cluster.taking_up import take_up
from batchmod.engine.halt import HaltedError
from batchmod.errors import JournalError
from batchmod.model.events import Phase
from batchmod.model.record import RowState

ROWS = 60
RUNS = count(1)
WHO = st.integers(0, 1)
Asking = tuple[int, "asyncio.Task[bool]"]


class Worker:
    """One lane's process after the other, with what its rows know of their places."""

    def __init__(self, database: Database, run_id: str, number: int) -> None:
        self.database, self.run_id, self.number = database, run_id, number
        self.unused = iter(range(number, ROWS, 2))
        self.asking: list[Asking] = []
        self.given_up: list[Asking] = []
        self.holding: set[int] = set()
        self.spent: set[int] = set()
        self.process: Process | None = None
        self.dead: list[Process] = []
        self.told = 0

    async def begin(self, limit: int) -> None:
        """A new process takes the rows up, as the journal would tell of them."""
        if self.process is not None:
            self.dead.append(self.process)  # frozen, say: what it asks from now on is refused
        self.process = a_process(self.database, f"lane:{self.run_id}/{self.number}")
        known = [
            (a_row(seq), RowState(phase=_phase(seq, self.holding, self.spent), finished_at=1.0))
            for seq in range(self.number, ROWS, 2)
        ]
        taken = await take_up(self.process.view, self.run_id, known, wave=1, failures=Caps(run=limit))
        assert {row.seq for row in taken.held} == self.holding
        gone = [
            task for _, task in (*self.asking, *self.given_up)
        ]  # what the old one was told, its rows never wrote down
        self.asking, self.given_up = [], []
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        self.told += taken.exhausted
        self.budget = SharedSlots(
            self.process.view,
            self.run_id,
            FAILURES,
            wave=1,
            caps=Caps(run=limit),
            exhausted=self.tell,
        )

    def tell(self) -> None:
        self.told += 1

    def ask(self, *, wait: bool) -> None:
        if (seq := next(self.unused, None)) is not None:
            self.asking.append((seq, asyncio.ensure_future(self._reserve(seq) if wait else self.budget.claim(seq))))

    async def _reserve(self, seq: int) -> bool:
        await self.budget.reserve(seq)
        return True

    def settle(self) -> None:
        """Who was answered knows it."""
        for asking in (self.asking, self.given_up):
            for one in [one for one in asking if one[1].done()]:
                asking.remove(one)
                with suppress(asyncio.CancelledError, HaltedError, JournalError):
                    if one[1].result():
                        self.holding.add(one[0])

    def close(self) -> None:
        for process in (*self.dead, self.process):
            if process is not None:
                process.close()


def _phase(seq: int, holding: set[int], spent: set[int]) -> Phase:
    if seq in spent:
        return Phase.FAILED
    return Phase.ARMED if seq in holding else Phase.WAITING


class Uses(RuleBasedStateMachine):
    """A loop of its own, that is turned by the rules."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.loop = asyncio.new_event_loop()
        self.run_id = f"run{next(RUNS)}"
        self.workers = [Worker(database, self.run_id, number) for number in (0, 1)]
        self.closed = False

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.loop.run_until_complete(a_campaign(self.database, rows(ROWS), self.run_id))
        for worker in self.workers:
            self.loop.run_until_complete(worker.begin(limit))

    def used(self) -> list[tuple[int, bool]]:
        found = self.database.execute("SELECT seq, spent FROM slot WHERE run = %s AND pool = %s", self.run_id, FAILURES)
        return [(int(str(seq)), bool(spent)) for seq, spent in found]

    async def _written(self) -> None:
        for worker in self.workers:
            assert worker.process is not None
            await worker.process.view.flush()
        await asyncio.sleep(0)

    def turn(self) -> None:
        """What was asked before is answered, or waits."""
        for _ in range(3):
            self.loop.run_until_complete(self._written())
        for worker in self.workers:
            worker.settle()

    def act(self, what: Callable[[], object]) -> None:
        async def done() -> None:
            what()

        self.loop.run_until_complete(done())

    @rule(who=WHO, wait=st.booleans())
    def ask(self, who: int, wait: bool) -> None:
        self.act(lambda: self.workers[who].ask(wait=wait))

    @rule()
    def go_on(self) -> None:
        self.turn()

    @rule(who=WHO, place=st.integers(min_value=0))
    def give_up_waiting(self, who: int, place: int) -> None:
        worker = self.workers[who]
        if worker.asking:
            one = worker.asking.pop(place % len(worker.asking))
            one[1].cancel()
            worker.given_up.append(one)

    @rule(who=WHO)
    def give_back(self, who: int) -> None:
        if holding := self.workers[who].holding:
            self.act(lambda: self.workers[who].budget.give_back(holding.pop()))

    @rule(who=WHO)
    def spend(self, who: int) -> None:
        if holding := self.workers[who].holding:
            self.workers[who].spent.add(seq := holding.pop())
            self.act(lambda: self.workers[who].budget.spend(seq))

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """What was asked and not answered is nobody's; what was written may be or not, and the journal says what it was."""
        self.loop.run_until_complete(self.workers[who].begin(self.limit))
        if self.closed:
            self.workers[who].budget.close()

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.closed = True
        for worker in self.workers:
            self.act(worker.budget.close)

    @invariant()
    def the_limit_holds(self) -> None:
        """At every moment, with what is granted but not yet noticed; and who holds a place has it."""
        if not hasattr(self, "limit"):
            return
        used = self.used()
        assert len(used) <= self.limit
        for worker in self.workers:
            assert worker.holding <= {seq for seq, _ in used}

    def teardown(self) -> None:
        if not hasattr(self, "limit"):
            self.loop.close()
            return
        for _ in range(3):
            self.turn()
        held = set[int]().union(*(worker.holding for worker in self.workers))
        spent = set[int]().union(*(worker.spent for worker in self.workers))
        while len(held) + len(spent) < self.limit and not self.closed and self._waiting():
            self.turn()  # asks again until it has the place that is free
            held |= set[int]().union(*(worker.holding for worker in self.workers))
        if self.closed:
            assert not self._waiting(), "somebody waits for a budget that is closed"
        assert sorted(self.used()) == sorted([(seq, False) for seq in held] + [(seq, True) for seq in spent])
        stopping = self.database.execute("SELECT stopping FROM campaign WHERE run = %s", self.run_id)
        assert (stopping == [("max_failures",)]) == (len(spent) >= self.limit)
        assert any(worker.told for worker in self.workers) == (len(spent) >= self.limit)
        for worker in self.workers:
            self.act(worker.budget.close)
        self.turn()
        assert not self._waiting()
        for worker in self.workers:
            worker.close()
        self.loop.close()
        assert self.database.execute(DEADLOCKS) == [(0,)]

    def _waiting(self) -> bool:
        return any(worker.asking for worker in self.workers)


def test_uses(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST", 0.002)
    monkeypatch.setattr(module, "MOST", 0.002)
    run_state_machine_as_test(lambda: Uses(database), settings=examples(12, stateful_step_count=20))  # type: ignore[arg-type]  # whatever makes one
