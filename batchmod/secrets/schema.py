"""The file of the embedded store: making it, opening it, refusing what is not one. No key passes here."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from errno import EACCES
from pathlib import Path

from batchmod import dbfile
from batchmod.errors import UsageError
from batchmod.secrets.agekey import sync_directory

FILE = "secrets.db"
_APPLICATION = 0x62617473  # tells our file from any other SQLite database
_VERSION = 1
_BUSY_SECONDS = 10.0  # another process may be in a transaction, never for long
_LOG_PAGES = 4000  # 16 MB, four times SQLite's default: pages that many commits change are written back once
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seal (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  canary BLOB NOT NULL,
  recipients TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS secret (
  account_id TEXT NOT NULL,
  region TEXT NOT NULL,
  instance_id TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation > 0),
  stage TEXT NOT NULL CHECK (stage IN ('pending', 'current', 'previous', 'candidate')),
  login TEXT NOT NULL,
  run_id TEXT NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (account_id, region, instance_id, generation)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_a_stage
  ON secret (account_id, region, instance_id, stage) WHERE stage <> 'candidate';
CREATE VIEW IF NOT EXISTS record AS
  SELECT account_id, region, instance_id, generation, stage, login, run_id, created_at, updated_at FROM secret;
"""
_MARKS = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"


class NoStoreError(UsageError):
    """No store was ever made there, or its making was cut short: nothing can have been put in."""


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What keeps the file from being used is a UsageError that names it and the reason."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: the secret store cannot be opened: {error.strerror}") from error
    except dbfile.FAILURES as error:
        raise UsageError(f"{path}: the secret store cannot be opened: {dbfile.why(path, error)}") from error


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """The store in this file, which is not made; each commit is on disk when it returns.

    NoStoreError when there is none, UsageError when the file is not ours or out of reach.
    """
    with refusing(path):
        if not dbfile.is_there(path):
            raise NoStoreError(
                f"{path}: there is no secret store here: the first run that changes a password makes it; another directory is "
                "named with --state"
            )
        _require_whole(path)
        try:
            return _connect(path, "mode=rw", read_only=read_only)  # mode=ro would leave -wal and -shm behind
        except sqlite3.OperationalError as error:
            if not read_only or not dbfile.is_out_of_reach(error) or dbfile.log_waits(path):
                raise
            return _connect(path, "mode=ro&immutable=1", read_only=True)  # nobody can write, and nothing waits


def connect_to_read(path: Path) -> sqlite3.Connection:
    """The same, only to be read; an empty store when none was made in that directory. NoStoreError without one."""
    try:
        return connect(path, read_only=True)
    except NoStoreError:
        if not path.parent.is_dir():  # a mistyped place must not look like an empty one
            raise
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(f"{_SCHEMA} {_MARKS} PRAGMA query_only = 1;")
    return db


def _connect(path: Path, mode: str, *, read_only: bool) -> sqlite3.Connection:
    with ExitStack() as undo:
        address = f"{path.absolute().as_uri()}?{mode}"
        db = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        undo.callback(db.close)
        if dbfile.is_blank(db, path):
            raise NoStoreError(f"{path}: there is no secret store here, only the beginning of one")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        _require_ours(db, path)
        db.execute(f"PRAGMA query_only = {int(read_only)}")
        undo.pop_all()
    return db


def _require_whole(path: Path) -> None:
    if dbfile.lost_its_log(path):
        raise UsageError(
            f"{path}: empty, while {dbfile.log_of(path).name} is not: it may hold passwords; restore both from a backup"
        )


def _require_ours(db: sqlite3.Connection, path: Path) -> None:
    (application,), (version,) = (*db.execute("PRAGMA application_id"), *db.execute("PRAGMA user_version"))
    if application != _APPLICATION:
        raise UsageError(f"{path}: not a secret store of batchmod")
    if version != _VERSION:
        raise UsageError(f"{path}: made by another version of batchmod (schema {version}, here {_VERSION})")


def require_sound(db: sqlite3.Connection, path: Path) -> None:
    """Returns when SQLite finds no damage in the file; else UsageError."""
    if (found := db.execute("PRAGMA quick_check(1)").fetchall()) != [("ok",)]:
        raise UsageError(f"{path}: damaged: {found[0][0]}")


def create(path: Path) -> None:
    """The file is there, 0600, with our schema unless it has another. UsageError when it cannot be made."""
    with refusing(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not dbfile.is_there(path):  # never an existing one: to close it would take away the locks of this process
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            sync_directory(path.parent)
        _require_whole(path)
        if not os.access(path, os.R_OK | os.W_OK):  # SQLite would only tell when the first password is written
            raise PermissionError(EACCES, os.strerror(EACCES))
        dbfile.clear_torn(path)
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as db:
            if dbfile.is_blank(db, path):
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_MARKS} COMMIT;")
