"""The journal in PostgreSQL, which many processes write at once, each for what it has a lease on."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeVar, cast

from psycopg import Cursor, errors

from batchmod.errors import JournalError, UsageError
from batchmod.journal.encoding import encode
from batchmod.journal.group import GroupWriter
from batchmod.journal.pgreader import PostgresReader
from batchmod.journal.pgreads import held
from batchmod.journal.pgwriter import Entry, Fence, MarkLine, PostgresSink, StaleError, Standing, StepLine, Table, Work
from batchmod.journal.store import refuse_gaps, refuse_unknown
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Step
from batchmod.model.runs import Mark, Run
from batchmod.pg.link import Row, connect, usable
from batchmod.pg.migrating import check
from batchmod.pg.place import Place

__all__ = ["Fence", "PostgresJournal", "StaleError"]

T = TypeVar("T")
Writer = GroupWriter[Entry]

_RUN: Final = "INSERT INTO run (id, name, rows, body) VALUES (%s, %s, %s, %s)"
_PLANNED: Final = Table(
    "planned",
    run="text",
    seq="integer",
    verdict="text",
    account_id="text",
    region="text",
    instance_id="text",
    kind="text",
    body="text",
)
_AT_ONCE: Final = 5000  # rows in one statement


class PostgresJournal(PostgresReader):
    """Keeps the contract of Journal in the database's schema. Made by `open`, `read`, or `under` of another one."""

    def __init__(self, place: Place, writer: Writer | None, *, there: bool = True) -> None:
        super().__init__(place, there=there)
        self._writer = writer
        self._standing = Standing()
        self._known: dict[str, int] = {}  # rows of each run that was asked for
        self._is_view = False

    @classmethod
    def open(cls, place: Place) -> "PostgresJournal":
        """The journal in that database, whose schema is there. Raises UsageError when it cannot be used.

        Any number of processes may hold it open so; what each may write, its fences say.
        """
        if not check(place):
            raise UsageError(f"{place}: there is no journal in it yet")
        with usable(place):
            sink = PostgresSink(connect(place), place)
        return cls(place, GroupWriter(sink, name=str(place)))

    @classmethod
    def read(cls, place: Place) -> "PostgresJournal":
        """The same, only to be read. Creates nothing: without our schema it is empty. Raises UsageError for another
        version of it, or a database that cannot be reached.
        """
        return cls(place, None, there=check(place))

    def under(self, fence: Fence) -> "PostgresJournal":
        """The same journal, of which every write is refused with StaleError once the fence has fallen; what fails there
        fails there alone, but for a lost connection. Closing it closes nothing else.
        """
        view = PostgresJournal(self._place, self._writer)
        view._standing, view._known, view._is_view = Standing(fence), self._known, True
        return view

    @property
    def commits(self) -> int:
        """Transactions made durable since it was opened, by all of its views."""
        return 0 if self._writer is None else self._writer.commits

    async def open_run(self, run: Run, rows: Sequence[PlannedRow]) -> None:
        self._writing()
        refuse_gaps(run, rows)
        await self.transact(lambda cursor: _open(cursor, run, rows))
        self._known[run.id] = len(rows)

    async def step(self, run_id: str, step: Step) -> None:
        await self._writing().write(self._step(run_id, step))

    def note(self, run_id: str, step: Step) -> None:
        self._writing().note(self._step(run_id, step))

    async def flush(self) -> None:
        await self._writing().write(None)
        self._writing()  # a note that was refused has refused all that come after it

    async def mark(self, run_id: str, mark: Mark) -> None:
        writer = self._writing()
        self._refuse_unknown(run_id)
        await writer.write(Entry(self._standing, MarkLine(held(run_id), encode(mark))))

    async def transact(self, work: Callable[[Cursor[Row]], T]) -> T:
        """The work is done in the writer's transaction, after what was written before it, and durable with it.

        It runs in the writer's thread, where everything that is written waits for it, and must neither commit nor roll
        back. A BatchmodError that it raises is raised here, one of the database as a JournalError: nothing of it was
        done then, and the journal goes on. StaleError: it was not begun.
        """
        return cast("T", await self._writing().write(Entry(self._standing, Work(work, waited_for=True))))

    def post(self, work: Callable[[Cursor[Row]], object]) -> None:
        """The same without being waited for: durable when a later write returns; when it fails, each of those raises."""
        self._writing().note(Entry(self._standing, Work(work, waited_for=False)))

    def close(self) -> None:
        """What this view was asked to write is written, and it takes nothing more; so does the journal itself, when it
        is no view of another one.
        """
        if self._writer is None:
            return
        if self._is_view:
            self._writer.drain()
            self._standing.refuse(f"{self._place}: the journal is closed")
        else:
            self._writer.close()

    def _step(self, run_id: str, step: Step) -> Entry:
        self._refuse_unknown(run_id, step.seq)
        return Entry(self._standing, StepLine(held(run_id), step.seq, step.phase, encode(step)))

    def _refuse_unknown(self, run_id: str, seq: int | None = None) -> None:
        """Another process may have opened the run, so the first time the database is asked."""
        if run_id not in self._known and (rows := self._rows(run_id)) is not None:
            self._known[run_id] = rows
        refuse_unknown(self._known, run_id, seq)

    def _writing(self) -> Writer:
        """Raises JournalError when this view may not write any more, or never."""
        if (refusal := self._standing.refusal()) is not None:
            raise refusal
        if self._writer is None:
            raise JournalError(f"{self._place}: the journal was opened to be read")
        return self._writer


def _open(cursor: Cursor[Row], run: Run, rows: Sequence[PlannedRow]) -> None:
    run_id = held(run.id)
    try:
        cursor.execute(_RUN, (run_id, held(run.name), len(rows), encode(run)))
    except errors.UniqueViolation as error:
        raise JournalError(f"the journal already has a run {run.id}") from error
    left = iter(rows)
    while some := list(islice(left, _AT_ONCE)):
        _PLANNED.insert(cursor, (_planned(run_id, row) for row in some))


def _planned(run_id: str, row: PlannedRow) -> tuple[object, ...]:
    key = (held(row.account_id), held(row.region), held(row.instance_id))
    return (run_id, row.seq, row.verdict, *key, row.kind, encode(row))
