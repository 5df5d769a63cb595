"""The table of the embedded store in PostgreSQL, which many processes write at once. Only ciphertext passes; no key, no clock.

Whoever moves stages of an instance holds the lock of its first row; whoever adds a generation is kept by the unique indexes
from adding a second one. Whoever writes shares the lock of the seal, so that nobody changes it meanwhile. To unlock a store
that is sealed takes no right to write; to seal an empty one only that to add the seal.
"""

# ruff: noqa: S608  SQL is put together of this module's constants only

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from batchmod.errors import StoreConflict
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.pg.link import Row
from batchmod.pg.place import Place
from batchmod.secrets.pglink import Link
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
from batchmod.secrets.store import refuse_second_pending

_ROUNDS: Final = 20  # times that another may come before us; each time it was that one's turn
_BLOCK: Final = 1000  # values that are converted between two statements
_INSTANCE: Final = "account_id, region, instance_id"
_KEY: Final = "account_id = %s AND region = %s AND instance_id = %s"
_ONE: Final = f"{_KEY} AND generation = %s"
_FIELDS: Final = "generation, stage, login, run_id, created_at, updated_at"
_ALL: Final = (
    f"SELECT {_INSTANCE}, {_FIELDS} FROM secret "
    'ORDER BY account_id COLLATE "C", region COLLATE "C", instance_id COLLATE "C", generation'
)
_STAGES: Final = f"SELECT {_FIELDS} FROM secret WHERE {_KEY} ORDER BY generation"
_AT: Final = f"SELECT {_FIELDS} FROM secret WHERE {_KEY} AND stage = %s"
_FIRST: Final = f"SELECT 1 FROM secret WHERE {_KEY} ORDER BY generation LIMIT 1 FOR UPDATE"
_MOVABLE: Final = (
    f"SELECT {_FIELDS} FROM secret WHERE {_KEY} AND (stage <> 'candidate' OR generation = %s) ORDER BY generation"
)
_VALUE: Final = f"SELECT value FROM secret WHERE {_ONE}"
_ADD: Final = (
    "INSERT INTO secret SELECT %s::text, %s::text, %s::text, coalesce(max(generation), 0) + 1, 'pending', "
    f"%s::text, %s::text, %s::float8, %s::float8, %s::bytea FROM secret WHERE {_KEY} "
    "ON CONFLICT DO NOTHING RETURNING generation"
)
_INSERT: Final = (
    "INSERT INTO secret VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING generation"
)
_DELETE: Final = f"DELETE FROM secret WHERE {_ONE} AND run_id = %s AND created_at = %s"
_MOVE: Final = f"UPDATE secret SET stage = %s, updated_at = %s WHERE {_ONE}"
_UNLOCKING: Final = 0x62617473656C  # "batsel": who unlocks a store, and may seal it, does so one after the other
_SEAL: Final = "SELECT canary, recipients, mac FROM seal"
_FIRST_SEAL: Final = "INSERT INTO seal (canary, recipients, mac, id) VALUES (%s, %s, %s, 1)"
_RESEAL: Final = "UPDATE seal SET canary = %s, recipients = %s, mac = %s"


class PostgresTable:
    """A SecretTable in the schema of `place`; without a schema there is nothing in it, and it is read only."""

    def __init__(self, place: Place, *, read_only: bool, there: bool = True) -> None:
        self._place = place
        self._there = there
        self._link = Link(place, read_only=read_only or not there)

    @property
    def commits(self) -> int:
        return self._link.commits

    @property
    def place(self) -> Place:
        return self._place

    def close(self) -> None:
        self._link.close()

    def read(self, statement: str, *values: object) -> list[Row]:
        return self._link.read(statement, values) if self._there else []

    def is_empty(self) -> bool:
        return not self.read("SELECT 1 FROM secret LIMIT 1")

    def takes_any_key(self) -> bool:
        """Where somebody has sealed the store, everybody needs that key: the first password may be stored in a moment."""
        return self.seal() is None and self.is_empty()

    def seal(self) -> Seal | None:
        return _seal(self.read(_SEAL))

    def held_seal(self) -> Seal | None:
        """A step: the same, and it stays so until the transaction has ended."""
        return _seal(self._link.write(f"{_SEAL} FOR SHARE"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._link.transaction():
            self._link.write("SELECT pg_advisory_xact_lock(%s)", (_UNLOCKING,))
            yield

    def reseal(self, seal: Seal, convert: Callable[[bytes], bytes]) -> None:
        statement = _FIRST_SEAL if self.seal() is None else _RESEAL  # waits for those who write under the old one
        self._link.write(statement, (seal.canary, " ".join(seal.recipients), seal.mac))
        if self.is_empty():  # so it takes no right to read values
            return
        rows = self._link.write(f"SELECT value, {_INSTANCE}, generation FROM secret")
        for first in range(0, len(rows), _BLOCK):
            block = rows[first : first + _BLOCK]
            self._link.write_many(
                f"UPDATE secret SET value = %s WHERE {_ONE}", [(convert(row[0]), *row[1:]) for row in block]
            )

    def write(self, steps: Iterable[Callable[[], object]]) -> None:
        with self._link.transaction():
            for step in steps:
                step()

    def all(self) -> tuple[Generation, ...]:
        return records_of_all(self.read(_ALL))

    def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return records(key, self.read(_STAGES, *columns(key)))

    def at(self, key: InstanceKey, stage: Stage) -> Generation | None:
        return next(iter(records(key, self.read(_AT, *columns(key), stage.value))), None)

    def value(self, key: InstanceKey, generation: int) -> bytes:
        rows = self.read(_VALUE, *columns(key), generation)
        if not rows:
            raise missing(key, generation, self._place)
        return bytes(rows[0][0])

    def add_pending(self, key: InstanceKey, *, login: str, run_id: str, now: float, value: bytes) -> Generation:
        """Whoever adds one at the same time is waited for; it may have gone on to promote it since."""
        for _ in range(_ROUNDS):
            values = (*columns(key), login, run_id, now, now, value, *columns(key))
            if added := self._link.write(_ADD, values):
                return new_pending(key, added[0][0], login=login, run_id=run_id, now=now)
            refuse_second_pending(self.stages(key))
        raise StoreConflict(f"{key}: others store its passwords all the time")

    def insert(self, record: Generation, value: bytes) -> None:
        if not self._link.write(_INSERT, row_of(record, value)):
            raise taken(record)

    def discard(self, record: Generation) -> None:
        """Of that run and moment alone: a database that was set back may have given the number to another."""
        values = (*columns(record.key), record.generation, record.run_id, record.created_at)
        self.write([lambda: self._link.write(_DELETE, values)])

    def move(self, key: InstanceKey, generation: int, decide: Rule, *, now: float) -> Generation:
        self._link.write(_FIRST, columns(key))
        stages = records(key, self.read(_MOVABLE, *columns(key), generation))
        moves = decide(stages, generation)
        self._link.write_many(_MOVE, [(stage.value, now, *columns(key), each) for each, stage in moves])
        return moved(stages, generation, moves, now)


def _seal(rows: Sequence[tuple[Any, ...]]) -> Seal | None:
    return Seal(canary=bytes(rows[0][0]), recipients=tuple(rows[0][1].split()), mac=bytes(rows[0][2])) if rows else None
