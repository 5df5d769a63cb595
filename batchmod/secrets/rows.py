"""A secret as a row, for every database that keeps a table of them: what such a table can do, and its rows as values."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Protocol

from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import Generation, InstanceKey, Stage
from batchmod.secrets.store import Moves

_AS_STAGE: Final = {each.value: each for each in Stage}
Rule = Callable[[Sequence[Generation], int], Moves]
Fields = tuple[int, str, str, str, float, float]  # generation, stage, login, run_id, created_at, updated_at


class UnreachableError(StoreError):
    """The database failed, not one call: what waits with that call fails with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What tells whether a key opens the store: a known text as ciphertext, and who can read every value. `mac`: who sealed it
    vouches for both; None where nobody else can write.
    """

    canary: bytes
    recipients: tuple[str, ...]
    mac: bytes | None = None


class SecretTable(Protocol):
    """A table of ciphertext and its transactions; belongs to one thread. StoreError for what the database cannot do."""

    @property
    def commits(self) -> int:
        """Transactions made durable."""
        ...

    def close(self) -> None: ...

    def is_empty(self) -> bool:
        """No value is stored."""
        ...

    def takes_any_key(self) -> bool:
        """Nothing would be lost if another key than before were the store's from now on."""
        ...

    def seal(self) -> Seal | None: ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else opens the store to write, or writes, as long as it is being unlocked."""
        ...

    def reseal(self, seal: Seal, convert: Callable[[bytes], bytes]) -> None:
        """The seal is replaced and every value converted, or nothing is, once `alone` has ended."""
        ...

    def write(self, steps: Iterable[Callable[[], object]]) -> None:
        """The steps in one transaction that is durable afterwards. After an error, theirs too, nothing of any step is."""
        ...

    def all(self) -> tuple[Generation, ...]: ...

    def stages(self, key: InstanceKey) -> tuple[Generation, ...]: ...

    def at(self, key: InstanceKey, stage: Stage) -> Generation | None:
        """The one generation at a stage that holds at most one."""
        ...

    def value(self, key: InstanceKey, generation: int) -> bytes: ...

    def add_pending(self, key: InstanceKey, *, login: str, run_id: str, now: float, value: bytes) -> Generation:
        """A step: there is a new pending generation. StoreConflict when one is pending already."""
        ...

    def insert(self, record: Generation, value: bytes) -> None:
        """A step: the record is there as it is. StoreConflict when its generation or its stage is taken."""
        ...

    def discard(self, record: Generation) -> None:
        """A generation that was never sent is gone, durably."""
        ...

    def move(self, key: InstanceKey, generation: int, decide: Rule, *, now: float) -> Generation:
        """A step: what `decide` says of the stages is done, all of it or nothing; the generation as it stands then."""
        ...


def columns(key: InstanceKey) -> tuple[str, str, str]:
    return key.account_id, key.region, key.instance_id


def row_of(record: Generation, value: bytes) -> tuple[Any, ...]:
    """All columns of the table, in their order."""
    fields = (record.generation, record.stage.value, record.login, record.run_id, record.created_at, record.updated_at)
    return (*columns(record.key), *fields, value)


def records(key: InstanceKey, rows: Iterable[Fields]) -> tuple[Generation, ...]:
    return tuple(
        Generation(
            key=key,
            generation=generation,
            stage=_AS_STAGE[stage],
            login=login,
            run_id=run_id,
            created_at=created_at,
            updated_at=updated_at,
        )
        for generation, stage, login, run_id, created_at, updated_at in rows
    )


def records_of_all(rows: Iterable[tuple[Any, ...]]) -> tuple[Generation, ...]:
    """Of rows that begin with the instance and are sorted by it."""
    found: list[Generation] = []
    for (account_id, region, instance_id), mine in groupby(rows, itemgetter(0, 1, 2)):
        key = InstanceKey(account_id=account_id, region=region, instance_id=instance_id)
        found.extend(records(key, (row[3:] for row in mine)))
    return tuple(found)


def new_pending(key: InstanceKey, generation: int, *, login: str, run_id: str, now: float) -> Generation:
    return Generation(
        key=key,
        generation=generation,
        stage=Stage.PENDING,
        login=login,
        run_id=run_id,
        created_at=now,
        updated_at=now,
    )


def moved(stages: Sequence[Generation], generation: int, moves: Moves, now: float) -> Generation:
    """The generation as it stands after the moves."""
    found = next(each for each in stages if each.generation == generation)
    return replace(found, stage=dict(moves)[generation], updated_at=now) if moves else found


def taken(record: Generation) -> StoreConflict:
    """What is said of a record whose place is another's."""
    return StoreConflict(
        f"{record.key}: generation {record.generation}, or another that is {record.stage}, is stored already"
    )


def missing(key: InstanceKey, generation: int, place: object) -> StoreError:
    """What is said of a generation that is not there."""
    return StoreError(f"{key}: there is no generation {generation} in {place}")
