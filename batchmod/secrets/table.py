"""The table of the embedded store and its transactions. Only ciphertext passes here; no key, no clock."""

# ruff: noqa: S608  SQL is put together of this module's constants only

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from typing import Final

from batchmod import dbfile
from batchmod.errors import StoreError
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.secrets.rows import (
    Rule,
    Seal,
    columns,
    missing,
    moved,
    new_pending,
    records,
    records_of_all,
    row_of,
    taken,
)
from batchmod.secrets.schema import connect, connect_to_read, create, refusing, require_sound
from batchmod.secrets.store import refuse_second_pending

_KEY: Final = "account_id = ? AND region = ? AND instance_id = ?"
_ONE: Final = f"{_KEY} AND generation = ?"
_FIELDS: Final = "generation, stage, login, run_id, created_at, updated_at"
_ALL: Final = f"SELECT account_id, region, instance_id, {_FIELDS} FROM secret ORDER BY 1, 2, 3, 4"
_STAGES: Final = f"SELECT {_FIELDS} FROM secret WHERE {_KEY} ORDER BY generation"
_AT: Final = f"SELECT {_FIELDS} FROM secret WHERE {_KEY} AND stage = ?"
_MOVABLE: Final = (
    f"SELECT {_FIELDS} FROM secret WHERE {_KEY} AND (stage <> 'candidate' OR generation = ?) ORDER BY generation"
)
_NEWEST: Final = f"SELECT coalesce(max(generation), 0), coalesce(max(stage = 'pending'), 0) FROM secret WHERE {_KEY}"
_VALUE: Final = f"SELECT value FROM secret WHERE {_ONE}"
_INSERT: Final = "INSERT INTO secret VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE: Final = f"DELETE FROM secret WHERE {_ONE}"
_MOVE: Final = f"UPDATE secret SET stage = ?, updated_at = ? WHERE {_ONE}"


class _Failing:
    """A context in which what SQLite cannot do is a StoreError that names the file and the reason."""

    def __init__(self, path: Path, done: str) -> None:
        self._path = path
        self._done = done

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, dbfile.FAILURES):
            raise StoreError(f"{self._path}: cannot be {self._done}: {dbfile.why(self._path, error)}") from error


class Table:
    """The open file; belongs to the thread that opened it. Reads have a connection of their own: what was written is
    looked up in the file, not in the writer's memory.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """The file is open and sound, made first if it may be. UsageError when it is broken, not ours or out of reach.

        Read-only leaves no file behind that was not there, and every write is a StoreError; a store that was never
        made is empty.
        """
        self._path = path
        self._reading = _Failing(path, "read")
        self._writing = _Failing(path, "written")
        self.commits = 0  # transactions made durable
        if not read_only:
            create(path)
        with refusing(path), ExitStack() as undo:
            writer = connect_to_read(path) if read_only else connect(path, read_only=False)
            self._write = undo.enter_context(closing(writer))
            self._read = undo.enter_context(closing(connect_to_read(path)))
            require_sound(self._read, path)
            undo.pop_all()

    def close(self) -> None:
        self._read.close()
        self._write.close()

    @property
    def path(self) -> Path:
        return self._path

    def is_empty(self) -> bool:
        with self._reading:
            return not self._read.execute("SELECT 1 FROM secret LIMIT 1").fetchall()

    def takes_any_key(self) -> bool:
        return self.is_empty()

    def seal(self) -> Seal | None:
        with self._reading:
            rows = self._read.execute("SELECT canary, recipients FROM seal").fetchall()
        if not rows:
            return None
        canary, recipients = rows[0]
        if not isinstance(canary, bytes) or not isinstance(recipients, str):
            raise StoreError(f"{self._path}: its seal is none: the file is damaged")
        return Seal(canary=canary, recipients=tuple(recipients.split()))

    def write(self, steps: Iterable[Callable[[], object]]) -> None:
        """The steps in one transaction that is on disk afterwards. After an error, theirs too, nothing of any step is."""
        with self._writing, self._write:
            self._write.execute("BEGIN IMMEDIATE")
            for step in steps:
                step()
        self.commits += 1

    def alone(self) -> AbstractContextManager[None]:
        """One run at a time writes in a state directory: nothing has to be kept away."""
        return nullcontext()

    def reseal(self, seal: Seal, convert: Callable[[bytes], bytes]) -> None:
        """The seal is replaced and every value converted, or nothing is."""
        self.write([lambda: self._reseal(seal, convert)])

    def _reseal(self, seal: Seal, convert: Callable[[bytes], bytes]) -> None:
        db = self._write
        db.execute("INSERT OR REPLACE INTO seal VALUES (1, ?, ?)", (seal.canary, " ".join(seal.recipients)))
        rows = db.execute("SELECT value, account_id, region, instance_id, generation FROM secret").fetchall()
        db.executemany(f"UPDATE secret SET value = ? WHERE {_ONE}", ((convert(row[0]), *row[1:]) for row in rows))

    def all(self) -> tuple[Generation, ...]:
        with self._reading:
            return records_of_all(self._read.execute(_ALL))

    def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        with self._reading:
            return records(key, self._read.execute(_STAGES, columns(key)))

    def at(self, key: InstanceKey, stage: Stage) -> Generation | None:
        """The one generation at a stage that holds at most one."""
        with self._reading:
            return next(iter(records(key, self._read.execute(_AT, (*columns(key), stage.value)))), None)

    def value(self, key: InstanceKey, generation: int) -> bytes:
        with self._reading:
            rows = self._read.execute(_VALUE, (*columns(key), generation)).fetchall()
        if not rows:
            raise missing(key, generation, self._path)
        if not isinstance(value := rows[0][0], bytes):  # what a file holds that was damaged may be a number by now
            raise StoreError(f"{self._path}: {key}: generation {generation} is no ciphertext: the file is damaged")
        return value

    def add_pending(self, key: InstanceKey, *, login: str, run_id: str, now: float, value: bytes) -> Generation:
        """A step: there is a new pending generation. StoreConflict when one is pending already."""
        with self._writing:
            ((newest, waits),) = self._write.execute(_NEWEST, columns(key))
            if waits:
                refuse_second_pending(records(key, self._write.execute(_STAGES, columns(key))))
            record = new_pending(key, newest + 1, login=login, run_id=run_id, now=now)
            self._write.execute(_INSERT, row_of(record, value))
        return record

    def insert(self, record: Generation, value: bytes) -> None:
        """A step: the record is there as it is. StoreConflict when its generation or its stage is taken."""
        with self._writing:
            try:
                self._write.execute(_INSERT, row_of(record, value))
            except sqlite3.IntegrityError as error:
                raise taken(record) from error

    def discard(self, record: Generation) -> None:
        """A generation that was never sent is gone, durably."""
        self.write([lambda: self._write.execute(_DELETE, (*columns(record.key), record.generation))])

    def move(self, key: InstanceKey, generation: int, decide: Rule, *, now: float) -> Generation:
        """A step: what `decide` says of the stages is done, all of it or nothing; the generation as it stands then."""
        with self._writing:
            stages = records(key, self._write.execute(_MOVABLE, (*columns(key), generation)))
            moves = decide(stages, generation)
            self._write.executemany(_MOVE, ((stage.value, now, *columns(key), each) for each, stage in moves))
        return moved(stages, generation, moves, now)
