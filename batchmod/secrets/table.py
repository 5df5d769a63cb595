"""The table of the embedded store and its transactions. Only ciphertext passes here; no key, no clock."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchmod import dbfile
from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.secrets.schema import connect, connect_to_read, create, refusing, require_sound
from batchmod.secrets.store import Moves, refuse_second_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What tells whether a key opens the store: a known text as ciphertext, and who can read every value."""

    canary: bytes
    recipients: tuple[str, ...]


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

    def is_empty(self) -> bool:
        with self._reading() as db:
            return not db.execute("SELECT 1 FROM secret LIMIT 1").fetchall()

    def seal(self) -> Seal | None:
        with self._reading() as db:
            rows = db.execute("SELECT canary, recipients FROM seal").fetchall()
        return Seal(canary=rows[0][0], recipients=tuple(rows[0][1].split())) if rows else None

    def reseal(self, seal: Seal, convert: Callable[[bytes], bytes]) -> None:
        """The seal is replaced and every value converted, or nothing is."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO seal VALUES (1, ?, ?)", (seal.canary, " ".join(seal.recipients)))
            rows = db.execute("SELECT value, account_id, region, instance_id, generation FROM secret").fetchall()
            db.executemany(
                "UPDATE secret SET value = ? WHERE account_id = ? AND region = ? AND instance_id = ? AND generation = ?",
                ((convert(row[0]), *row[1:]) for row in rows),
            )

    def all(self) -> tuple[Generation, ...]:
        with self._reading() as db:
            return _records(db.execute("SELECT * FROM record ORDER BY 1, 2, 3, 4"))

    def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        with self._reading() as db:
            return _stages(db, key)

    def value(self, key: InstanceKey, generation: int) -> bytes:
        with self._reading() as db:
            rows = db.execute(
                "SELECT value FROM secret WHERE account_id = ? AND region = ? AND instance_id = ? AND generation = ?",
                (*_columns(key), generation),
            ).fetchall()
        if not rows:
            raise StoreError(f"{key}: there is no generation {generation} in {self._path}")
        return bytes(rows[0][0])

    def add_pending(self, key: InstanceKey, *, login: str, run_id: str, now: float, value: bytes) -> Generation:
        """A new pending generation is durable. StoreConflict when one is pending already."""
        with self._writing() as db:
            stages = _stages(db, key)
            refuse_second_pending(stages)
            record = Generation(
                key=key,
                generation=max((each.generation for each in stages), default=0) + 1,
                stage=Stage.PENDING,
                login=login,
                run_id=run_id,
                created_at=now,
                updated_at=now,
            )
            _insert(db, record, value)
        return record

    def insert(self, record: Generation, value: bytes) -> None:
        """The record is durable as it is. StoreConflict when its generation or its stage is taken."""
        with self._writing() as db:
            try:
                _insert(db, record, value)
            except sqlite3.IntegrityError as error:
                raise StoreConflict(
                    f"{record.key}: generation {record.generation}, or another that is {record.stage}, is stored already"
                ) from error

    def discard(self, record: Generation) -> None:
        """A generation that was never sent is gone."""
        with self._writing() as db:
            db.execute(
                "DELETE FROM secret WHERE account_id = ? AND region = ? AND instance_id = ? AND generation = ?",
                (*_columns(record.key), record.generation),
            )

    def move(
        self, key: InstanceKey, generation: int, decide: Callable[[Sequence[Generation], int], Moves], *, now: float
    ) -> Generation:
        """What `decide` says of the stages is done, durably and at once; the generation as it stands then."""
        with self._writing() as db:
            for each, stage in decide(_stages(db, key), generation):
                db.execute(
                    "UPDATE secret SET stage = ?, updated_at = ?"
                    " WHERE account_id = ? AND region = ? AND instance_id = ? AND generation = ?",
                    (stage.value, now, *_columns(key), each),
                )
            return next(each for each in _stages(db, key) if each.generation == generation)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._read
        except dbfile.FAILURES as error:
            raise StoreError(f"{self._path}: cannot be read: {dbfile.why(self._path, error)}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk at the end of the block, or rolled back."""
        try:
            with self._write:
                self._write.execute("BEGIN IMMEDIATE")
                yield self._write
        except dbfile.FAILURES as error:
            raise StoreError(f"{self._path}: cannot be written: {dbfile.why(self._path, error)}") from error


def _columns(key: InstanceKey) -> tuple[str, str, str]:
    return key.account_id, key.region, key.instance_id


def _insert(db: sqlite3.Connection, record: Generation, value: bytes) -> None:
    fields = (record.generation, record.stage.value, record.login, record.run_id, record.created_at, record.updated_at)
    db.execute("INSERT INTO secret VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*_columns(record.key), *fields, value))


def _stages(db: sqlite3.Connection, key: InstanceKey) -> tuple[Generation, ...]:
    where = "account_id = ? AND region = ? AND instance_id = ?"
    return _records(db.execute(f"SELECT * FROM record WHERE {where} ORDER BY generation", _columns(key)))  # noqa: S608


def _records(rows: Iterable[tuple[str, str, str, int, str, str, str, float, float]]) -> tuple[Generation, ...]:
    return tuple(
        Generation(
            key=InstanceKey(account_id=account_id, region=region, instance_id=instance_id),
            generation=generation,
            stage=Stage(stage),
            login=login,
            run_id=run_id,
            created_at=created_at,
            updated_at=updated_at,
        )
        for account_id, region, instance_id, generation, stage, login, run_id, created_at, updated_at in rows
    )
