"""What lies where SQLite's file should be: nothing, the beginning of one, or a database; and why it cannot be had.

No file is opened here but one that SQLite has refused: closing it again would take away the locks that this process has.
"""

import os
import sqlite3
from contextlib import closing, suppress
from errno import EACCES, EISDIR
from pathlib import Path
from stat import S_ISDIR
from typing import Final

_START: Final = b"SQLite format 3\0"
_PAGE: Final = 4096  # bytes of the first page, as SQLite makes it
_UNREADABLE: Final = 106  # bytes up to which SQLite does not know the beginning of its own first page
FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)  # the latter of SQLite's own words about what is damaged
_MARKS: Final = ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id", "PRAGMA user_version")


def is_there(path: Path) -> bool:
    """False only when there is no such file. Raises OSError when that may not be known."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def log_of(path: Path) -> Path:
    """The write-ahead log beside a database."""
    return path.with_name(path.name + "-wal")


def log_waits(path: Path) -> bool:
    """There is something in the write-ahead log; it may be all that was ever written."""
    with suppress(FileNotFoundError):
        return log_of(path).stat().st_size > 0
    return False


def lost_its_log(path: Path) -> bool:
    """The file is empty and its log is not: SQLite would take that for a new file, and throw the log away."""
    return log_waits(path) and path.stat().st_size == 0  # in this order: a creator fills the file before the log


def is_blank(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the creation of the file was cut short: no table in it and nobody's mark, or not even a whole page."""
    try:
        return not any(connection.execute(mark).fetchone()[0] for mark in _MARKS)
    except sqlite3.DatabaseError as error:
        if _is_torn(path, error):
            return True
        raise


def clear_torn(path: Path) -> None:
    """A file that holds a piece of its first page is empty, for SQLite to begin anew; any other is as it was."""
    if path.stat().st_size > _PAGE or log_waits(path):
        return
    torn = False
    with closing(sqlite3.connect(path)) as connection:  # ended before anything is cut: it has seen what was there
        try:
            connection.execute(_MARKS[0])
        except sqlite3.DatabaseError as error:
            torn = _is_torn(path, error)
    if torn:
        os.truncate(path, 0)


def _is_torn(path: Path, error: sqlite3.Error) -> bool:
    """What SQLite refuses is a piece of its first page, or the zeros that a power cut leaves in the place of it."""
    refused = _code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
    if not refused or path.stat().st_size > _PAGE or log_waits(path):
        return False
    content = path.read_bytes()
    return not any(content) or (len(content) <= _UNREADABLE and _START.startswith(content[: len(_START)]))


def _code(error: sqlite3.Error) -> int:
    """SQLite's code; 0 for what Python's module says by itself, of a text that is no text any more."""
    return getattr(error, "sqlite_errorcode", 0)


def is_out_of_reach(error: sqlite3.Error) -> bool:
    """SQLite could not open the file, or not make those that it needs beside it."""
    cannot_open = _code(error) & 0xFF == sqlite3.SQLITE_CANTOPEN
    return cannot_open or _code(error) == sqlite3.SQLITE_READONLY_DIRECTORY


def why(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> str:
    """What is wrong in SQLite's words, or in the system's where SQLite only says that something did not work."""
    if isinstance(error, UnicodeDecodeError):
        return "the file is damaged"
    if not is_out_of_reach(error) and _code(error) & 0xFF != sqlite3.SQLITE_IOERR:
        return str(error)
    for each in (path, log_of(path), path.with_name(path.name + "-shm")):
        if (problem := _problem(each)) is not None:
            return problem if each == path else f"{each.name}: {problem}"
    if log_waits(path):
        return f"{log_of(path).name} has to be written back, and nothing can be made here for that; copy both elsewhere"
    return str(error)


def _problem(path: Path) -> str | None:
    """Why this file cannot be read; None when it can, or when it may be missing."""
    try:
        if S_ISDIR(path.stat().st_mode):
            return os.strerror(EISDIR)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror
    return None if os.access(path, os.R_OK) else os.strerror(EACCES)
