"""The file of the embedded store: making it, opening it, refusing what is not one. No key passes here."""

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from batchmod.errors import UsageError
from batchmod.secrets.agekey import sync_directory

FILE = "secrets.db"
_APPLICATION = 0x62617473  # tells our file from any other SQLite database
_VERSION = 1
_BUSY_SECONDS = 10.0  # another process may be in a transaction, never for long
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


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """The store in this file, which is not made; each commit is on disk when it returns. UsageError when not ours."""
    with ExitStack() as undo:
        address = f"{path.absolute().as_uri()}?mode=rw"  # mode=ro would leave -wal and -shm behind
        db = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        undo.callback(db.close)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA query_only = {int(read_only)}")
        _require_ours(db, path)
        undo.pop_all()
    return db


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
    """The file is there, 0600, with our schema unless it has another."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    sync_directory(path.parent)
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master").fetchall():
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_MARKS} COMMIT;")
