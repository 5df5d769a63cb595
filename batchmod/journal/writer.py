"""One thread that writes for many waiters: whatever is queued goes into one transaction and one fsync."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchmod.errors import JournalError

Statement = tuple[str, Iterable[tuple[str | int | None, ...]]]  # SQL, and the parameters of each time it is executed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    statements: Sequence[Statement]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Writer:
    """Owns a connection in autocommit mode; nobody else may use it from then on."""

    def __init__(self, connection: sqlite3.Connection, *, name: str) -> None:
        self._connection = connection
        self._name = name
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # between "may I queue?" and the end of the queue
        self._refusal: str | None = None
        self._cause: sqlite3.Error | None = None
        self._commits = 0
        # A daemon: a process that dies of a bug must not wait for a close that never comes.
        self._thread = threading.Thread(target=self._serve, name="batchmod-journal", daemon=True)
        self._thread.start()

    @property
    def commits(self) -> int:
        """Transactions made durable so far."""
        return self._commits

    async def write(self, *statements: Statement) -> None:
        """The statements are durable, all or none. Raises JournalError, as does every call after a failed one."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._refusal is not None:
                raise JournalError(self._refusal) from self._cause
            self._queue.put(_Write(statements=statements, loop=loop, done=done))
        await done

    def close(self) -> None:
        """What is queued is written, the thread has ended and the connection is closed."""
        with self._lock:
            if self._refusal is None:
                self._refusal = f"{self._name}: the journal is closed"
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        batch: list[_Write] = []
        refusal = f"{self._name}: the journal's writer died"  # of a bug, whose traceback is on stderr
        try:
            while batch := self._next():
                self._commit(batch)
                self._answer(batch, None)
            refusal = f"{self._name}: the journal is closed"
        except sqlite3.Error as error:
            refusal = f"{self._name}: the journal cannot be written: {error}"
            self._cause = error
        finally:
            with self._lock:
                self._refusal = refusal
            self._answer([*batch, *self._left()], refusal)
            self._connection.close()  # rolls back what a failed transaction left

    def _next(self) -> list[_Write]:
        """Everything that waits, at least one; nothing once the queue is closed and empty."""
        batch = []
        write = self._queue.get()
        while write is not None:
            batch.append(write)
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)  # the end comes again when these are written
        return batch

    def _left(self) -> list[_Write]:
        left = []
        with contextlib.suppress(queue.Empty):
            while True:
                left.append(self._queue.get_nowait())
        return [write for write in left if write is not None]

    def _commit(self, batch: Sequence[_Write]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for write in batch:
            for sql, parameters in write.statements:
                self._connection.executemany(sql, parameters)
        self._connection.execute("COMMIT")
        self._commits += 1

    def _answer(self, batch: Sequence[_Write], refusal: str | None) -> None:
        for loop in {write.loop for write in batch}:
            waiters = [write.done for write in batch if write.loop is loop]
            with contextlib.suppress(RuntimeError):  # that loop has ended: nobody is left to be told
                loop.call_soon_threadsafe(_resolve, waiters, refusal, self._cause)


def _resolve(waiters: Sequence[asyncio.Future[None]], refusal: str | None, cause: sqlite3.Error | None) -> None:
    for waiter in waiters:
        if waiter.done():  # cancelled: the record stays, nobody asks
            continue
        if refusal is None:
            waiter.set_result(None)
        else:
            error = JournalError(refusal)
            error.__cause__ = cause
            waiter.set_exception(error)
