"""A secret store whose values age encrypts, in a table that one thread alone touches. Where the table is, it knows not.

Every call that writes returns when it is durable; calls that wait together share a transaction. The event loop never waits
for the database or the cipher.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from batchmod.errors import StoreConflict, StoreError, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.agekey import AgeKey
from batchmod.secrets.line import Job, Line
from batchmod.secrets.rows import SecretTable, UnreachableError
from batchmod.secrets.store import Finding, adoption, demotion, key_of, promotion

T = TypeVar("T", bound=SecretTable)
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A generation that was put into the table, and what has to be found there: the ciphertext, and the secret in it."""

    record: Generation
    value: bytes
    secret: Secret


def in_its_thread(opening: Callable[[], R]) -> tuple[ThreadPoolExecutor, R]:
    """A thread of the store's own, and what was opened in it. UsageError when it cannot be; then the thread has ended."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="secrets")
    try:
        return thread, thread.submit(opening).result()
    except UsageError:
        thread.shutdown()
        raise
    except StoreError as error:
        thread.shutdown()
        raise UsageError(str(error)) from error


class SealedStore(ABC, Generic[T]):
    """A SecretStore over such a table; `close` ends its thread."""

    def __init__(
        self,
        table: T,
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

    async def insert_all(self, records: Sequence[tuple[Generation, Secret]]) -> None:
        """Each record is there as it is, or none of them is. StoreConflict when one's place is another's."""
        await self._line.read(None, partial(self._insert_all, records))

    async def diagnose(self) -> tuple[Finding, ...]:
        return await self._line.read(None, self._diagnosed)

    async def close(self) -> None:
        await self._line.read(None, self._table.close)
        self._thread.shutdown()

    def fingerprint(self, secret: Secret) -> str:
        return self._key.fingerprint(secret)

    @abstractmethod
    def _diagnosed(self) -> tuple[Finding, ...]:
        """What can be said of the store, in its thread."""

    def _begin(self) -> None:
        """A step that comes before those of the jobs in each transaction: nothing."""

    def _commit(self, jobs: Sequence[Job[Any]]) -> None:
        """What the jobs write is durable and confirmed, but for what was refused. When the commit fails, none of it is.

        What fails in one job's own statements is its own failure: the others are done without it.
        """
        in_order = sorted(
            jobs, key=lambda job: str(job.key)
        )  # everywhere the same: no two processes wait for each other
        try:
            self._table.write([self._begin, *(partial(_attempt, job) for job in in_order)])
        except StoreError as error:
            alone = len(jobs) == 1 or isinstance(error, UnreachableError)
            if not alone and any(job.error is error for job in jobs):
                for job in jobs:
                    job.error = None
                    self._commit([job])
            else:
                _fail(jobs, error)
            return
        self._confirm([job for job in jobs if job.error is None and isinstance(job.result, Written)])

    def _confirm(self, jobs: Sequence[Job[Written]]) -> None:
        """The database gives each value back; else the job has a StoreError, and its generation, never sent, is gone.

        Each is read from there, compared with the ciphertext that was made, and opened: a fault of a cipher or of this
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

    def _insert_all(self, records: Sequence[tuple[Generation, Secret]]) -> None:
        done: list[Written | None] = []
        in_order = sorted(records, key=lambda each: str(each[0].key))  # as in _commit
        self._table.write([self._begin, *(lambda each=each: done.append(self._insert(*each)) for each in in_order)])
        written = [each for each in done if each is not None]
        try:
            for each in written:
                self._compare(each)
        except StoreError:
            for each in written:
                self._table.discard(each.record)
            raise

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
    """The job was tried in an open transaction. What the database could not do may be half done: it is raised, too."""
    job.attempt()
    if isinstance(job.error, StoreError) and not isinstance(job.error, StoreConflict):
        raise job.error


def _fail(jobs: Sequence[Job[Any]], error: StoreError) -> None:
    """Each has an error of its own: they are raised in different tasks."""
    for job in jobs:
        job.error = StoreError(str(error))
        job.error.__cause__ = error.__cause__
