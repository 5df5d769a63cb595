"""What a journal is whose file never came to be whole, or cannot be had."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from journal_records import a_run, rows

from batchmod.errors import JournalError, UsageError
from batchmod.journal import schema
from batchmod.journal.sqlite import SqliteJournal

PAGE = 4096

LIMITED = """
import resource, sys
from pathlib import Path
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    SqliteJournal.open(Path(sys.argv[1]))
except UsageError as error:
    print(error)
    raise SystemExit(2)
"""


def first_page(path: Path) -> bytes:
    """What SQLite writes before any table; the file and its side files are gone again."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    page = path.read_bytes()
    assert len(page) == PAGE
    path.unlink()
    return page


def nothing(path: Path) -> None:
    assert not path.exists()


def no_byte(path: Path) -> None:
    path.touch()


def one_page(path: Path) -> None:
    path.write_bytes(first_page(path))


def a_piece(length: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(first_page(path)[:length])

    make.__name__ = f"{length} bytes"
    return make


def zeros(path: Path) -> None:
    path.write_bytes(bytes(PAGE))


def rolled_back(path: Path) -> None:
    """Killed before the rollback journal of the first page was gone."""
    page = first_page(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        db.execute("PRAGMA user_version = 1")
        journal = path.with_name("journal.db-journal").read_bytes()
    path.write_bytes(page)
    path.with_name("journal.db-journal").write_bytes(journal)


def an_empty_log(path: Path) -> None:
    one_page(path)
    path.with_name("journal.db-wal").touch()


def half_a_log(path: Path) -> None:
    """Killed before the transaction that makes the tables was committed."""
    journal = SqliteJournal.open(path.parent)
    page, log = path.read_bytes(), path.with_name("journal.db-wal").read_bytes()
    journal.close()
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(page)
    path.with_name("journal.db-wal").write_bytes(log[:20_000])


REMAINS = [
    nothing,
    no_byte,
    one_page,
    *map(a_piece, (1, 16, 60, 106, 107, 1000)),
    zeros,
    rolled_back,
    an_empty_log,
    half_a_log,
]


@pytest.mark.parametrize("make", REMAINS, ids=lambda make: make.__name__)
async def test_a_journal_that_was_never_made_is_empty(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Whatever its first creation left: there are no runs, and the next run begins as if there were no file."""
    path = tmp_path / "journal.db"
    make(path)
    before = path.read_bytes() if path.exists() else None
    journal = SqliteJournal.read(tmp_path)
    assert (journal.runs(), journal.unfinished(), list(journal.doubtful())) == ([], [], [])
    assert (path.read_bytes() if path.exists() else None) == before
    writing = SqliteJournal.open(tmp_path)
    await writing.open_run(a_run(), rows(1))
    writing.close()
    assert [run.id for run in SqliteJournal.read(tmp_path).runs()] == [a_run().id]


@pytest.mark.parametrize("limit", [0, 1000, 4096, 20_000])
def test_a_disk_that_is_full_from_the_first_byte_on_leaves_an_empty_journal(tmp_path: Path, limit: int) -> None:
    """The creation is refused, and what it left is no obstacle to reading nor to the next creation."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "journal.db") in done.stdout
    assert SqliteJournal.read(tmp_path).runs() == []
    SqliteJournal.open(tmp_path).close()


def a_text(path: Path) -> None:
    path.write_text("hello")


def a_long_text_that_begins_alike(path: Path) -> None:
    path.write_text("SQLite format 3 is what this page is about\n")


def marked_by_somebody(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 7")


def a_damaged_page(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\x5a" * 500)


def zeros_without_end(path: Path) -> None:
    path.write_bytes(bytes(PAGE + 1))


@pytest.mark.parametrize(
    "make",
    [a_text, a_long_text_that_begins_alike, marked_by_somebody, a_damaged_page, zeros_without_end],
    ids=lambda make: make.__name__,
)
@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
def test_what_is_something_else_is_not_taken_for_remains(
    tmp_path: Path, make: Callable[[Path], None], opened: Callable[[Path], SqliteJournal]
) -> None:
    """Small, or without a table, and still somebody's: refused and left as it is."""
    path = tmp_path / "journal.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"{path}: "):
        opened(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
async def test_a_log_without_its_file_is_not_thrown_away(
    tmp_path: Path, opened: Callable[[Path], SqliteJournal]
) -> None:
    """Runs that are only in the log yet are neither called nothing nor overwritten."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    log = (tmp_path / "journal.db-wal").read_bytes()
    journal.close()
    (tmp_path / "journal.db-wal").write_bytes(log)
    (tmp_path / "journal.db").write_bytes(b"")
    with pytest.raises(UsageError, match="restore"):
        opened(tmp_path)
    assert (tmp_path / "journal.db-wal").read_bytes() == log


def below_a_file(place: Path) -> Path:
    place.touch()
    return place


def in_a_circle(place: Path) -> Path:
    place.mkdir()
    (place / "journal.db").symlink_to("journal.db")
    return place


def a_directory(place: Path) -> Path:
    (place / "journal.db").mkdir(parents=True)
    return place


def a_log_in_a_circle(place: Path) -> Path:
    place.mkdir()
    SqliteJournal.open(place).close()
    for side in ("journal.db-wal", "journal.db-shm"):
        (place / side).unlink()
    (place / "journal.db-wal").symlink_to("journal.db-wal")
    return place


@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (below_a_file, "Not a directory"),
        (in_a_circle, "Too many levels of symbolic links"),
        (a_directory, "Is a directory"),
        (a_log_in_a_circle, "Too many levels of symbolic links"),
    ],
)
def test_a_journal_out_of_reach_is_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], reason: str, opened: Callable[[Path], SqliteJournal]
) -> None:
    """Never taken for a missing one; the system's reason instead of SQLite's shrug."""
    place = make(tmp_path / "state")
    with pytest.raises(UsageError, match=f"{place}/journal.db: the journal cannot be .*{reason}"):
        opened(place)


def test_a_journal_that_gets_out_of_reach_is_a_journal_error(tmp_path: Path) -> None:
    """A reader that was opened in time says so when it reads."""
    journal = SqliteJournal.read(tmp_path)
    (tmp_path / "journal.db").symlink_to("journal.db")
    with pytest.raises(JournalError, match="cannot be read: Too many levels"):
        journal.runs()


def without_shared_memory(path: Path) -> None:
    """As on a read-only file system: SQLite cannot make the file that it needs beside a log."""
    shared = path.with_name(path.name + "-shm")
    shared.unlink(missing_ok=True)
    shared.symlink_to("no/such/place")


async def test_a_journal_is_read_where_nothing_can_be_made(tmp_path: Path) -> None:
    """Whole when nothing waits in the log; refused with the reason when something does."""
    journal = SqliteJournal.open(tmp_path)
    await journal.open_run(a_run(), rows(1))
    log = (tmp_path / "journal.db-wal").read_bytes()
    journal.close()
    without_shared_memory(tmp_path / "journal.db")
    assert (tmp_path / "journal.db-wal").read_bytes() == b""
    assert [run.id for run in SqliteJournal.read(tmp_path).runs()] == [a_run().id]
    (tmp_path / "journal.db-wal").write_bytes(log)
    with pytest.raises(UsageError, match=r"journal.db-wal has to be written back"):
        schema.check(tmp_path / "journal.db")
