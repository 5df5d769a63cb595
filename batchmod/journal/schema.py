"""The journal's tables and how its file is opened: made, recognised, or refused. The only module that knows PRAGMAs."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from errno import EACCES
from pathlib import Path
from typing import Final

from batchmod import dbfile
from batchmod.errors import JournalError, UsageError

APPLICATION: Final = 0x62617463  # "batc", in the file's header
VERSION: Final = 1
PATIENCE: Final = 30.0  # seconds that a lock of another process, a backup say, is waited for

_TABLES: Final = {
    "run": "n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, rows INTEGER NOT NULL, body TEXT NOT NULL",
    "row": "run TEXT NOT NULL, seq INTEGER NOT NULL, verdict TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, seq)",
    "step": "n INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL, phase TEXT NOT NULL, body TEXT NOT NULL",
    "mark": "n INTEGER PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL",
}
_INDEXES: Final = {
    "step_of_row": "step (run, seq, n, phase)",  # the last phase of a row is read from the index alone
    "mark_of_run": "mark (run, n)",
}
_LAST: Final = """SELECT run, seq, body, coalesce(
 (SELECT phase FROM step WHERE step.run = row.run AND step.seq = row.seq ORDER BY n DESC LIMIT 1), verdict) AS phase
 FROM row"""  # each row with the phase that it is in


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection, dict[str, int]]:
    """A connection to the journal at `path`, made (0600) when it was missing, a keeper to close after it, and how many
    rows each run has.

    The first is in autocommit mode and may be used from another thread. The keeper only reads: as long as it is open,
    SQLite does not remove the write-ahead log, and a later reader has nothing to create beside the journal. Raises
    UsageError when the file cannot be made or is not a journal that this version can write.
    """
    with ExitStack() as opened:
        try:
            if not dbfile.is_there(path):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # its side files take its mode
            _require_whole(path)
            if not os.access(path, os.R_OK | os.W_OK):  # SQLite would only tell when the first record is written
                raise UsageError(f"{path}: the journal cannot be opened: {os.strerror(EACCES)}")
            dbfile.clear_torn(path)
            connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            opened.callback(connection.close)
            _prepare(connection, path)
            keeper = _connect_reader(path)
            opened.callback(keeper.close)
            known = dict(keeper.execute("SELECT id, rows FROM run"))  # from here on it holds the log
        except OSError as error:
            raise UsageError(f"{path}: the journal cannot be made: {error.strerror}") from error
        except dbfile.FAILURES as error:
            raise _refusal(path, error) from error
        opened.pop_all()
    return connection, keeper, known


def close(path: Path, keeper: sqlite3.Connection) -> None:
    """The log is written back into the file if nobody reads it, so that the file alone is a backup; the keeper is gone."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # if it fails: the log stays, as durable as before
    keeper.close()


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, on which a read transaction gives one moment's view; an empty journal when
    none was ever made there. Creates nothing. Raises JournalError for what goes wrong inside the block.
    """
    try:
        with closing(_connect_reader(path)) as connection:
            yield connection
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be read: {error.strerror}") from error
    except dbfile.FAILURES as error:
        raise JournalError(f"{path}: the journal cannot be read: {dbfile.why(path, error)}") from error


def check(path: Path) -> None:
    """Raises UsageError when what is at `path` is not a journal that this version can read, or is out of reach."""
    try:
        with closing(_connect_reader(path)) as connection:
            _recognise(connection, path)
    except OSError as error:
        raise UsageError(f"{path}: the journal cannot be opened: {error.strerror}") from error
    except dbfile.FAILURES as error:
        raise _refusal(path, error) from error


def _connect_reader(path: Path) -> sqlite3.Connection:
    """A connection to a whole journal: that of the file, or an empty one where none was made to the end."""
    if not dbfile.is_there(path):
        return _nothing()
    _require_whole(path)
    # Without a write-ahead log nobody writes (see open_for_writing), and SQLite would have to create one to look.
    if not dbfile.is_there(dbfile.log_of(path)):
        return _look(path, "mode=ro&immutable=1")
    try:
        return _look(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if not dbfile.is_out_of_reach(error) or dbfile.log_waits(path):
            raise
        return _look(path, "mode=ro&immutable=1")  # a read-only file system: nobody writes, and nothing waits


def _look(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{mode}"
    with ExitStack() as opened:
        connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        opened.callback(connection.close)
        if dbfile.is_blank(connection, path):
            return _nothing()
        opened.pop_all()
    return connection


def _nothing() -> sqlite3.Connection:
    empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _create(empty)
    return empty


def _require_whole(path: Path) -> None:
    if dbfile.lost_its_log(path):
        raise UsageError(
            f"{path}: empty, while {dbfile.log_of(path).name} is not; restore both from a backup, or move both away"
        )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that reaches the disk
    if dbfile.is_blank(connection, path):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if dbfile.is_blank(connection, path):  # else another process made it while this one waited
            _create(connection)
        connection.execute("COMMIT")
    _recognise(connection, path)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise UsageError(f"{path}: the file system does not support a write-ahead log; choose another with --state")
    connection.execute("PRAGMA synchronous = FULL")


def _create(connection: sqlite3.Connection) -> None:
    for table, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({columns})" + (" WITHOUT ROWID" if table == "row" else ""))
        for verb in ("UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the journal is only added to'); END"
            )
    for index, columns in _INDEXES.items():
        connection.execute(f"CREATE INDEX {index} ON {columns}")
    connection.execute(f"CREATE VIEW last AS {_LAST}")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise UsageError(f"{path}: not a journal of batchmod; move it away, or choose another directory with --state")
    if version != VERSION:
        raise UsageError(
            f"{path}: written by another version of batchmod (journal version {version}, this one knows {VERSION}); "
            "use that version"
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _TABLES.keys():
        raise UsageError(f"{path}: the journal is damaged; restore it from a backup, or move it away")


def _refusal(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> UsageError:
    if isinstance(error, sqlite3.OperationalError):  # locked, full, not writable: the file itself may be sound
        return UsageError(f"{path}: the journal cannot be opened: {dbfile.why(path, error)}")
    return UsageError(
        f"{path}: the journal is damaged ({dbfile.why(path, error)}); restore it from a backup, or move it away"
    )
