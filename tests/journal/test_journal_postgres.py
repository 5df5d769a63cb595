"""What the journal in PostgreSQL promises beyond the contract: fences, many writers, and a server that goes away."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from math import inf
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from journal_records import START, a_row, a_run, a_step, rows, walk
from postgres import Database
from psycopg import Cursor
from soaking import FACTOR, SOAKS

from batchmod.errors import JournalError, StoreConflict, UsageError
from batchmod.journal.memory import MemoryJournal
from batchmod.journal.pgwriter import FROZEN
from batchmod.journal.postgres import Fence, PostgresJournal, StaleError
from batchmod.journal.store import Journal
from batchmod.model.events import Kind, Phase
from batchmod.model.runs import Mark, MarkType
from batchmod.model.secret import InstanceKey
from batchmod.pg.link import Row
from batchmod.pg.place import Place

RUN = a_run().id
LANE, OTHER = "lane:1234567890123456/cn-hangzhou", "lane:1234567890123456/cn-shanghai"
HAND_OVER = 12.0  # seconds at most
HERE = Path(__file__).parents[1]  # where the child processes find this folder's records

FROZEN_WRITER = """
import asyncio, os, signal, sys, threading
from journal_records import a_run, a_step
from batchmod.errors import JournalError
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.model.events import Phase
from batchmod.pg.place import Place

def freeze(cursor=None):
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # at once: another thread might be the one to take it

async def main():
    view = PostgresJournal.open(Place(url=sys.argv[1])).under(Fence(key=sys.argv[2], epoch=1))
    await view.step(a_run().id, a_step(Phase.ESCROWED))
    try:
        if sys.argv[3] == "before a transaction":
            freeze()
            await view.step(a_run().id, a_step(Phase.ARMED))
        else:
            view.note(a_run().id, a_step(Phase.ARMED))
            await view.transact(freeze)
    except JournalError as error:
        print(type(error).__name__)

asyncio.run(main())
"""

FLOODING_WRITER = """
import asyncio, sys
from journal_records import a_run, a_step
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.model.events import Phase
from batchmod.pg.place import Place

async def write(view, seq):
    while True:
        view.note(a_run().id, a_step(Phase.ESCROWED, seq))
        await view.transact(lambda cursor: cursor.execute("SELECT pg_advisory_xact_lock(%s)", (7,)))
        await view.step(a_run().id, a_step(Phase.ARMED, seq, message="as long as the service's may be " * 30))
        if seq == 0:
            print("written", flush=True)

async def main():
    view = PostgresJournal.open(Place(url=sys.argv[1])).under(Fence(key=sys.argv[2], epoch=1))
    await asyncio.gather(*(write(view, seq) for seq in range(64)))

asyncio.run(main())
"""


class Line:
    """Between a writer and the server: from `hear_no_more` on the server hears so many bytes, and `deaf` is set then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ends: list[asyncio.StreamWriter] = []
        self._carrying: set[asyncio.Task[None]] = set()
        self._left = inf
        self.deaf = asyncio.Event()
        self.heard = 0

    def hear_no_more(self, after: float) -> None:
        self._left, self.heard = after, 0

    async def cut(self) -> None:
        for each in self._ends:
            each.transport.abort()
        await asyncio.wait(self._carrying)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrying.add(asyncio.ensure_future(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (folder,) = parse_qs(urlsplit(self._database.url).query)["host"]
        behind, server = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        self._ends += [writer, server]
        await asyncio.gather(self._tell(reader, server), self._answer(behind, writer))

    async def _tell(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                told = data[: int(min(self._left, len(data)))]
                server.write(told)
                self._left -= len(told)
                self.heard += len(told)
                if self._left == 0:
                    self.deaf.set()
        server.close()

    async def _answer(self, behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await behind.read(1 << 16):
                writer.write(data)
        writer.close()


@asynccontextmanager
async def lined(database: Database, key: str) -> AsyncIterator[tuple[Line, PostgresJournal]]:
    """A writer of this lane under its first epoch, with a line and a run of its own."""
    line = Line(database)
    async with await asyncio.start_server(line.accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        place = Place(url=f"postgresql://postgres@127.0.0.1:{port}/{database.name}?sslmode=disable&gssencmode=disable")
        journal = await asyncio.to_thread(PostgresJournal.open, place)
        try:
            view = journal.under(lease(database, key))
            await view.open_run(a_run(key), rows(200))
            yield line, view
        finally:
            await line.cut()
            await asyncio.to_thread(journal.close)


async def write_all_kinds(view: PostgresJournal, run_id: str) -> None:
    """In one transaction: work between records, and more of these than any buffer holds."""

    async def write_steps() -> None:
        for seq in range(200):
            view.note(run_id, a_step(Phase.ESCROWED, seq, message="long " * 50))
        view.post(lambda cursor: cursor.execute("SELECT set_config('search_path', %s, true)", ("batchmod",)))
        await view.step(run_id, a_step(Phase.ARMED))

    mark = view.mark(run_id, Mark(type=MarkType.RESUMED, at=START))
    await asyncio.gather(write_steps(), mark, view.open_run(a_run(f"after {run_id}"), rows(200)))


@pytest.fixture
def journal(database: Database) -> Iterator[PostgresJournal]:
    journal = PostgresJournal.open(database.place)
    yield journal
    journal.close()


@contextmanager
def another(place: Place) -> Iterator[PostgresJournal]:
    """As another process would have it."""
    journal = PostgresJournal.open(place)
    try:
        yield journal
    finally:
        journal.close()


def lease(database: Database, key: str = LANE, epoch: int = 1) -> Fence:
    """The lease is taken, or taken over."""
    with psycopg.connect(database.url, options="-c search_path=batchmod -c lock_timeout=15s") as connection:
        connection.execute("INSERT INTO lease (key) VALUES (%s) ON CONFLICT DO NOTHING", (key,))
        connection.execute("SELECT FROM lease WHERE key = %s FOR UPDATE", (key,))
        connection.execute("UPDATE lease SET epoch = %s WHERE key = %s", (epoch, key))
    return Fence(key=key, epoch=epoch)


async def flood(view: PostgresJournal, acknowledged: Counter[int], enough: asyncio.Event) -> list[JournalError]:
    """64 writers write until they are refused: what each was told, and `acknowledged` of each before."""

    async def write(seq: int) -> None:
        while True:
            await view.step(RUN, a_step(Phase.ARMED, seq))
            acknowledged[seq] += 1
            if acknowledged[seq] > 20:
                enough.set()

    async def refused(seq: int) -> JournalError:
        with pytest.raises(JournalError) as refusal:
            await write(seq)
        return refusal.value

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(refused(seq)) for seq in range(64)]
    return [writer.result() for writer in writers]


@contextmanager
def frozen(database: Database, when: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes under the first epoch of the lane and has stopped itself; it does not outlive its block."""
    command = [sys.executable, "-c", FROZEN_WRITER, database.url, LANE, when]
    environ = os.environ | {"PYTHONPATH": str(HERE)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            yield process
        finally:
            process.kill()


async def taken_over(database: Database, key: str, moment: int) -> float:
    """In how many seconds the lane of a writer was, which was frozen when it had told so often that it goes on."""
    lease(database, key)
    command = (sys.executable, "-c", FLOODING_WRITER, database.url, key)
    environ = os.environ | {"PYTHONPATH": str(HERE)}
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environ)
    try:
        assert process.stdout is not None
        for _ in range(moment):
            assert await process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await asyncio.to_thread(lease, database, key, 2)
        return time.monotonic() - began
    finally:
        process.kill()
        await process.communicate()


async def refused(writing: Coroutine[object, object, None]) -> None:
    with pytest.raises(JournalError):
        await writing


def phases(journal: Journal) -> list[Phase]:
    return [state.phase for _, state in journal.states(RUN)]


async def test_a_record_holds_the_epoch_that_it_was_written_under(database: Database, journal: PostgresJournal) -> None:
    """None, for what was written without a fence."""
    await journal.open_run(a_run(), rows(1))
    view = journal.under(lease(database, epoch=7))
    for each in (journal, view):
        await each.step(RUN, a_step(Phase.ARMED))
        await each.mark(RUN, Mark(type=MarkType.RESUMED, at=START))
    for table in ("step", "mark"):
        assert database.execute(f"SELECT epoch FROM {table} ORDER BY n") == [(None,), (7,)]


async def test_what_is_written_under_a_fallen_fence_is_refused_and_nothing_else(
    database: Database, journal: PostgresJournal
) -> None:
    """In one batch: the waiters of that view alone are told, and no later write of it is taken."""
    await journal.open_run(a_run(), rows(4))
    stale, sound = journal.under(lease(database)), journal.under(lease(database, OTHER))
    lease(database, epoch=2)
    before = journal.commits
    stale.note(RUN, a_step(Phase.ARMED, 0))
    steps = [each.step(RUN, a_step(Phase.ARMED, seq)) for seq, each in enumerate((stale, sound, journal), 1)]
    answers = await asyncio.gather(*steps, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StaleError, type(None), type(None)]
    assert journal.commits <= before + 2
    assert LANE in str(answers[0])
    with pytest.raises(StaleError):
        stale.note(RUN, a_step(Phase.ARMED, 0))
    for write in (stale.flush(), stale.mark(RUN, Mark(type=MarkType.CLOSED, at=START)), stale.transact(print)):
        with pytest.raises(StaleError):
            await write
    assert phases(journal) == [Phase.PLANNED, Phase.PLANNED, Phase.ARMED, Phase.ARMED]
    stale.close()
    await sound.step(RUN, a_step(Phase.SETTLING, 2))


async def test_nobody_takes_over_in_the_middle_of_a_transaction(database: Database, journal: PostgresJournal) -> None:
    """Who would has to wait until it is committed, or it would be overtaken by a record of before."""
    view = journal.under(lease(database))

    def take_over(_: object) -> None:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.execute("SELECT FROM lease WHERE key = %s FOR UPDATE NOWAIT", LANE)
        database.execute("UPDATE lease SET renewed_at = now() WHERE key = %s", LANE)  # a heartbeat need not

    await view.transact(take_over)


async def test_a_note_under_a_fallen_fence_fails_the_next_flush(database: Database, journal: PostgresJournal) -> None:
    """Nobody waits for it, so the next who waits is told."""
    await journal.open_run(a_run(), rows(1))
    view = journal.under(Fence(key="a lease that nobody ever took", epoch=0))
    view.note(RUN, a_step(Phase.ARMED))
    with pytest.raises(StaleError):
        await view.flush()
    assert phases(journal) == [Phase.PLANNED]
    await journal.under(lease(database)).flush()


async def test_no_record_of_before_stands_after_one_of_who_took_over(
    database: Database, journal: PostgresJournal
) -> None:
    """In the middle of a flood: what was acknowledged is there, what was refused is not, and nothing comes late."""
    await journal.open_run(a_run(), rows(64))
    acknowledged: Counter[int] = Counter()
    enough = asyncio.Event()
    with another(database.place) as successor:
        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood(journal.under(lease(database)), acknowledged, enough))
            await enough.wait()
            mine = successor.under(await asyncio.to_thread(lease, database, LANE, 2))
            for seq in range(64):
                await mine.step(RUN, a_step(Phase.SETTLING, seq))
    assert set(map(type, await flooding)) == {StaleError}
    found = database.execute("SELECT epoch, count(*), min(n), max(n) FROM step GROUP BY epoch ORDER BY epoch")
    assert [(epoch, count) for epoch, count, _, _ in found] == [(1, acknowledged.total()), (2, 64)]
    assert found[0][3] < found[1][2]  # type: ignore[operator]  # numbers, as the columns are
    assert phases(journal) == [Phase.SETTLING] * 64


@pytest.mark.parametrize(("when", "told"), [("before a transaction", "StaleError"), ("within one", "JournalError")])
async def test_a_frozen_writer_that_is_revived_writes_nothing(
    database: Database, journal: PostgresJournal, when: str, told: str
) -> None:
    """It holds nobody up for long, wherever it was frozen, and is told when it goes on."""
    await journal.open_run(a_run(), rows(1))
    lease(database)
    with frozen(database, when) as process:
        async with asyncio.timeout(FROZEN + 3):
            mine = journal.under(await asyncio.to_thread(lease, database, LANE, 2))
        await mine.step(RUN, a_step(Phase.SETTLING))
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20)[0].split() == [told]
    assert [step.phase for step in journal.steps(RUN)] == [Phase.ESCROWED, Phase.SETTLING]


async def test_a_writer_that_is_not_heard_to_the_end_holds_nobody_up(database: Database) -> None:
    """Whichever byte of a transaction was the last that the server heard."""
    async with lined(database, "first") as (line, view):
        line.hear_no_more(inf)
        before = view.commits
        await write_all_kinds(view, "first")
        assert view.commits == before + 1
        length = line.heard
    dice = random.Random(11)
    keys = {f"byte {offset:06}": offset for offset in [1, length - 1, *dice.sample(range(2, length - 1), 38)]}
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        lines = [(await stack.enter_async_context(lined(database, key)), key) for key in keys]
        for (line, view), key in lines:
            line.hear_no_more(keys[key])
            group.create_task(refused(write_all_kinds(view, key)))
        for (line, _), _ in lines:
            await line.deaf.wait()
        began = time.monotonic()
        for key in keys:
            await asyncio.to_thread(lease, database, key, 2)
        assert time.monotonic() - began < FROZEN + 3
        for (line, _), _ in lines:  # who is not even in a transaction waits for ever
            await line.cut()
    assert database.execute("SELECT DISTINCT run FROM step") == [("first",)]


@SOAKS
async def test_a_writer_that_is_frozen_in_the_middle_of_a_flood_holds_nobody_up(
    database: Database, journal: PostgresJournal
) -> None:
    """At any moment; a dozen at a time, and five dozen in `make soak`."""
    await journal.open_run(a_run(), rows(64))
    dice = random.Random(3)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(12))
    for turn in range(1 if FACTOR == 1 else 5):
        async with asyncio.TaskGroup() as group:
            moments = [dice.randrange(1, 12) for _ in range(12)]
            over = [
                group.create_task(taken_over(database, f"lane {turn} {n}", moment)) for n, moment in enumerate(moments)
            ]
        assert max(each.result() for each in over) < HAND_OVER


async def test_a_server_that_is_gone_at_once_loses_nothing_that_was_acknowledged(database: Database) -> None:
    """Every other waiter is told, and no view of that journal writes again; a new one goes on."""
    place = database.place
    journal = PostgresJournal.open(place)
    await journal.open_run(a_run(), rows(64))
    view = journal.under(lease(database))
    acknowledged: Counter[int] = Counter()
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        flooding = group.create_task(flood(view, acknowledged, enough))
        await enough.wait()
        await asyncio.to_thread(database.stop)
    assert all("cannot be written" in str(error) for error in await flooding)
    with pytest.raises(JournalError, match="cannot be read"):
        journal.runs()
    with pytest.raises(UsageError, match="cannot be used"):
        PostgresJournal.open(place)
    database.start()
    for each in (journal, view):
        with pytest.raises(JournalError, match="cannot be written"):
            await each.step(RUN, a_step(Phase.ARMED))
    journal.close()
    with another(place) as again:
        for row, state in again.states(RUN):
            assert acknowledged[row.seq] <= state.attempts <= acknowledged[row.seq] + 1
        await again.step(RUN, a_step(Phase.CHANGED, 5))
        assert phases(again)[5] is Phase.CHANGED


async def test_a_note_that_cannot_be_written_fails_all_that_come_later(
    database: Database, journal: PostgresJournal
) -> None:
    """Of every view; nothing of the batch is there."""
    await journal.open_run(a_run(), rows(2))
    view = journal.under(lease(database))
    database.execute(
        "ALTER TABLE step ADD CONSTRAINT full_disk CHECK (phase <> 'armed' OR body NOT LIKE '%%a secret of somebody%%')"
    )
    view.note(RUN, a_step(Phase.ARMED, 0))
    journal.note(RUN, a_step(Phase.ARMED, 1, message="a secret of somebody"))
    for each in (journal, view, view):
        with pytest.raises(JournalError, match=r"test\d+.*: the journal cannot be written: .*full_disk") as failure:
            await each.mark(RUN, Mark(type=MarkType.CLOSED, at=START))
        assert "secret" not in str(failure.value)
    with pytest.raises(JournalError, match="full_disk"):
        view.note(RUN, a_step(Phase.ARMED))
    assert phases(journal) == [Phase.PLANNED] * 2


async def test_work_is_done_in_its_place_among_the_writes(database: Database, journal: PostgresJournal) -> None:
    """It sees the notes before it and none after it, in one transaction with them, and its answer comes back."""
    await journal.open_run(a_run(), rows(1))
    view = journal.under(lease(database))

    def steps(cursor: Cursor[Row]) -> int:
        return len(cursor.execute("SELECT FROM step").fetchall())

    before = journal.commits
    view.note(RUN, a_step(Phase.ESCROWED))
    view.post(lambda cursor: cursor.execute("UPDATE lease SET holder = 'first'"))
    looking = asyncio.ensure_future(view.transact(steps))
    await asyncio.sleep(0)
    view.note(RUN, a_step(Phase.ARMED))
    view.post(lambda cursor: cursor.execute("UPDATE lease SET holder = holder || ', second'"))
    await view.flush()
    assert await looking == 1
    assert journal.commits <= before + 2
    assert (database.execute("SELECT holder FROM lease"), phases(journal)) == ([("first, second",)], [Phase.ARMED])


def conflicting(cursor: Cursor[Row]) -> None:
    cursor.execute("UPDATE lease SET holder = 'never'")
    raise StoreConflict("somebody was faster", holder="x")


def breaking(cursor: Cursor[Row]) -> None:
    cursor.execute("UPDATE lease SET holder = 'never'")
    cursor.execute("INSERT INTO lease (key, epoch) VALUES (%s, 1)", (LANE,))


def hiding(cursor: Cursor[Row]) -> None:
    try:
        breaking(cursor)
    except psycopg.Error:
        return


@pytest.mark.parametrize(
    ("work", "error", "said"),
    [
        (conflicting, StoreConflict, "faster"),
        (breaking, JournalError, "cannot be written: duplicate key"),
        (hiding, JournalError, "cannot be written: current transaction is aborted"),
    ],
)
async def test_work_that_fails_leaves_nothing_and_fails_nobody_else(
    database: Database,
    journal: PostgresJournal,
    work: Callable[[Cursor[Row]], None],
    error: type[Exception],
    said: str,
) -> None:
    """Its waiter is told; the writes beside it are durable, and it may be tried again."""
    await journal.open_run(a_run(), rows(2))
    view = journal.under(lease(database))
    writes = [view.step(RUN, a_step(Phase.ARMED, 0)), view.transact(work), view.step(RUN, a_step(Phase.ARMED, 1))]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), error, type(None)]
    assert said in str(answers[1])
    assert LANE not in str(answers[1])
    assert (database.execute("SELECT holder FROM lease"), phases(journal)) == ([(None,)], [Phase.ARMED] * 2)
    assert await view.transact(lambda _: "once more") == "once more"


async def test_posted_work_that_fails_fails_what_its_view_writes_later(
    database: Database, journal: PostgresJournal
) -> None:
    """Nobody waits for it, so the next who waits is told; other views go on."""
    await journal.open_run(a_run(), rows(2))
    view = journal.under(lease(database))
    view.post(breaking)
    for _ in range(2):
        with pytest.raises(JournalError, match="duplicate key"):
            await view.step(RUN, a_step(Phase.ARMED, 0))
    await journal.step(RUN, a_step(Phase.ARMED, 1))
    assert phases(journal) == [Phase.PLANNED, Phase.ARMED]


async def test_work_is_not_begun_under_a_fallen_fence(database: Database, journal: PostgresJournal) -> None:
    """Whatever it would have done outside the database, too."""
    view = journal.under(lease(database))
    lease(database, epoch=2)
    begun: list[object] = []
    with pytest.raises(StaleError):
        await view.transact(begun.append)
    assert begun == []


async def test_a_closed_view_has_written_what_it_took_and_takes_nothing_more(
    database: Database, journal: PostgresJournal
) -> None:
    """The journal and its other views go on."""
    await journal.open_run(a_run(), rows(1))
    view = journal.under(lease(database))
    view.note(RUN, a_step(Phase.ARMED))
    view.close()
    assert phases(journal) == [Phase.ARMED]
    with pytest.raises(JournalError, match="closed"):
        await view.step(RUN, a_step(Phase.ARMED))
    await journal.step(RUN, a_step(Phase.SETTLING))


async def test_writers_share_their_commits(database: Database, journal: PostgresJournal) -> None:
    """64 writers under two fences need far fewer transactions than they write steps."""
    await journal.open_run(a_run(), rows(64))
    views = [journal.under(lease(database, key)) for key in (LANE, OTHER)]
    assert journal.commits == 1
    async with asyncio.TaskGroup() as group:
        for seq in range(64):
            group.create_task(walk(views[seq % 2], RUN, seq, [Phase.ARMED] * 20))
    assert journal.commits - 1 < 64 * 20 / 8
    assert sum(state.attempts for _, state in journal.states(RUN)) == 64 * 20


async def test_a_run_that_another_process_opened_is_known(database: Database, journal: PostgresJournal) -> None:
    """Its rows can be written at once; it cannot be opened a second time, and who tries can go on."""
    with another(database.place) as other:
        await journal.open_run(a_run(), rows(2))
        other.note(RUN, a_step(Phase.ARMED, 1))
        with pytest.raises(JournalError, match=f"already has a run {RUN}"):
            await other.open_run(a_run(), rows(1))
        await other.flush()
        with pytest.raises(JournalError, match="no row 2"):
            other.note(RUN, a_step(Phase.ARMED, 2))
    assert phases(journal) == [Phase.PLANNED, Phase.ARMED]


async def test_a_commit_is_durable_whatever_the_database_is_told(database: Database) -> None:
    """An operator may have traded durability for speed, for others."""
    database.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = off")
    with another(database.place) as journal:
        found = await journal.transact(lambda cursor: cursor.execute("SHOW synchronous_commit").fetchall())
    assert found == [("on",)]


async def test_what_is_looked_up_by_itself_is_what_the_steps_say(journal: PostgresJournal) -> None:
    """Doubtful rows and the last changes, after any walk, in batches of any size, from any verdict."""
    dice = random.Random(7)
    memory = MemoryJournal()
    plan = [a_row(seq, kind=dice.choice([*Kind]), instance_id=f"r-{seq // 3}") for seq in range(300)]
    plan = [a_row(row.seq, verdict=dice.choice([*Phase])) if row.seq % 10 == 0 else row for row in plan]
    for number, run_id in enumerate(("first", "second", "third")):
        for each in (journal, memory):
            await each.open_run(a_run(run_id), plan)
        for moment in range(1500):
            step = a_step(
                dice.choice([*Phase, Phase.ARMED, Phase.CHANGED]), dice.randrange(300), number * 1500 + moment
            )
            for each in (journal, memory):
                each.note(run_id, step)
            if dice.random() < 0.02:
                await journal.flush()
        for each in (journal, memory):
            await each.mark(run_id, Mark(type=MarkType.FINISHED, at=(number + 1) * 1500, exit_code=0))
    assert journal.recent_seconds(20) == memory.recent_seconds(20)
    for since in (0, 1500, 2000, 4400, inf):
        expected = list(memory.doubtful(since))
        assert list(journal.doubtful(since)) == expected
        keys = {row.key for _, row, _ in dice.sample(expected, 20)} | {
            InstanceKey(account_id="x", region="y", instance_id="z")
        }
        assert list(journal.doubtful_of(keys, since)) == [each for each in expected if each[1].key in keys]
    assert list(journal.doubtful_of([])) == []
    assert journal.states_of("second", [7, 3, 9]) == [
        each for each in memory.states("second") if each[0].seq in {3, 7, 9}
    ]


@pytest.mark.parametrize("text", ["r-\0x", "r-\ud800", "r-\u4e2d", '"r-x"', "back\\slash\tand tab"])
async def test_a_name_that_the_database_cannot_hold_is_found_all_the_same(journal: PostgresJournal, text: str) -> None:
    """And comes back as it was."""
    row = a_row(instance_id=text, account_id=text, region=text)
    run = a_run(text, name=text)
    assert journal.run(text) is None
    await journal.open_run(run, [row])
    await journal.step(text, a_step(Phase.ARMED, detail=text))
    assert (journal.run(text), journal.latest(text), journal.unfinished(text)) == (run, run, [run])
    assert [each[:2] for each in journal.doubtful_of([row.key])] == [(run, row)]
    assert [step.detail for step in journal.steps(text)] == [text]


async def test_a_database_without_our_schema_is_an_empty_journal(database: Database) -> None:
    """Nothing is made by reading, nor by what is refused; when the schema is there, the same reader sees it."""
    await asyncio.to_thread(database.execute, "ALTER SCHEMA batchmod RENAME TO away")
    journal = PostgresJournal.read(database.place)
    assert (journal.runs(), journal.latest(), list(journal.states(RUN)), journal.unfinished()) == ([], None, [], [])
    assert (list(journal.doubtful()), journal.recent_seconds(5), journal.counts(RUN)) == ([], {}, Counter())
    with pytest.raises(UsageError, match="no journal"):
        PostgresJournal.open(database.place)
    assert database.execute("SELECT FROM pg_namespace WHERE nspname = 'batchmod'") == []
    database.execute("ALTER SCHEMA away RENAME TO batchmod")
    with another(database.place) as writing:
        await writing.open_run(a_run(), rows(1))
    assert [run.id for run in journal.runs()] == [RUN]


async def test_what_was_opened_to_be_read_takes_nothing(database: Database) -> None:
    """Nor does a view of it; closing it is fine."""
    journal = PostgresJournal.read(database.place)
    for each in (journal, journal.under(lease(database))):
        with pytest.raises(JournalError, match="to be read"):
            await each.open_run(a_run(), [])
        with pytest.raises(JournalError, match="to be read"):
            each.post(print)
        each.close()


def test_a_database_out_of_reach_is_refused(database: Database) -> None:
    """UsageError names it, as one of another version."""
    for opened in (PostgresJournal.open, PostgresJournal.read):
        with pytest.raises(UsageError, match=r"127.0.0.1:1/none: the store cannot be used"):
            opened(Place(url="postgresql://nobody@127.0.0.1:1/none"))
    database.execute("UPDATE version SET n = 99")
    for opened in (PostgresJournal.open, PostgresJournal.read):
        with pytest.raises(UsageError, match="another version"):
            opened(database.place)


DAMAGE = {
    "INSERT INTO step (run, seq, phase, body) SELECT id, 0, 'armed', 'torn' FROM run": "states",
    "UPDATE step SET body = NULL": "states",
    "UPDATE planned SET body = NULL": "states",
    "UPDATE planned SET body = '[]'": "doubtful",
    "DELETE FROM planned": "doubtful",
    "UPDATE mark SET body = NULL": "runs",
    "UPDATE run SET body = 'torn'": "runs",
    "UPDATE step SET phase = 'ar ed'": "counts",
}


@pytest.mark.parametrize("statement", DAMAGE)
async def test_a_damaged_record_is_a_journal_error(
    database: Database, journal: PostgresJournal, statement: str
) -> None:
    """What cannot be understood is said, never skipped."""
    await journal.open_run(a_run(), rows(1))
    await journal.step(RUN, a_step(Phase.ARMED))
    await journal.mark(RUN, Mark(type=MarkType.RESUMED, at=START))
    database.execute("ALTER TABLE step DROP CONSTRAINT step_run_seq_fkey")
    for table in ("run", "planned", "step", "mark"):
        database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER, ALTER COLUMN body DROP NOT NULL")
    database.execute(statement)
    asked: dict[str, Callable[[], object]] = {
        "states": lambda: list(journal.states(RUN)),
        "doubtful": lambda: list(journal.doubtful()),
        "runs": journal.runs,
        "counts": lambda: journal.counts(RUN),
    }
    with pytest.raises(JournalError, match="cannot be read"):
        asked[DAMAGE[statement]]()


async def test_reads_overlap_and_may_be_left_unread(database: Database, journal: PostgresJournal) -> None:
    """Each sees its own moment; one that is given up leaves no connection behind."""
    await journal.open_run(a_run(), rows(500))
    before, steps = journal.states(RUN), journal.steps(RUN)
    assert next(before)[1].phase is Phase.PLANNED
    await journal.step(RUN, a_step(Phase.ARMED, 400))
    after = journal.states(RUN)
    assert next(after)[0].seq == 0
    assert [state.phase for _, state in before][399] is Phase.PLANNED
    assert [step.seq for step in steps] == [400]
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'FETCH%%'"
    assert database.execute(asked) == [(1,)]
    del after
    assert database.execute(asked) == [(0,)]
