"""One thread that writes for many: whatever is queued goes into one transaction, one fsync and few statements."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from typing import Final, NamedTuple

from batchmod.errors import JournalError

CHUNK: Final = 64  # records of a statement at most: with each statement the interpreter's lock changes hands

Record = tuple[str | int | None, ...]
Inserts = tuple[str, Iterable[Record]]  # `INSERT INTO table (columns)`, and the values of each record


class _Write(NamedTuple):
    inserts: Sequence[Inserts]
    done: asyncio.Future[None] | None  # of who waits for it


class Writer:
    """Owns a connection in autocommit mode; nobody else may use it from then on."""

    def __init__(self, connection: sqlite3.Connection, *, name: str) -> None:
        self._connection = connection
        self._name = name
        self._gathered: list[_Write] = []  # in this turn of the event loop
        self._queue: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
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

    async def write(self, *inserts: Inserts) -> None:
        """The records are durable, all or none. Raises JournalError, as does every call after a failed one."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Write(inserts, done))
        await done

    def note(self, *inserts: Inserts) -> None:
        """The records are queued; when a later `write` returns, they are durable. Raises JournalError once a write is
        known to have failed; what becomes of this one, the next call says.
        """
        self._put(_Write(inserts, None))

    def close(self) -> None:
        """What is queued is written, the thread has ended and the connection is closed."""
        with self._lock:
            if self._refusal is None:
                self._refusal = f"{self._name}: the journal is closed"
                self._queue.put(self._gathered)
                self._gathered = []
                self._queue.put(None)
        self._thread.join()

    def _put(self, write: _Write) -> None:
        """The thread is woken once for all that one turn of the event loop writes: each time costs the loop its lock."""
        with self._lock:
            if self._refusal is not None:
                raise JournalError(self._refusal) from self._cause
            self._gathered.append(write)
            first = len(self._gathered) == 1
        if first:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            gathered, self._gathered = self._gathered, []
            if self._refusal is None and gathered:
                self._queue.put(gathered)
                return
        self._answer(gathered, self._refusal)

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
        batch: list[_Write] = []
        writes = self._queue.get()
        while writes is not None:
            batch += writes
            try:
                writes = self._queue.get_nowait()
            except queue.Empty:
                if batch:
                    return batch
                writes = self._queue.get()
        if batch:
            self._queue.put(None)  # the end comes again when these are written
        return batch

    def _left(self) -> list[_Write]:
        left: list[_Write] = []
        with contextlib.suppress(queue.Empty):
            while True:
                left += self._queue.get_nowait() or ()
        return left

    def _commit(self, batch: Sequence[_Write]) -> None:
        statements = _statements(batch)
        first, second = next(statements, None), next(statements, None)
        if first is None:
            return  # somebody only wanted to know that it was written
        if second is None:
            self._connection.execute(*first)  # a transaction of its own
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in chain((first, second), statements):
                self._connection.execute(*statement)
            self._connection.execute("COMMIT")
        self._commits += 1

    def _answer(self, batch: Sequence[_Write], refusal: str | None) -> None:
        waiters = [write.done for write in batch if write.done is not None]
        for loop in {waiter.get_loop() for waiter in waiters}:
            mine = [waiter for waiter in waiters if waiter.get_loop() is loop]
            with contextlib.suppress(RuntimeError):  # that loop has ended: nobody is left to be told
                loop.call_soon_threadsafe(_resolve, mine, refusal, self._cause)


def _statements(batch: Sequence[_Write]) -> Iterator[tuple[str, Record]]:
    """The batch table by table, each table's records in their order, many to a statement."""
    tables: dict[str, list[Iterable[Record]]] = {}
    for write in batch:
        for insert, records in write.inserts:
            tables.setdefault(insert, []).append(records)
    for insert, parts in tables.items():
        records = chain.from_iterable(parts)
        while chunk := list(islice(records, CHUNK)):
            yield _sql(insert, len(chunk[0]), len(chunk)), tuple(chain.from_iterable(chunk))


@cache
def _sql(insert: str, values: int, records: int) -> str:
    one = f"({', '.join('?' * values)})"
    return f"{insert} VALUES {', '.join([one] * records)}"


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
