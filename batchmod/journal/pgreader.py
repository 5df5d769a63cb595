"""What the journal in PostgreSQL tells. Each read has a connection of its own and sees one moment; reads may overlap."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from math import inf

from psycopg import IsolationLevel

from batchmod.errors import JournalError, UsageError
from batchmod.journal import pgreads
from batchmod.journal.encoding import mark_of, phase_of, step_of
from batchmod.journal.pgreads import Moment, held
from batchmod.journal.store import may_land, open_of, outcomes, paced_since, seconds_of
from batchmod.model.events import Kind, Outcome, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step
from batchmod.model.runs import Mark, Run
from batchmod.model.secret import InstanceKey
from batchmod.pg.link import FAILURES, connect, why
from batchmod.pg.migrating import check
from batchmod.pg.place import Place

Found = Iterator[tuple[Run, PlannedRow, RowState]]


class PostgresReader:
    """The reading half of the contract of Journal; a database without our schema is an empty journal."""

    def __init__(self, place: Place, *, there: bool) -> None:
        self._place = place
        self._there = there  # our schema

    def runs(self) -> list[Run]:
        with self._moment() as moment:
            return moment.runs(pgreads.RUNS)

    def run(self, run_id: str) -> Run | None:
        with self._moment() as moment:
            return next(iter(moment.runs(pgreads.RUN, held(run_id))), None)

    def latest(self, name: str | None = None) -> Run | None:
        query, values = (pgreads.LATEST, ()) if name is None else (pgreads.LATEST_NAMED, (held(name),))
        with self._moment() as moment:
            return next(iter(moment.runs(query, *values)), None)

    def states(self, run_id: str) -> Iterator[tuple[PlannedRow, RowState]]:
        with self._moment() as moment:
            for _, row, state in moment.states(pgreads.STATES, held(run_id)):
                yield row, state

    def states_of(self, run_id: str, seqs: Sequence[int]) -> list[tuple[PlannedRow, RowState]]:
        """These rows of a run, by `seq`, each with the fold of its steps."""
        with self._moment() as moment:
            found = moment.states(pgreads.STATES_OF, held(run_id), list(seqs))
            return [(row, state) for _, row, state in found]

    def steps(self, run_id: str) -> Iterator[Step]:
        with self._moment() as moment:
            for (body,) in moment.select(pgreads.STEPS, held(run_id)):
                yield step_of(body)

    def marks(self, run_id: str) -> list[Mark]:
        with self._moment() as moment:
            return [mark_of(body) for (body,) in moment.select(pgreads.MARKS, held(run_id))]

    def counts(self, run_id: str) -> Counter[Outcome]:
        return outcomes(self._phases(run_id))

    def open_rows(self, run_id: str) -> int:
        return open_of(self._phases(run_id))

    def tallies(self) -> list[tuple[Run, Counter[Outcome], int]]:
        phases: dict[str, Counter[Phase]] = {}
        with self._moment() as moment:
            for run_id, phase, rows in moment.select(pgreads.ALL_PHASES):
                phases.setdefault(run_id, Counter())[phase_of(phase)] = rows
            runs = moment.runs(pgreads.RUNS)
        counted = ((run, phases.get(held(run.id), Counter())) for run in runs)
        return [(run, outcomes(counts), open_of(counts)) for run, counts in counted]

    def left(self, name: str | None = None) -> list[tuple[Run, bool]]:
        query, values = (pgreads.LEFT, ()) if name is None else (pgreads.LEFT_NAMED, (held(name),))
        with self._moment() as moment:
            left = moment.runs(query, *values)
            wanted = [held(run.id) for run in left if not run.closed]
            is_open = {run_id for (run_id,) in moment.select(pgreads.OPEN, wanted)} if wanted else set()
        return [(run, held(run.id) in is_open) for run in left]

    def unfinished(self, name: str | None = None) -> list[Run]:
        return [run for run, is_open in self.left(name) if is_open]

    def paced(self, since: float) -> list[Mark]:
        with self._moment() as moment, closing(moment.select(pgreads.PACED)) as found:
            return paced_since((mark_of(body) for (body,) in found), since)

    def doubtful(self, since: float = inf) -> Found:
        return self._doubtful(since, pgreads.DOUBTFUL_ROWS)

    def doubtful_of(self, keys: Collection[InstanceKey], since: float = inf) -> Found:
        """What `doubtful` gives of these instances."""
        columns = zip(*((held(key.account_id), held(key.region), held(key.instance_id)) for key in keys), strict=True)
        return self._doubtful(since, pgreads.DOUBTFUL_OF, *map(list, columns)) if keys else iter(())

    def recent_seconds(self, limit: int) -> Mapping[Kind, Sequence[float]]:
        found: dict[Kind, list[float]] = {}
        with self._moment() as moment:
            for kind in Kind:
                with closing(
                    moment.states(pgreads.CHANGED, kind)
                ) as changes:  # from the end, and no further than needed
                    every = (seconds_of(moment.opened(run_id), state) for run_id, _, state in changes)
                    last = list(islice((seconds for seconds in every if seconds is not None), limit))
                if last:
                    found[kind] = last[::-1]
        return found

    def _doubtful(self, since: float, query: str, *values: object) -> Found:
        with self._moment() as moment:
            late = (
                [] if since == inf else [held(run.id) for run in moment.runs(pgreads.RUNS_DOUBTED) if _late(run, since)]
            )
            for run_id, row, state in moment.states(query, late, *values):
                if may_land(state, since):
                    yield moment.opened(run_id), row, state

    def _rows(self, run_id: str) -> int | None:
        """How many the plan of the run has; None without such a run."""
        with self._moment() as moment:
            return next((rows for (rows,) in moment.select(pgreads.ROWS, held(run_id))), None)

    def _phases(self, run_id: str) -> Counter[Phase]:
        with self._moment() as moment:
            return Counter({phase_of(phase): rows for phase, rows in moment.select(pgreads.PHASES, held(run_id))})

    @contextmanager
    def _moment(self) -> Iterator[Moment]:
        """Raises JournalError for what goes wrong inside."""
        try:
            self._there = self._there or check(self._place)
            if not self._there:
                yield Moment(None)
                return
            with connect(self._place, idle=0) as connection:  # a report is read at its reader's pace, and locks nothing
                connection.read_only = True
                connection.isolation_level = IsolationLevel.REPEATABLE_READ
                with connection.transaction():
                    yield Moment(connection)
        except (*FAILURES, UsageError) as error:
            raise JournalError(f"{self._place}: the journal cannot be read: {why(error)}") from error


def _late(run: Run, since: float) -> bool:
    """Something may have been armed in it after `since`."""
    return run.finished_at is None or run.finished_at > since
