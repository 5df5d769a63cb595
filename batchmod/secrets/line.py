"""Where calls wait for the store's one thread: it takes all that wait, and what they write is one transaction."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from batchmod.model.secret import InstanceKey

T = TypeVar("T")


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Generic[T]):
    """One call: what is to be done, who waits for it, and in the end its result or its error."""

    key: InstanceKey | None  # the instance that it concerns; None: all of them
    work: Callable[[], T]
    writes: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None

    def attempt(self, work: Callable[[], T] | None = None) -> None:
        """The work, or this in its place, was done. What it raises is its own waiter's and touches no other job."""
        try:
            self.result = (work or self.work)()
        except Exception as error:  # noqa: BLE001  handed on as it is, as an executor does
            self.error = error


class Line:
    """First come, first served; each waiter hears of its job when all that was taken with it is done.

    `write` does the writing jobs that it is given, no two of one instance, and leaves in each its result or error.
    """

    def __init__(self, thread: ThreadPoolExecutor, write: Callable[[Sequence[Job[Any]]], None]) -> None:
        self._thread = thread  # has one thread
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[Job[Any]] = []  # as long as it is not empty, it is about to be taken
        self._known = 0  # of those, how many waited a turn of the event loop ago

    async def read(self, key: InstanceKey | None, work: Callable[[], T]) -> T:
        """The result of `work`, done after every write of this instance that was called before it."""
        return await self._stand(key, work, writes=False)

    async def write(self, key: InstanceKey, work: Callable[[], T]) -> T:
        """The same, and what it wrote is durable. What has begun is finished even when the waiter is cancelled."""
        return await self._stand(key, work, writes=True)

    async def _stand(self, key: InstanceKey | None, work: Callable[[], T], *, writes: bool) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        job = Job(key=key, work=work, writes=writes, loop=loop, done=done)
        with self._lock:
            self._waiting.append(job)
            first = len(self._waiting) == 1
        if first:
            loop.call_soon(self._hand_over, loop)
        return await done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread is woken for all that turns of the event loop bring one after the other: each time costs more than
        a job. A turn that brings none ends it, as does every one in which nothing else is to be done.
        """
        with self._lock:
            more, self._known = len(self._waiting) > self._known, len(self._waiting)
        if more:
            loop.call_soon(self._hand_over, loop)
        else:
            self._thread.submit(self._serve)

    def _serve(self) -> None:
        with self._lock:
            taken, self._waiting, self._known = self._waiting, [], 0
        batch = [job for job in taken if not job.done.cancelled()]
        try:
            for part in parts(batch):
                self._do(part)
        except BaseException as error:  # noqa: BLE001  a bug; who is told nothing would wait for ever
            for job in batch:
                job.error = error
        for loop in {job.loop for job in batch}:
            with suppress(RuntimeError):  # that loop has ended: nobody is left to be told
                loop.call_soon_threadsafe(_answer, [job for job in batch if job.loop is loop])

    def _do(self, part: Sequence[Job[Any]]) -> None:
        for job in part:
            if not job.writes:
                job.attempt()
        if writes := [job for job in part if job.writes]:
            self._write(writes)


def parts(batch: Sequence[Job[Any]]) -> Iterator[list[Job[Any]]]:
    """The jobs in their order, parted so that no two of a part concern one instance: then none can see another."""
    part: list[Job[Any]] = []
    keys: set[InstanceKey | None] = set()
    for job in batch:
        if part and (job.key in keys or job.key is None or None in keys):
            yield part
            part, keys = [], set()
        part.append(job)
        keys.add(job.key)
    if part:
        yield part


def _answer(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        if job.done.done():  # cancelled: what was done stays, nobody asks
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)
