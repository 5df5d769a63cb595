"""The secret store that needs no server: one SQLite file of age-encrypted values, and one thread that alone touches it.

Every call that writes returns when it is on disk; calls that wait together share a transaction and its fsync. The event
loop never waits for the disk or the cipher.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from batchmod.errors import StoreConflict, StoreError, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.agekey import AgeKey, checked_recipients, key_path
from batchmod.secrets.line import Job, Line
from batchmod.secrets.schema import FILE
from batchmod.secrets.store import Finding, adoption, demotion, key_of, promotion
from batchmod.secrets.table import Table
from batchmod.secrets.unlocking import open_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A generation that was put into the table, and what has to be found there: the ciphertext, and the secret in it."""

    record: Generation
    value: bytes
    secret: Secret


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
        self._line = Line(thread, self._commit)

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
            open_table, directory / FILE, key_path(environ), checked_recipients(recipients), say, create=create
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

    @property
    def commits(self) -> int:
        """Transactions made durable since it was opened."""
        return self._table.commits

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return await self._line.read(key, partial(self._table.stages, key))

    async def pending(self, key: InstanceKey) -> Generation | None:
        return await self._line.read(key, partial(self._table.at, key, Stage.PENDING))

    async def current(self, key: InstanceKey) -> Generation | None:
        return await self._line.read(key, partial(self._table.at, key, Stage.CURRENT))

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        return (await self._line.write(key, partial(self._escrow, key, login, secret, run_id))).record

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        return await self._line.read(key, partial(self._reveal, key, generation))

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._line.write(key, lambda: self._table.move(key, generation, promotion, now=self._clock()))

    async def adopt(self, key: InstanceKey, generation: int) -> Generation:
        return await self._line.write(key, lambda: self._table.move(key, generation, adoption, now=self._clock()))

    async def lookup(self, reference: str) -> Secret:
        """The reference is `<account id>/<region>/<instance id>`, or that and `#<generation>`; without one: current."""
        key, generation = key_of(reference)
        if generation is None:
            found = await self.current(key)
            generation = found.generation if found else None
        if generation is None or not any(each.generation == generation for each in await self.stages(key)):
            raise UsageError(f"no such password is stored: {reference}; `batchmod secrets list` shows what is")
        return await self.reveal(key, generation)

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._line.write(key, lambda: self._table.move(key, generation, demotion, now=self._clock()))

    async def all(self) -> tuple[Generation, ...]:
        return await self._line.read(None, self._table.all)

    async def insert(self, record: Generation, secret: Secret) -> None:
        await self._line.write(record.key, partial(self._insert, record, secret))

    async def diagnose(self) -> tuple[Finding, ...]:
        return await self._line.read(None, self._diagnosed)

    async def close(self) -> None:
        await self._line.read(None, self._table.close)
        self._thread.shutdown()

    def fingerprint(self, secret: Secret) -> str:
        return self._key.fingerprint(secret)

    def _diagnosed(self) -> tuple[Finding, ...]:
        """That it is open says that it is sound and that the key opens it."""
        path, count = self._table.path, len(self._table.all())
        there = path if path.exists() else path.parent
        writable = os.access(there, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
        opens = f"{path}: opens with the age key, {count} generations" if count else f"{path}: nothing is stored yet"
        writes = "can be written" if writable else f"cannot be written: give this user the right to write {there}"
        return (
            Finding(what="store", ok=True, text=opens),
            Finding(what="store, writing", ok=writable, text=f"{path}: {writes}"),
            Finding(what="store, versions", ok=True, text="all are kept, nothing that was ever sent is deleted"),
            Finding(what="store, clock", ok=True, text="this machine's"),
        )

    def _commit(self, jobs: Sequence[Job[Any]]) -> None:
        """What the jobs write is on disk and confirmed, but for what was refused. When the commit fails, none of it is.

        What fails in one job's own statements is its own failure: the others are done without it.
        """
        try:
            self._table.write(partial(_attempt, job) for job in jobs)
        except StoreError as error:
            if len(jobs) > 1 and any(job.error is error for job in jobs):
                for job in jobs:
                    job.error = None
                    self._commit([job])
            else:
                _fail(jobs, error)
            return
        self._confirm([job for job in jobs if job.error is None and isinstance(job.result, Written)])

    def _confirm(self, jobs: Sequence[Job[Written]]) -> None:
        """The file gives each value back; else the job has a StoreError, and its generation, never sent, is gone.

        Each is read from the file, compared with the ciphertext that was made, and opened: a fault of a cipher or of this
        machine's memory may befall one of many.
        """
        for job in jobs:
            assert job.result is not None
            job.attempt(partial(self._confirmed, job.result))

    def _escrow(self, key: InstanceKey, login: str, secret: Secret, run_id: str) -> Written:
        value = self._key.encrypt(secret, self._recipients)
        record = self._table.add_pending(key, login=login, run_id=run_id, now=self._clock(), value=value)
        return Written(record=record, value=value, secret=secret)

    def _insert(self, record: Generation, secret: Secret) -> Written | None:
        stored = {each.generation: each.stage for each in self._table.stages(record.key)}
        if stored.get(record.generation) is record.stage:
            if self._reveal(record.key, record.generation) != secret:
                raise StoreConflict(f"{record.key}: generation {record.generation} is stored with another value")
            return None
        value = self._key.encrypt(secret, self._recipients)
        self._table.insert(record, value)
        return Written(record=record, value=value, secret=secret)

    def _confirmed(self, written: Written) -> Written:
        try:
            self._compare(written)
        except StoreError:
            self._table.discard(written.record)
            raise
        return written

    def _compare(self, written: Written) -> None:
        key = written.record.key
        value = self._table.value(key, written.record.generation)
        if value != written.value or self._key.decrypt(value) != written.secret:
            raise StoreError(f"{key}: the store gave back another value than was written")

    def _reveal(self, key: InstanceKey, generation: int) -> Secret:
        return self._key.decrypt(self._table.value(key, generation))


def _attempt(job: Job[Any]) -> None:
    """The job was tried in an open transaction. What SQLite could not do may be half done: it is raised, too."""
    job.attempt()
    if isinstance(job.error, StoreError) and not isinstance(job.error, StoreConflict):
        raise job.error


def _fail(jobs: Sequence[Job[Any]], error: StoreError) -> None:
    """Each has an error of its own: they are raised in different tasks."""
    for job in jobs:
        job.error = StoreError(str(error))
        job.error.__cause__ = error.__cause__
