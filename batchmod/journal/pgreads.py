"""What PostgreSQL is asked when the journal is read, and one moment of it in which it is asked."""

# ruff: noqa: S608  SQL is put together of this module's constants only

from collections.abc import Generator
from contextlib import closing
from itertools import count
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from psycopg import Connection

from batchmod.journal.encoding import CLOSED, FINISHED, RESUMED, history_of, mark_of, run_of
from batchmod.journal.encoding import PACED as OF_PACE
from batchmod.journal.store import DOUBTFUL
from batchmod.model.events import TERMINAL, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, first_state, fold
from batchmod.model.runs import Run
from batchmod.pg.link import Row

HELD: Final = 100  # rows of an answer at a time


def _listed(phases: frozenset[Phase]) -> str:
    return ", ".join(f"'{phase}'" for phase in sorted(phases))


# A record that has lost its text is empty, and so an error.
_RUN: Final = """SELECT body, ARRAY(SELECT coalesce(body, '') FROM mark WHERE mark.run = run.id ORDER BY mark.n)
 FROM run"""
RUNS: Final = f"{_RUN} ORDER BY n"
RUNS_NAMED: Final = f"{_RUN} WHERE name = %s ORDER BY n"
RUN: Final = f"{_RUN} WHERE id = %s"
LATEST: Final = f"{_RUN} ORDER BY n DESC LIMIT 1"
LATEST_NAMED: Final = f"{_RUN} WHERE name = %s ORDER BY n DESC LIMIT 1"
# A run that is closed and finished; a mark is known by its text, which is cheaper than to read it.
_LEFT: Final = f"""NOT EXISTS (SELECT FROM mark WHERE mark.run = run.id AND strpos(mark.body, '{CLOSED}') > 0)
 OR coalesce((SELECT strpos(mark.body, '{FINISHED}') = 0 FROM mark WHERE mark.run = run.id
 AND (strpos(mark.body, '{FINISHED}') > 0 OR strpos(mark.body, '{RESUMED}') > 0) ORDER BY mark.n DESC LIMIT 1), true)"""
LEFT: Final = f"{_RUN} WHERE {_LEFT} ORDER BY n"
LEFT_NAMED: Final = f"{_RUN} WHERE name = %s AND ({_LEFT}) ORDER BY n"
ROWS: Final = "SELECT rows FROM run WHERE id = %s"
PHASES: Final = "SELECT phase, count(*) FROM last WHERE run = %s GROUP BY phase"
ALL_PHASES: Final = "SELECT run, phase, count(*) FROM last GROUP BY run, phase"
PACED: Final = f"SELECT body FROM mark WHERE strpos(body, '{OF_PACE}') > 0 ORDER BY n DESC"
OPEN: Final = f"""SELECT id FROM unnest(%s::text[]) AS id
 WHERE EXISTS (SELECT FROM last WHERE last.run = id AND phase NOT IN ({_listed(TERMINAL)}))"""
STEPS: Final = "SELECT body FROM step WHERE run = %s ORDER BY n"
MARKS: Final = "SELECT body FROM mark WHERE run = %s ORDER BY n"

_STEPS_OF: Final = """ARRAY(SELECT coalesce(step.body, '') FROM step
 WHERE step.run = {0}.run AND step.seq = {0}.seq ORDER BY step.n)"""
_BODY: Final = "(SELECT body FROM planned WHERE planned.run = {0}.run AND planned.seq = {0}.seq)"
_STATE: Final = f"SELECT planned.run, planned.body, {_STEPS_OF.format('planned')} FROM planned"
STATES: Final = f"{_STATE} WHERE run = %s ORDER BY seq"
STATES_OF: Final = f"{_STATE} WHERE run = %s AND seq = ANY(%s) ORDER BY seq"
# Rows are looked up one by one, by their keys: a join might read all of a table for the few that are wanted.
_DOUBT: Final = f"""SELECT run, seq, changed FROM doubt
 UNION SELECT run, seq, false FROM planned WHERE verdict IN ({_listed(DOUBTFUL)})
 AND NOT EXISTS (SELECT FROM step WHERE step.run = planned.run AND step.seq = planned.seq)"""
_DOUBTFUL: Final = f"""SELECT doubt.run, {_BODY.format("doubt")}, {_STEPS_OF.format("doubt")}
 FROM ({_DOUBT}) AS doubt JOIN run ON run.id = doubt.run WHERE (NOT doubt.changed OR doubt.run = ANY(%s))"""
_OF_THESE: Final = """(doubt.run, doubt.seq) IN (SELECT run, seq FROM planned WHERE (account_id, region, instance_id)
 IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])))"""
DOUBTFUL_ROWS: Final = f"{_DOUBTFUL} ORDER BY run.n, doubt.seq"
DOUBTFUL_OF: Final = f"{_DOUBTFUL} AND {_OF_THESE} ORDER BY run.n, doubt.seq"
RUNS_DOUBTED: Final = f"{_RUN} WHERE id IN (SELECT doubt.run FROM doubt WHERE changed)"
CHANGED: Final = f"""SELECT run, {_BODY.format("changed")}, {_STEPS_OF.format("changed")}
 FROM changed WHERE kind = %s ORDER BY n DESC"""


def held(text: str) -> str:
    """The text, or what stands for it alone in a column: a database may hold neither NUL nor what is beyond ASCII."""
    return text if text.isascii() and "\0" not in text and not text.startswith('"') else quoted(text)


class Moment:
    """The journal as one moment saw it: a connection in a transaction, or none for an empty journal."""

    def __init__(self, connection: Connection[Row] | None) -> None:
        self._connection = connection
        self._names = count()
        self._opened: dict[str, Run] = {}

    def select(self, query: str, *values: object) -> Generator[Row, None, None]:
        """Some rows of the answer are held at a time."""
        if self._connection is not None:
            with self._connection.cursor(name=f"read {next(self._names)}") as cursor:
                cursor.itersize = HELD
                yield from cursor.execute(query.encode(), values)

    def runs(self, query: str, *values: object) -> list[Run]:
        """Each with its marks folded in."""
        found = []
        for body, marks in self.select(query, *values):
            run = run_of(body)
            for mark in marks:
                run = run.after(mark_of(mark))
            found.append(run)
        return found

    def opened(self, run_id: str) -> Run:
        """The run of a row, which is there."""
        if run_id not in self._opened:
            (self._opened[run_id],) = self.runs(RUN, run_id)
        return self._opened[run_id]

    def states(self, query: str, *values: object) -> Generator[tuple[str, PlannedRow, RowState], None, None]:
        """The run of each row, the row, and the fold of its steps."""
        with closing(self.select(query, *values)) as found:
            for run_id, body, bodies in found:
                row, steps = history_of(body, bodies)
                yield run_id, row, fold(first_state(row), steps)
