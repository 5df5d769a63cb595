"""What the journal on disk promises beyond the contract: durability, one file, and who may open it."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from stat import S_IMODE

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_records import START, a_row, a_run, a_step, rows, walk

from batchmod.errors import JournalError, UsageError
from batchmod.journal.encoding import encode, history_of, mark_of, row_of, run_of, step_of
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.writer import CHUNK
from batchmod.model.events import Phase, Proof
from batchmod.model.runs import Mark, MarkType

RUN = a_run().id
TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)  # lone surrogates and controls too
HERE = Path(__file__).parents[1]  # where the child processes find this folder's records

KILLED = """
import asyncio, sys
from pathlib import Path
from journal_records import a_run, a_step, rows
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Phase, Proof

async def writer(journal, seq):
    for number in range(1_000_000):
        await journal.step(a_run().id, a_step(Phase.ARMED, seq, number))
        print(seq, number, flush=True)

async def main():
    journal = SqliteJournal.open(Path(sys.argv[1]))
    await journal.open_run(a_run(), rows(8))
    async with asyncio.TaskGroup() as group:
        for seq in range(8):
            group.create_task(writer(journal, seq))

asyncio.run(main())
"""

FULL = """
import asyncio, resource, sys
from pathlib import Path
from journal_records import a_run, a_step, rows
from batchmod.errors import JournalError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Phase, Proof

async def main():
    journal = SqliteJournal.open(Path(sys.argv[1]))
    await journal.open_run(a_run(), rows(8))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # no file grows beyond that any more
    written = 0
    while written < 10_000:
        steps = [journal.step(a_run().id, a_step(Phase.ARMED, seq, written, message="m" * 500)) for seq in range(8)]
        answers = await asyncio.gather(*steps, return_exceptions=True)
        written += answers.count(None)
        if failed := [answer for answer in answers if answer is not None]:
            break
    assert written
    assert all(type(answer) is JournalError for answer in failed), failed
    assert all("cannot be written" in str(answer) and sys.argv[1] in str(answer) for answer in failed)
    try:
        await journal.step(a_run().id, a_step(Phase.ARMED, 0))
    except JournalError as error:
        assert "cannot be written" in str(error)
    else:
        raise SystemExit("a broken journal took a step")
    journal.close()
    print(written)

asyncio.run(main())
"""


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its block."""
    environ = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sigkill_loses_no_acknowledged_step(tmp_path: Path) -> None:
    """What a killed process was told to be durable is there, and nothing half."""
    with child(KILLED, tmp_path) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(300)]
        process.kill()
        told += process.stdout.readlines()
    acknowledged: dict[int, int] = {}
    for line in told:
        if line.endswith("\n"):
            seq, number = map(int, line.split())
            acknowledged[seq] = number + 1
    journal = SqliteJournal.read(tmp_path)
    states = [state for _, state in journal.states(RUN)]
    assert len(states) == 8
    for seq, state in enumerate(states):
        assert acknowledged.get(seq, 0) <= state.attempts <= acknowledged.get(seq, 0) + 1
        assert state.last_armed == state.attempts - 1


async def test_the_next_process_goes_on_where_a_killed_one_stopped(tmp_path: Path) -> None:
    """A log that nobody wrote back is taken up."""
    with child(KILLED, tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    journal = SqliteJournal.open(tmp_path)
    before = [state.attempts for _, state in journal.states(RUN)]
    await journal.step(RUN, a_step(Phase.CHANGED, 3))
    journal.close()
    again = SqliteJournal.read(tmp_path)
    assert [state.attempts for _, state in again.states(RUN)] == before
    assert [state.phase for _, state in again.states(RUN)][3] is Phase.CHANGED


def test_a_full_disk_fails_every_waiter_and_all_that_come_later(tmp_path: Path) -> None:
    """JournalError for the whole batch, never a step that silently is not there; what was acknowledged stays."""
    with child(FULL, tmp_path) as process:
        written = int(process.communicate(timeout=20)[0])
    assert process.returncode == 0
    attempts = sum(state.attempts for _, state in SqliteJournal.read(tmp_path).states(RUN))
    assert attempts == written


async def test_a_note_that_cannot_be_written_fails_all_that_come_later(tmp_path: Path) -> None:
    """Nobody waits for it, so the next who waits is told, and every later one."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON step BEGIN SELECT RAISE(ABORT, 'no room'); END")
    journal.note(RUN, a_step(Phase.ARMED))
    for _ in range(2):
        with pytest.raises(JournalError, match=f"{tmp_path}/journal.db: the journal cannot be written: no room"):
            await journal.mark(RUN, Mark(type=MarkType.CLOSED, at=START))
    with pytest.raises(JournalError, match="no room"):
        journal.note(RUN, a_step(Phase.ARMED))
    journal.close()
    assert [state.attempts for _, state in journal.states(RUN)] == [0]


async def test_more_than_a_statement_holds_is_one_transaction(tmp_path: Path) -> None:
    """However many wait, and whatever for: all of it, each table's records in their order."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(2))
    for number in range(2 * CHUNK + 1):
        journal.note(RUN, a_step(Phase.ARMED, number % 2, START + number))
    await journal.mark(RUN, Mark(type=MarkType.CLOSED, at=START))
    assert journal.commits <= 3
    assert [state.last_armed for _, state in journal.states(RUN)] == [START + 2 * CHUNK, START + 2 * CHUNK - 1]
    journal.close()


async def test_writers_share_their_commits(tmp_path: Path) -> None:
    """64 writers need far fewer transactions, each one fsync, than they write steps."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(64))
    assert journal.commits == 1
    async with asyncio.TaskGroup() as group:
        for seq in range(64):
            group.create_task(walk(journal, RUN, seq, [Phase.ARMED] * 20))
    assert journal.commits - 1 < 64 * 20 / 8
    assert sum(state.attempts for _, state in journal.states(RUN)) == 64 * 20
    journal.close()


async def test_a_run_with_its_rows_is_one_transaction(tmp_path: Path) -> None:
    """Whoever looks sees the run with all its rows, or not at all."""
    journal = SqliteJournal.open(tmp_path)
    seen = set()
    opening = asyncio.ensure_future(journal.open_run(a_run(), rows(5000)))
    while not opening.done():
        seen.add(len(list(journal.states(RUN))) if journal.run(RUN) else 0)
        await asyncio.sleep(0)
    await opening
    assert seen <= {0, 5000}
    assert (journal.commits, len(list(journal.states(RUN)))) == (1, 5000)
    journal.close()


def test_a_waiter_whose_loop_has_ended_does_not_stop_the_journal(tmp_path: Path) -> None:
    """The next loop of the same process writes on."""
    journal = SqliteJournal.open(tmp_path)
    asyncio.run(journal.open_run(a_run(), rows(1)))

    async def leave() -> None:
        writing = asyncio.ensure_future(journal.step(RUN, a_step(Phase.ARMED)))
        await asyncio.sleep(0)
        writing.cancel()

    for _ in range(20):
        asyncio.run(leave())
    asyncio.run(journal.step(RUN, a_step(Phase.FAILED)))
    assert [state.attempts for _, state in journal.states(RUN)] == [20]
    journal.close()


async def test_another_process_reads_while_one_writes(tmp_path: Path) -> None:
    """A reader never waits and sees what was acknowledged."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(2))
    await journal.step(RUN, a_step(Phase.ARMED, 1))
    code = (
        "import sys; from pathlib import Path; from batchmod.journal.sqlite import SqliteJournal\n"
        "for row, state in SqliteJournal.read(Path(sys.argv[1])).states(sys.argv[2]): print(row.seq, state.phase)"
    )
    with child(code, tmp_path, RUN) as process:
        assert process.communicate(timeout=20)[0].splitlines() == ["0 planned", "1 armed"]
    await journal.step(RUN, a_step(Phase.FAILED, 1))
    journal.close()


def contents(place: Path) -> dict[str, bytes]:
    """Every file with its bytes, but those of the memory that SQLite's processes share through one."""
    files = (path for path in place.iterdir() if path.is_file())
    return {path.name: b"" if path.name.endswith("-shm") else path.read_bytes() for path in files}


def modes(place: Path) -> dict[str, int]:
    return {path.name: S_IMODE(path.stat().st_mode) for path in place.iterdir()}


async def test_reading_creates_and_changes_nothing(tmp_path: Path) -> None:
    """No directory, no file, no side file; a journal that is not there is an empty one, and takes nothing."""
    nowhere = tmp_path / "no" / "where"
    journal = SqliteJournal.read(nowhere)
    assert (journal.runs(), journal.latest(), list(journal.states(RUN)), journal.unfinished()) == ([], None, [], [])
    assert list(journal.doubtful()) == []
    with pytest.raises(JournalError, match="to be read"):
        await journal.open_run(a_run(), [])
    journal.close()
    assert contents(tmp_path) == {}
    assert not nowhere.parent.exists()
    writing = SqliteJournal.open(tmp_path)
    await writing.open_run(a_run(), rows(1))
    writing.close()
    assert contents(tmp_path).keys() == {"journal.db", "journal.db-wal", "journal.db-shm"}  # nothing left to create
    assert contents(tmp_path)["journal.db-wal"] == b""
    alone = tmp_path / "copy"
    alone.mkdir()
    shutil.copy(tmp_path / "journal.db", alone)  # a backup is the one file
    for place in (tmp_path, alone):
        before = contents(place)
        reading = SqliteJournal.read(place)
        assert len(list(reading.states(RUN))) == 1
        assert contents(place) == before


async def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """The journal and its side files are 0600, whatever the umask."""
    old = os.umask(0)
    try:
        journal = SqliteJournal.open(tmp_path)
        await journal.open_run(a_run(), rows(1))
        assert modes(tmp_path) == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm"), 0o600)
        journal.close()
    finally:
        os.umask(old)


@pytest.mark.parametrize("table", ["run", "row", "step", "mark"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET run = 'x'", "DELETE FROM {}"])
async def test_nothing_is_altered_or_deleted(tmp_path: Path, table: str, statement: str) -> None:
    """The file itself refuses, whoever tries."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    await journal.step(RUN, a_step(Phase.ARMED))
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("INSERT INTO mark (run, body) VALUES ('x', '{}')")
        sql = statement.format(table).replace("run SET run", "run SET name")
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            db.execute(sql)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def of_somebody_else(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE step")
        db.commit()


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (newer, "another version of batchmod"),
    (of_somebody_else, "not a journal of batchmod"),
    (garbage, "damaged .* restore it from a backup"),
    (cut, "damaged"),
    (without_tables, "damaged"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
async def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], said: str, opened: Callable[[Path], SqliteJournal]
) -> None:
    """UsageError names the file and what to do; the file stays as it is."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    journal.close()
    path = tmp_path / "journal.db"
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"{path}: .*{said}"):
        opened(tmp_path)
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A missing directory and a directory in the file's place are UsageErrors that name the file."""
    with pytest.raises(UsageError, match=r"missing/journal.db: .* cannot be made"):
        SqliteJournal.open(tmp_path / "missing")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(UsageError, match=r"journal.db: .* cannot be opened"):
        SqliteJournal.open(tmp_path)


def _damage(path: Path, sql: str) -> None:
    """Done to a file whose rules were taken away, and given back."""
    changed = "UPDATE sqlite_schema SET sql = replace(sql, 'body TEXT{}', 'body TEXT{}')"
    for step in (changed.format(" NOT NULL", ""), sql, changed.format("", " NOT NULL")):
        with closing(sqlite3.connect(path)) as db:
            for (trigger,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            db.execute("PRAGMA writable_schema = ON")
            db.execute(step)
            db.commit()


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO step (run, seq, phase, body) SELECT run, 0, 'armed', 'torn' FROM row",
        "UPDATE step SET body = NULL",
        "UPDATE row SET body = NULL",
        "UPDATE row SET body = x'00'",
    ],
)
async def test_a_damaged_record_is_a_journal_error(tmp_path: Path, damage: str) -> None:
    """What cannot be understood is said, never skipped; nor is what is no text any more."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    await journal.step(RUN, a_step(Phase.ARMED))
    _damage(tmp_path / "journal.db", damage)
    with pytest.raises(JournalError, match="cannot be read"):
        list(journal.states(RUN))
    journal.close()


async def test_a_phase_that_is_none_is_a_journal_error(tmp_path: Path) -> None:
    """Rows are counted by what stands beside the record."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    await journal.step(RUN, a_step(Phase.ARMED))
    _damage(tmp_path / "journal.db", "UPDATE step SET phase = 'ar' || char(0) || 'ed'")
    for asked in (journal.counts, journal.open_rows):
        with pytest.raises(JournalError, match="cannot be read"):
            asked(RUN)
    journal.close()


@given(TEXT, TEXT, st.none() | st.sampled_from(Proof), st.none() | st.integers(), st.floats(0, 1e10))
def test_a_step_is_written_as_any_json_encoder_writes_it(
    code: str, detail: str, proof: Proof | None, generation: int | None, at: float
) -> None:
    """Byte for byte, whatever the service said; and it comes back equal."""
    step = a_step(Phase.IN_DOUBT, 3, at, code=code, detail=detail, proof=proof, generation=generation)
    told = {name: value for name, value in step._asdict().items() if value is not None}
    assert encode(step) == json.dumps(told, separators=(",", ":"))
    assert step_of(encode(step)) == step
    assert history_of(encode(a_row()), [encode(step)] * 2) == (a_row(), [step, step])


def test_two_halves_are_no_record() -> None:
    """Records that are read at once are still each whole."""
    with pytest.raises(JournalError, match="cannot be read"):
        history_of(encode(a_row()), ['{"seq":0,"phase":"armed"', '"at":1}'])


def test_texts_that_many_rows_share_are_kept_once() -> None:
    """What is kept of a hundred thousand rows is their names, and little else."""
    one, other = (row_of(encode(a_row(seq, account="eu" * 9, login="x"))) for seq in range(2))
    assert one.account is other.account
    assert one.before is other.after
    assert row_of(encode(a_row(login=a_row().instance_id))).login == a_row().instance_id


def test_a_record_that_is_none_is_a_journal_error() -> None:
    """Missing, unknown and impossible fields are all refused."""
    for decode in (run_of, row_of, step_of, mark_of):
        for text in ("", "[]", "{}", '{"phase":"armed","kind":"tde","verdict":"planned","type":"closed","more":1}'):
            with pytest.raises(JournalError, match="cannot be read"):
                decode(text)
    with pytest.raises(JournalError, match="cannot be read"):
        row_of(encode(a_row()).replace('"planned"', '"perhaps"'))
