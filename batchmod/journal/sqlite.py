"""The journal in one SQLite file that is only added to. Writes share transactions; reads never wait for them."""

# ruff: noqa: S608  SQL is put together of this module's constants only

import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Final

from batchmod.errors import JournalError
from batchmod.journal import schema
from batchmod.journal.encoding import PACED, encode, history_of, mark_of, phase_of, run_of, step_of
from batchmod.journal.group import GroupWriter
from batchmod.journal.store import (
    DOUBTFUL,
    LOOKED_AT,
    may_land,
    open_of,
    outcomes,
    paced_since,
    refuse_gaps,
    refuse_unknown,
    seconds_of,
)
from batchmod.journal.writer import Inserts, SqliteSink
from batchmod.model.events import Kind, Outcome, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step, first_state, fold
from batchmod.model.runs import Mark, Run

FILE: Final = "journal.db"

Writer = GroupWriter[Sequence[Inserts]]

_RUN: Final = "INSERT INTO run (id, name, rows, body)"
_ROW: Final = "INSERT INTO row (run, seq, verdict, body)"
_STEP: Final = "INSERT INTO step (run, seq, phase, body)"
_MARK: Final = "INSERT INTO mark (run, body)"

_PHASES: Final = "SELECT phase, count(*) FROM last WHERE run = ? GROUP BY phase"
_ALL_PHASES: Final = "SELECT run, phase, count(*) FROM last GROUP BY run, phase"
# No step is NULL; a step that has lost its text is empty, and so an error.
_TEXT: Final = "ifnull(step.body, iif(step.n IS NULL, NULL, ''))"
_STATES: Final = f"""SELECT row.seq, row.body, {_TEXT} FROM row
 LEFT JOIN step ON step.run = row.run AND step.seq = row.seq
 WHERE row.run = ? ORDER BY row.seq, step.n"""
_STATES_IN: Final = f"""SELECT last.seq, last.body, {_TEXT} FROM last
 LEFT JOIN step ON step.run = last.run AND step.seq = last.seq
 WHERE last.run = ? AND last.phase IN (SELECT value FROM json_each(?)) ORDER BY last.seq, step.n"""

_STEPS: Final = "SELECT body FROM step WHERE run = ? ORDER BY n"
_MARKS: Final = "SELECT body FROM mark WHERE run = ? ORDER BY n"
_PACED: Final = f"SELECT body FROM mark WHERE body LIKE '%{PACED}%' ORDER BY n DESC"
_STATES_OF: Final = f"""SELECT row.seq, row.body, {_TEXT} FROM row
 LEFT JOIN step ON step.run = row.run AND step.seq = row.seq
 WHERE row.run = ? AND row.seq = ? ORDER BY step.n"""
_CHANGED: Final = """SELECT step.run, step.seq, json_extract(row.body, '$.kind') FROM step
 JOIN row ON row.run = step.run AND row.seq = step.seq
 WHERE step.phase = ? ORDER BY step.n DESC"""  # read from the end, and no further than needed


class SqliteJournal:
    """Keeps the contract of Journal in `<directory>/journal.db`. Made by `open` or `read`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._keeper: sqlite3.Connection | None = None
        self._known: dict[str, int] = {}  # rows of each run that may be written to

    @classmethod
    def open(cls, directory: Path) -> "SqliteJournal":
        """The journal of that directory, made when it was missing. Raises UsageError when it cannot be used.

        One process may hold it open so: the state directory's lock sees to that.
        """
        journal = cls(directory / FILE)
        connection, journal._keeper, journal._known = schema.open_for_writing(journal._path)
        journal._writer = Writer(SqliteSink(connection), name=str(journal._path))
        return journal

    @classmethod
    def read(cls, directory: Path) -> "SqliteJournal":
        """The same, only to be read, also while another process writes it. Creates nothing: without a file it is
        empty. Raises UsageError for a file that is not a journal of this version.
        """
        schema.check(directory / FILE)
        return cls(directory / FILE)

    @property
    def commits(self) -> int:
        """Transactions made durable since it was opened."""
        return 0 if self._writer is None else self._writer.commits

    async def open_run(self, run: Run, rows: Sequence[PlannedRow]) -> None:
        writer = self._writing()
        refuse_gaps(run, rows)
        if run.id in self._known:
            raise JournalError(f"the journal already has a run {run.id}")
        planned = ((run.id, row.seq, row.verdict, encode(row)) for row in rows)
        await writer.write([(_RUN, [(run.id, run.name, len(rows), encode(run))]), (_ROW, planned)])
        self._known[run.id] = len(rows)

    async def step(self, run_id: str, step: Step) -> None:
        await self._writing().write([self._step(run_id, step)])

    def note(self, run_id: str, step: Step) -> None:
        self._writing().note([self._step(run_id, step)])

    async def flush(self) -> None:
        await self._writing().write(None)

    async def mark(self, run_id: str, mark: Mark) -> None:
        writer = self._writing()
        refuse_unknown(self._known, run_id)
        await writer.write([(_MARK, [(run_id, encode(mark))])])

    def runs(self) -> list[Run]:
        return self._runs("SELECT body FROM run ORDER BY n")

    def run(self, run_id: str) -> Run | None:
        return next(iter(self._runs("SELECT body FROM run WHERE id = ?", run_id)), None)

    def latest(self, name: str | None = None) -> Run | None:
        return next(
            iter(self._runs("SELECT body FROM run WHERE name = coalesce(?, name) ORDER BY n DESC LIMIT 1", name)), None
        )

    def states(self, run_id: str) -> Iterator[tuple[PlannedRow, RowState]]:
        with schema.reader(self._path) as db:
            yield from _fold_rows(db.execute(_STATES, (run_id,)))

    def steps(self, run_id: str) -> Iterator[Step]:
        with schema.reader(self._path) as db, closing(db.execute(_STEPS, (run_id,))) as found:
            for (body,) in found:
                yield step_of(body)

    def marks(self, run_id: str) -> list[Mark]:
        with schema.reader(self._path) as db:
            return [mark_of(body) for (body,) in db.execute(_MARKS, (run_id,))]

    def counts(self, run_id: str) -> Counter[Outcome]:
        return outcomes(self._phases(run_id))

    def open_rows(self, run_id: str) -> int:
        return open_of(self._phases(run_id))

    def tallies(self) -> list[tuple[Run, Counter[Outcome], int]]:
        with schema.reader(self._path) as db:
            db.execute("BEGIN")  # runs and rows of the same moment
            phases: dict[str, Counter[Phase]] = {}
            for run_id, phase, rows in db.execute(_ALL_PHASES):
                phases.setdefault(run_id, Counter())[phase_of(phase)] = rows
            runs = [_marked(db, run_of(body)) for (body,) in db.execute("SELECT body FROM run ORDER BY n")]
        counted = ((run, phases.get(run.id, Counter())) for run in runs)
        return [(run, outcomes(counts), open_of(counts)) for run, counts in counted]

    def left(self, name: str | None = None) -> list[tuple[Run, bool]]:
        mine = self._runs("SELECT body FROM run WHERE name = coalesce(?, name) ORDER BY n", name)
        return [(run, not run.closed and self.open_rows(run.id) > 0) for run in mine if run.is_left]

    def unfinished(self, name: str | None = None) -> list[Run]:
        return [run for run, is_open in self.left(name) if is_open]

    def paced(self, since: float) -> list[Mark]:
        with schema.reader(self._path) as db, closing(db.execute(_PACED)) as found:
            return paced_since((mark_of(body) for (body,) in found), since)

    def doubtful(self, since: float = inf) -> Iterator[tuple[Run, PlannedRow, RowState]]:
        for run in self.runs():
            over = run.finished_at is not None and run.finished_at <= since  # nothing was armed after it
            wanted = json.dumps(sorted(DOUBTFUL if over else LOOKED_AT))
            with schema.reader(self._path) as db:
                for row, state in _fold_rows(db.execute(_STATES_IN, (run.id, wanted))):
                    if may_land(state, since):
                        yield run, row, state

    def recent_seconds(self, limit: int) -> Mapping[Kind, Sequence[float]]:
        found: dict[str, list[float]] = {}
        wanted = set(Kind)
        runs: dict[str, Run] = {}
        with schema.reader(self._path) as db, closing(db.cursor()) as changed:
            db.execute("BEGIN")  # runs, rows and steps of the same moment
            for run_id, seq, kind in changed.execute(_CHANGED, (Phase.CHANGED,)):
                if kind not in wanted:
                    continue
                run = runs[run_id] = runs.get(run_id) or _run(db, run_id)
                if (seconds := seconds_of(run, _state(db, run_id, seq))) is not None:
                    found.setdefault(kind, []).append(seconds)
                    if len(found[kind]) == limit:
                        wanted.remove(kind)
                        if not wanted:
                            break
        return {Kind(kind): every[::-1] for kind, every in found.items()}

    def close(self) -> None:
        if self._writer is None or self._keeper is None:
            return
        self._writer.close()
        schema.close(self._path, self._keeper)

    def _step(self, run_id: str, step: Step) -> Inserts:
        refuse_unknown(self._known, run_id, step.seq)
        return _STEP, [(run_id, step.seq, step.phase, encode(step))]

    def _writing(self) -> Writer:
        if self._writer is None:
            raise JournalError(f"{self._path}: the journal was opened to be read")
        return self._writer

    def _runs(self, query: str, *values: str | None) -> list[Run]:
        with schema.reader(self._path) as db:
            db.execute("BEGIN")  # runs and their marks of the same moment
            found = [run_of(body) for (body,) in db.execute(query, values)]
            return [_marked(db, run) for run in found]

    def _phases(self, run_id: str) -> Counter[Phase]:
        with schema.reader(self._path) as db:
            return Counter({phase_of(phase): rows for phase, rows in db.execute(_PHASES, (run_id,))})


def _marked(db: sqlite3.Connection, run: Run) -> Run:
    for (body,) in db.execute(_MARKS, (run.id,)):
        run = run.after(mark_of(body))
    return run


def _run(db: sqlite3.Connection, run_id: str) -> Run:
    ((body,),) = db.execute("SELECT body FROM run WHERE id = ?", (run_id,))
    return _marked(db, run_of(body))


def _state(db: sqlite3.Connection, run_id: str, seq: int) -> RowState:
    ((_, state),) = _fold_rows(db.execute(_STATES_OF, (run_id, seq)))
    return state


def _fold_rows(found: sqlite3.Cursor) -> Iterator[tuple[PlannedRow, RowState]]:
    """Rows with their folded states, from lines of (seq, row, step or nothing) in order."""
    with closing(found):
        for _, lines in itertools.groupby(found, key=itemgetter(0)):
            (_, body, step), *more = lines
            row, steps = history_of(body, () if step is None else (step, *map(itemgetter(2), more)))
            yield row, fold(first_state(row), steps)
