"""What the journal in PostgreSQL tells. Each read is one statement on a connection of its own, so that it sees one moment,
and reads may overlap.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import islice
from math import inf

from psycopg import IsolationLevel

from batchmod.errors import JournalError, UsageError
from batchmod.journal import pgreads
from batchmod.journal.encoding import history_of, mark_of, phase_of, run_of, step_of
from batchmod.journal.pgreads import held
from batchmod.journal.store import may_land, open_of, outcomes, seconds_of
from batchmod.model.events import Kind, Outcome, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step, first_state, fold
from batchmod.model.runs import Mark, Run
from batchmod.model.secret import InstanceKey
from batchmod.pg.link import FAILURES, Row, connect, why
from batchmod.pg.migrating import check
from batchmod.pg.place import Place

__all__ = ["PostgresReader", "held"]

Found = Iterator[tuple[Run, PlannedRow, RowState]]


class PostgresReader:
    """The reading half of the contract of Journal; a database without our schema is an empty journal."""

    def __init__(self, place: Place, *, there: bool) -> None:
        self._place = place
        self._there = there  # our schema

    def runs(self) -> list[Run]:
        return self._runs(pgreads.RUNS)

    def run(self, run_id: str) -> Run | None:
        return next(iter(self._runs(pgreads.RUN, held(run_id))), None)

    def latest(self, name: str | None = None) -> Run | None:
        found = self._runs(*((pgreads.LATEST,) if name is None else (pgreads.LATEST_NAMED, held(name))))
        return next(iter(found), None)

    def states(self, run_id: str) -> Iterator[tuple[PlannedRow, RowState]]:
        for _, row, state in self._states(pgreads.STATES, held(run_id)):
            yield row, state

    def states_of(self, run_id: str, seqs: Sequence[int]) -> list[tuple[PlannedRow, RowState]]:
        """These rows of a run, by `seq`, each with the fold of its steps."""
        found = self._states(pgreads.STATES_OF, held(run_id), list(seqs))
        return [(row, state) for _, row, state in found]

    def steps(self, run_id: str) -> Iterator[Step]:
        for (body,) in self._select(pgreads.STEPS, held(run_id)):
            yield step_of(body)

    def marks(self, run_id: str) -> list[Mark]:
        return [mark_of(body) for (body,) in self._select(pgreads.MARKS, held(run_id))]

    def counts(self, run_id: str) -> Counter[Outcome]:
        return outcomes(self._phases(run_id))

    def open_rows(self, run_id: str) -> int:
        return open_of(self._phases(run_id))

    def unfinished(self, name: str | None = None) -> list[Run]:
        mine = self.runs() if name is None else self._runs(pgreads.RUNS_NAMED, held(name))
        left = [run for run in mine if not run.closed]
        is_open = {run_id for (run_id,) in self._select(pgreads.OPEN, [held(run.id) for run in left])}
        return [run for run in left if held(run.id) in is_open]

    def doubtful(self, since: float = inf) -> Found:
        return self._doubtful(since, pgreads.DOUBTFUL_ROWS)

    def doubtful_of(self, keys: Collection[InstanceKey], since: float = inf) -> Found:
        """What `doubtful` gives of these instances."""
        columns = ([held(key.account_id) for key in keys], [held(key.region) for key in keys])
        found = self._doubtful(since, pgreads.DOUBTFUL_OF, *columns, [held(key.instance_id) for key in keys])
        wanted = frozenset(keys)
        return (each for each in found if each[1].key in wanted)

    def recent_seconds(self, limit: int) -> Mapping[Kind, Sequence[float]]:
        opened = lru_cache(maxsize=None)(self._opened)
        found: dict[Kind, list[float]] = {}
        for kind in Kind:
            with closing(
                self._states(pgreads.CHANGED, kind)
            ) as changes:  # read from the end, and no further than needed
                every = (seconds_of(opened(run_id), state) for run_id, _, state in changes)
                last = list(islice((seconds for seconds in every if seconds is not None), limit))
            if last:
                found[kind] = last[::-1]
        return found

    def _doubtful(self, since: float, query: str, *values: object) -> Found:
        opened = lru_cache(maxsize=None)(self._opened)
        with closing(self._states(query, *values)) as found:
            for run_id, row, state in found:
                if may_land(state, since):
                    yield opened(run_id), row, state

    def _opened(self, run_id: str) -> Run:
        """A run that has rows, so that it is there."""
        (run,) = self._runs(pgreads.RUN, run_id)
        return run

    def _rows(self, run_id: str) -> int | None:
        """How many the plan of the run has; None without such a run."""
        return next((rows for (rows,) in self._select(pgreads.ROWS, held(run_id))), None)

    def _phases(self, run_id: str) -> Counter[Phase]:
        return Counter({phase_of(phase): rows for phase, rows in self._select(pgreads.PHASES, held(run_id))})

    def _runs(self, query: str, *values: object) -> list[Run]:
        """Each with its marks folded in."""
        found = []
        for body, marks in self._select(query, *values):
            run = run_of(body)
            for mark in marks:
                run = run.after(mark_of(mark))
            found.append(run)
        return found

    def _states(self, query: str, *values: object) -> Generator[tuple[str, PlannedRow, RowState], None, None]:
        """The run of each row, the row, and the fold of its steps."""
        with closing(self._select(query, *values)) as found:
            for run_id, body, bodies in found:
                row, steps = history_of(body, bodies)
                yield run_id, row, fold(first_state(row), steps)

    def _select(self, query: str, *values: object) -> Generator[Row, None, None]:
        """As one moment saw them. Raises JournalError."""
        try:
            self._there = self._there or check(self._place)
            if not self._there:
                return
            with connect(self._place) as connection:
                connection.read_only = True
                connection.isolation_level = IsolationLevel.REPEATABLE_READ
                with connection.transaction(), connection.cursor(name="read") as cursor:
                    cursor.itersize = pgreads.HELD
                    yield from cursor.execute(query.encode(), values)
        except (*FAILURES, UsageError) as error:
            raise JournalError(f"{self._place}: the journal cannot be read: {why(error)}") from error
