"""What is written to PostgreSQL: a batch is one transaction, and a write whose fence has fallen is left out of it.

In the transaction every statement is one message of the simple protocol, its values in it, and none is a COPY: so whatever
the server has not heard yet when this process is frozen, it is idle in the transaction and cuts the connection off after
FROZEN seconds. In the middle of a COPY, or between the messages of the extended protocol, it would wait for ever.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import psycopg
from psycopg import ClientCursor, Connection, Cursor

from batchmod.errors import BatchmodError, JournalError
from batchmod.journal.group import Answers
from batchmod.pg.link import FAILURES, Row, why
from batchmod.pg.place import Place

FROZEN: Final = (
    5  # seconds until a writer that has stopped in the middle of a transaction is cut off, and its locks gone
)


class Table:
    """Where lines are added. `columns`: their names and types."""

    def __init__(self, name: str, **columns: str) -> None:
        names, typed = ", ".join(columns), ", ".join(map(" ".join, columns.items()))
        self._columns = tuple(columns)
        self._statement = (
            f"INSERT INTO {name} ({names}) SELECT {names} "  # noqa: S608  of this program's constants only
            f"FROM ROWS FROM (json_to_recordset(%s) AS ({typed})) WITH ORDINALITY ORDER BY ordinality"
        )

    def insert(self, cursor: Cursor[Row], lines: Iterable[Sequence[object]]) -> None:
        """The lines are there, in this order. One value is a third of what arrays cost this process."""
        given = [dict(zip(self._columns, line, strict=True)) for line in lines]
        cursor.execute(self._statement.encode(), (json.dumps(given),))


STEPS: Final = Table("step", run="text", seq="integer", phase="text", epoch="bigint", body="text")
MARKS: Final = Table("mark", run="text", epoch="bigint", body="text")
# Who takes a lease over locks it FOR UPDATE: it waits until this is committed, or this sees its epoch.
_EPOCHS: Final = "SELECT key, epoch FROM lease WHERE key = ANY(%s) ORDER BY key FOR KEY SHARE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What a writer writes for, and since when: it may, as long as the lease `key` has this epoch."""

    key: str
    epoch: int


class StaleError(JournalError):
    """Another process has taken over what this one wrote for: nothing of it was written, nor will be."""


class Standing:
    """Whether one view of the journal may write: once refused, for ever."""

    def __init__(self, fence: Fence | None = None) -> None:
        self.fence = fence
        self._refusal: tuple[type[JournalError], str, Exception | None] | None = None

    @property
    def epoch(self) -> int | None:
        return None if self.fence is None else self.fence.epoch

    def refuse(self, text: str, *, kind: type[JournalError] = JournalError, cause: Exception | None = None) -> None:
        self._refusal = self._refusal or (kind, text, cause)

    def refusal(self) -> JournalError | None:
        """A new one for each who is told."""
        if self._refusal is None:
            return None
        kind, text, cause = self._refusal
        error = kind(text)
        error.__cause__ = cause
        return error


class StepLine(NamedTuple):
    run: str
    seq: int
    phase: str
    body: str


class MarkLine(NamedTuple):
    run: str
    body: str


class Work(NamedTuple):
    """Something else to be done in the same transaction: all of it, or nothing."""

    do: Callable[[Cursor[Row]], object]
    waited_for: bool


class Entry(NamedTuple):
    standing: Standing
    what: StepLine | MarkLine | Work


class PostgresSink:
    """A connection in autocommit mode, to which a group writes."""

    failures: Final = FAILURES

    def __init__(self, connection: Connection[Row], place: Place) -> None:
        self._connection = connection
        self._place = place
        connection.cursor_factory = ClientCursor
        connection.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN}s'".encode())
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )

    def commit(self, batch: Sequence[Entry]) -> Answers:
        answers: dict[int, object] = {}
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            self._refuse_stale(cursor, {entry.standing for entry in batch})
            waiting: list[Entry] = []  # records, to be inserted together
            for place, entry in enumerate(batch):
                if (refusal := entry.standing.refusal()) is not None:
                    answers[place] = refusal
                elif isinstance(entry.what, Work):
                    _insert(cursor, waiting)  # it may look for them
                    waiting = []
                    answers[place] = self._do(entry.standing, entry.what)
                else:
                    waiting.append(entry)
            _insert(cursor, waiting)
            cursor.execute("COMMIT")
        return answers

    def why(self, error: Exception) -> str:
        return why(error)

    def close(self) -> None:
        self._connection.close()

    def _refuse_stale(self, cursor: Cursor[Row], standings: Iterable[Standing]) -> None:
        """From here to the end of the transaction nobody takes over what is written for."""
        fenced = [(standing, standing.fence) for standing in standings if standing.fence and not standing.refusal()]
        if not fenced:
            return
        keys = sorted({fence.key for _, fence in fenced})
        epochs: dict[str, int] = dict(cursor.execute(_EPOCHS, (keys,)).fetchall())
        for standing, fence in fenced:
            if epochs.get(fence.key) != fence.epoch:
                standing.refuse(f"{self._place}: another process has taken over {fence.key}", kind=StaleError)

    def _do(self, standing: Standing, work: Work) -> object:
        """What came of it; when that is an error, nothing did."""
        with self._connection.cursor() as cursor:
            cursor.execute("SAVEPOINT work")
            try:
                answer = work.do(cursor)
                self._connection.execute("RELEASE work")
            except (BatchmodError, psycopg.Error) as error:
                self._connection.execute("ROLLBACK TO work; RELEASE work")  # fails when the connection is lost
                answer = self._told(error)
                if not work.waited_for:
                    standing.refuse(str(answer), cause=error)
        return answer

    def _told(self, error: BatchmodError | psycopg.Error) -> BatchmodError:
        if isinstance(error, BatchmodError):
            return error
        told = JournalError(f"{self._place}: the journal cannot be written: {why(error)}")
        told.__cause__ = error
        return told


def _insert(cursor: Cursor[Row], entries: Sequence[Entry]) -> None:
    """Each table's records in their order."""
    steps: list[tuple[object, ...]] = []
    marks: list[tuple[object, ...]] = []
    for standing, what in entries:
        match what:
            case StepLine(run, seq, phase, body):
                steps.append((run, seq, phase, standing.epoch, body))
            case MarkLine(run, body):
                marks.append((run, standing.epoch, body))
    for table, lines in ((STEPS, steps), (MARKS, marks)):
        if lines:
            table.insert(cursor, lines)
