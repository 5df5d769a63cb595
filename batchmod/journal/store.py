"""What a journal promises, whatever it is kept in, and the rules that every kind of it shares. No I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from math import inf
from typing import Final, Protocol

from batchmod.errors import JournalError
from batchmod.model.events import TERMINAL, Kind, Outcome, Phase, outcome_of
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step, first_state
from batchmod.model.runs import Mark, Run

__all__ = [
    "DOUBTFUL",
    "LOOKED_AT",
    "Journal",
    "first_state",
    "may_land",
    "open_of",
    "outcomes",
    "paced_since",
    "refuse_gaps",
    "refuse_unknown",
    "seconds_of",
]

DOUBTFUL: Final = frozenset(
    {
        Phase.UNRESOLVED,
        Phase.ARMED,
        Phase.REARMED,
        Phase.IN_DOUBT,
        Phase.WATCHING,
        Phase.SETTLING,
        Phase.PROVING,
        Phase.PROVED,
    }
)
"""Last phases of a row that may have been changed without anybody having said so to the end."""
LOOKED_AT: Final = DOUBTFUL | {Phase.CHANGED}  # what may still land is of a row in one of these


def may_land(state: RowState, since: float) -> bool:
    """The row is doubtful, or was proved while an attempt of it that was armed after `since` had got no answer."""
    doubted = state.doubted
    return state.phase in DOUBTFUL or (state.phase is Phase.CHANGED and doubted is not None and doubted > since)


class Journal(Protocol):
    """What was planned and what was done, appended and never altered.

    What is awaited is durable when it returns; JournalError means that it is not, or that nobody can tell. From the
    first write that failed on, every later one fails too. Cancelling a waiter does not take its record back. Reads
    see everything acknowledged so far, and raise JournalError when the journal cannot be read.
    """

    async def open_run(self, run: Run, rows: Sequence[PlannedRow]) -> None:
        """The run and all its rows are in the journal, or nothing of it; `seq` counts the rows from 0."""

    async def step(self, run_id: str, step: Step) -> None: ...

    def note(self, run_id: str, step: Step) -> None:
        """The step has its place in the order of all writes, and nobody waits for it: it is durable when a later
        `step` or `mark` returns. When its write fails, each of those raises JournalError.
        """

    async def flush(self) -> None:
        """Every note is durable."""

    async def mark(self, run_id: str, mark: Mark) -> None: ...

    def runs(self) -> list[Run]:
        """Every run with its marks folded in, in the order in which they were opened."""

    def run(self, run_id: str) -> Run | None: ...

    def latest(self, name: str | None = None) -> Run | None:
        """The run opened last, of this name if one is given."""

    def states(self, run_id: str) -> Iterator[tuple[PlannedRow, RowState]]:
        """The rows of a run as one moment saw them, by `seq`, each with the fold of its steps; none of an unknown run.

        One row is held at a time.
        """

    def steps(self, run_id: str) -> Iterator[Step]:
        """Every step of a run in the order in which they were written, as one moment saw them; none of an unknown run."""

    def marks(self, run_id: str) -> list[Mark]:
        """Every mark of a run in the order in which they were written; none of an unknown run."""

    def counts(self, run_id: str) -> Counter[Outcome]:
        """How many rows a report would show under each outcome; the sum is the plan."""

    def open_rows(self, run_id: str) -> int:
        """How many rows are in no terminal phase."""

    def tallies(self) -> list[tuple[Run, Counter[Outcome], int]]:
        """What `runs`, `counts` and `open_rows` say, of every run."""

    def left(self, name: str | None = None) -> list[tuple[Run, bool]]:
        """The runs that are not closed or not finished, oldest first; and whether a row is open of each that is not closed.

        What it costs grows little with the runs that are both.
        """

    def unfinished(self, name: str | None = None) -> list[Run]:
        """The runs that are not closed and have an open row, oldest first."""

    def paced(self, since: float) -> list[Mark]:
        """What processes of any run made of their quotas, by the order in which they said so; only what was said after
        `since`, and after the last that was not.
        """

    def doubtful(self, since: float = inf) -> Iterator[tuple[Run, PlannedRow, RowState]]:
        """The rows of all runs of which something `may_land`, by run and `seq`."""

    def recent_seconds(self, limit: int) -> Mapping[Kind, Sequence[float]]:
        """How long the last `limit` changes of each kind took from the accepted attempt on, in any run, oldest first.

        What did not take as long as it seems is left out: rows that a run was resumed over, those with a lost reply, and
        those that were never sent. A kind without any is not there.
        """

    def close(self) -> None:
        """What was asked to be written is; later writes are refused. Closing twice is once."""


def seconds_of(run: Run, state: RowState) -> float | None:
    """How long a change took; None when nobody worked on it for a part of that time, or it says nothing."""
    begun, ended = state.last_armed or 0.0, state.finished_at or 0.0
    return None if any(begun <= resumed <= ended for resumed in run.resumed_at) else state.took


def outcomes(phases: Mapping[Phase, int]) -> Counter[Outcome]:
    """The same rows, by what a report calls them."""
    counted: Counter[Outcome] = Counter()
    for phase, rows in phases.items():
        counted[outcome_of(phase)] += rows
    return counted


def open_of(phases: Mapping[Phase, int]) -> int:
    return sum(rows for phase, rows in phases.items() if phase not in TERMINAL)


def paced_since(marks: Iterable[Mark], since: float) -> list[Mark]:
    """Of marks that come newest first, those until one was said at `since` or before; oldest first."""
    return list(takewhile(lambda mark: mark.at > since, marks))[::-1]


def refuse_gaps(run: Run, rows: Sequence[PlannedRow]) -> None:
    """Raises JournalError unless `seq` counts the rows from 0: a step finds its row by it."""
    for place, row in enumerate(rows):
        if row.seq != place:
            raise JournalError(f"row {row.seq} of run {run.id} stands at place {place}")


def refuse_unknown(known: Mapping[str, int], run_id: str, seq: int | None = None) -> None:
    """Raises JournalError for a run that was not opened, or a row that its plan has not. `known`: rows of each run."""
    if run_id not in known:
        raise JournalError(f"the journal has no run {run_id}")
    if seq is not None and not 0 <= seq < known[run_id]:
        raise JournalError(f"run {run_id} has no row {seq}: it has {known[run_id]} rows")
