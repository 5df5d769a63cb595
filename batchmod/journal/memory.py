"""A journal that ends with its process: for rehearsals and tests. No I/O."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from batchmod.errors import JournalError
from batchmod.journal.store import (
    may_land,
    open_of,
    outcomes,
    paced_since,
    refuse_gaps,
    refuse_unknown,
    seconds_of,
)
from batchmod.model.events import Kind, Outcome, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step, first_state
from batchmod.model.runs import Mark, MarkType, Run


class MemoryJournal:
    """Keeps the contract of Journal, but for outliving the process."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._rows: dict[str, tuple[PlannedRow, ...]] = {}
        self._states: dict[str, list[RowState]] = {}
        self._steps: dict[str, list[Step]] = {}
        self._marks: dict[str, list[Mark]] = {}
        self._changed: list[tuple[str, int]] = []  # run and seq of every changed row, in the order of their ends
        self._paced: list[Mark] = []
        self._closed = False

    async def open_run(self, run: Run, rows: Sequence[PlannedRow]) -> None:
        self._refuse_closed()
        refuse_gaps(run, rows)
        if run.id in self._runs:
            raise JournalError(f"the journal already has a run {run.id}")
        self._runs[run.id] = run
        self._rows[run.id] = tuple(rows)
        self._states[run.id] = [first_state(row) for row in rows]
        self._steps[run.id], self._marks[run.id] = [], []

    async def step(self, run_id: str, step: Step) -> None:
        self.note(run_id, step)

    def note(self, run_id: str, step: Step) -> None:
        self._refuse_closed()
        refuse_unknown(self._known(), run_id, step.seq)
        states = self._states[run_id]
        states[step.seq] = states[step.seq].after(step)
        self._steps[run_id].append(step)
        if step.phase is Phase.CHANGED:
            self._changed.append((run_id, step.seq))

    async def flush(self) -> None:
        self._refuse_closed()

    async def mark(self, run_id: str, mark: Mark) -> None:
        self._refuse_closed()
        refuse_unknown(self._known(), run_id)
        self._runs[run_id] = self._runs[run_id].after(mark)
        self._marks[run_id].append(mark)
        if mark.type is MarkType.PACED:
            self._paced.append(mark)

    def runs(self) -> list[Run]:
        return list(self._runs.values())

    def run(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def latest(self, name: str | None = None) -> Run | None:
        return next((run for run in reversed(self._runs.values()) if name in {None, run.name}), None)

    def states(self, run_id: str) -> Iterator[tuple[PlannedRow, RowState]]:
        return zip(self._rows.get(run_id, ()), tuple(self._states.get(run_id, ())), strict=True)

    def steps(self, run_id: str) -> Iterator[Step]:
        return iter(tuple(self._steps.get(run_id, ())))

    def marks(self, run_id: str) -> list[Mark]:
        return list(self._marks.get(run_id, ()))

    def counts(self, run_id: str) -> Counter[Outcome]:
        return outcomes(self._phases(run_id))

    def open_rows(self, run_id: str) -> int:
        return open_of(self._phases(run_id))

    def tallies(self) -> list[tuple[Run, Counter[Outcome], int]]:
        return [(run, self.counts(run.id), self.open_rows(run.id)) for run in self._runs.values()]

    def left(self, name: str | None = None) -> list[tuple[Run, bool]]:
        mine = (run for run in self._runs.values() if name in {None, run.name} and run.is_left)
        return [(run, not run.closed and self.open_rows(run.id) > 0) for run in mine]

    def unfinished(self, name: str | None = None) -> list[Run]:
        return [run for run, is_open in self.left(name) if is_open]

    def paced(self, since: float) -> list[Mark]:
        return paced_since(reversed(self._paced), since)

    def doubtful(self, since: float = inf) -> Iterator[tuple[Run, PlannedRow, RowState]]:
        for run in self.runs():
            for row, state in self.states(run.id):
                if may_land(state, since):
                    yield run, row, state

    def recent_seconds(self, limit: int) -> Mapping[Kind, Sequence[float]]:
        found: dict[Kind, list[float]] = {}
        for run_id, seq in self._changed:
            seconds = seconds_of(self._runs[run_id], self._states[run_id][seq])
            if seconds is not None:
                found.setdefault(self._rows[run_id][seq].kind, []).append(seconds)
        return {kind: every[-limit:] for kind, every in found.items()}

    def close(self) -> None:
        self._closed = True

    def _phases(self, run_id: str) -> Counter[Phase]:
        return Counter(state.phase for state in self._states.get(run_id, ()))

    def _known(self) -> dict[str, int]:
        return {run_id: len(rows) for run_id, rows in self._rows.items()}

    def _refuse_closed(self) -> None:
        if self._closed:
            raise JournalError("the journal is closed")
