"""The secret store that needs no server: one SQLite file of age-encrypted values, and one thread that alone touches it.

Every commit is on disk before its call returns. The event loop never waits for the disk or the cipher.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from batchmod.errors import StoreConflict, StoreError, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.agekey import AgeKey, checked_recipients, key_path, load_or_make, made_words, passing_key
from batchmod.secrets.schema import FILE
from batchmod.secrets.store import at_stage, demotion, promotion
from batchmod.secrets.table import Seal, Table

P = ParamSpec("P")
T = TypeVar("T")

_CANARY = Secret("batchmod")  # no secret: a text that only a key of the store turns back


class EmbeddedStore:
    """A SecretStore in `<directory>/secrets.db`. `open` is the way to one; `close` ends its thread."""

    def __init__(
        self,
        table: Table,
        key: AgeKey,
        recipients: tuple[str, ...],
        thread: ThreadPoolExecutor,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._key = key
        self._recipients = recipients
        self._thread = thread
        self._clock = clock

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        recipients: Sequence[str] = (),
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The store of this directory, made when it is not there, with a key that opens every value.

        A missing key is made only while the store is empty; `say` is told where it lies. Each recipient that was ever
        named reads every value, old ones too. Without `create` nothing is made or written, neither now nor later, and
        a store without secrets needs no key. UsageError when directory or key is missing, a file is broken or out of
        reach, or key and store do not belong together.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="secrets")
        opening = partial(
            _open, directory / FILE, key_path(environ), checked_recipients(recipients), say, create=create
        )
        try:
            table, key, readers = thread.submit(opening).result()
        except UsageError:
            thread.shutdown()
            raise
        except StoreError as error:
            thread.shutdown()
            raise UsageError(str(error)) from error
        return cls(table, key, readers, thread, clock)

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return await self._do(self._table.stages, key)

    async def pending(self, key: InstanceKey) -> Generation | None:
        return at_stage(await self.stages(key), Stage.PENDING)

    async def current(self, key: InstanceKey) -> Generation | None:
        return at_stage(await self.stages(key), Stage.CURRENT)

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        return await self._do(self._escrow, key, login, secret, run_id)

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        return await self._do(self._reveal, key, generation)

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._do(self._table.move, key, generation, promotion, now=self._clock())

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._do(self._table.move, key, generation, demotion, now=self._clock())

    async def all(self) -> tuple[Generation, ...]:
        return await self._do(self._table.all)

    async def insert(self, record: Generation, secret: Secret) -> None:
        await self._do(self._insert, record, secret)

    async def close(self) -> None:
        await self._do(self._table.close)
        self._thread.shutdown()

    def fingerprint(self, secret: Secret) -> str:
        return self._key.fingerprint(secret)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work` on the store's thread. What has begun is finished even when the waiter is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))

    def _escrow(self, key: InstanceKey, login: str, secret: Secret, run_id: str) -> Generation:
        value = self._key.encrypt(secret, self._recipients)
        record = self._table.add_pending(key, login=login, run_id=run_id, now=self._clock(), value=value)
        self._confirm(record, secret)
        return record

    def _insert(self, record: Generation, secret: Secret) -> None:
        stored = {each.generation: each.stage for each in self._table.stages(record.key)}
        if stored.get(record.generation) is record.stage:
            if self._reveal(record.key, record.generation) != secret:
                raise StoreConflict(f"{record.key}: generation {record.generation} is stored with another value")
            return
        self._table.insert(record, self._key.encrypt(secret, self._recipients))
        self._confirm(record, secret)

    def _confirm(self, record: Generation, secret: Secret) -> None:
        """The file gives the secret back; else StoreError, and the generation, which nobody has sent, is gone."""
        try:
            if self._reveal(record.key, record.generation) == secret:
                return
        except StoreError:
            self._table.discard(record)
            raise
        self._table.discard(record)
        raise StoreError(f"{record.key}: the store gave back another value than was written")

    def _reveal(self, key: InstanceKey, generation: int) -> Secret:
        return self._key.decrypt(self._table.value(key, generation))


def _open(
    path: Path, key_file: Path, recipients: tuple[str, ...], say: Callable[[str], None], *, create: bool
) -> tuple[Table, AgeKey, tuple[str, ...]]:
    table = Table(path, read_only=not create)
    try:
        empty = table.is_empty()
        if empty and not create:
            return table, passing_key(), recipients
        key, made = load_or_make(key_file, may_make=empty)
        if made:
            say(made_words(key_file, path))
        return table, key, _unlock(table, key, recipients, path, key_file, create=create)
    except (UsageError, StoreError):
        table.close()
        raise


def _unlock(
    table: Table, key: AgeKey, recipients: tuple[str, ...], path: Path, key_file: Path, *, create: bool
) -> tuple[str, ...]:
    """The key opens the store; who reads its values from now on. An empty store takes any key."""
    seal = table.seal()
    empty = table.is_empty()
    if seal and not empty:
        try:
            key.decrypt(seal.canary)
        except StoreError as error:
            raise UsageError(
                f"{path}: the age key {key_file} does not open this store; put back the key that it was made with,"
                " or name one of its recovery keys in BATCHMOD_AGE_KEY"
            ) from error
    earlier = _earlier(seal, path) if seal and not empty else ()
    readers = checked_recipients((key.recipient, *recipients, *earlier))
    if create and (seal is None or readers != seal.recipients):
        table.reseal(
            Seal(canary=key.encrypt(_CANARY, readers), recipients=readers),
            lambda value: key.encrypt(key.decrypt(value), readers),
        )
    return readers


def _earlier(seal: Seal, path: Path) -> tuple[str, ...]:
    """Who reads the stored values; UsageError when the file does not say so any more."""
    try:
        return checked_recipients(seal.recipients)
    except UsageError as error:
        raise UsageError(f"{path}: damaged: its list of recipients is none; restore it from a backup") from error
