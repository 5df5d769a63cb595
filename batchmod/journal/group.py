"""One thread that writes for many: whatever is queued becomes one commit, and all who wait for it are told at once.

Knows no database: what is written, and how it is committed, is a sink's business.
"""

import asyncio
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future as Promise
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from batchmod.errors import JournalError

W = TypeVar("W")
W_contra = TypeVar("W_contra", contravariant=True)

Answers = Mapping[int, object]  # by place in the batch
NONE: Final[Answers] = {}


class Sink(Protocol[W_contra]):
    """Where a batch is committed, by one thread alone."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What `commit` raises when the batch is not committed, or nobody can tell."""

    def commit(self, batch: Sequence[W_contra]) -> Answers:
        """All of the batch is durable, but for the writes whose answer is a JournalError. Who waits for a write gets the
        answer to it: None, where none is given; an exception is raised.
        """

    def why(self, error: Exception) -> str:
        """What one of the failures says, fit to be shown."""

    def close(self) -> None:
        """What a failed commit left is rolled back."""


class _Write(NamedTuple, Generic[W]):
    what: W | None  # nothing: somebody only wants to know that what came before is written
    done: "asyncio.Future[Any] | Promise[Any] | None"  # of who waits for it


class GroupWriter(Generic[W]):
    """Owns a sink; nobody else may use it from then on."""

    def __init__(self, sink: Sink[W], *, name: str) -> None:
        self._sink = sink
        self._name = name
        self._gathered: list[_Write[W]] = []  # in this turn of the event loop, and in those before it that brought one
        self._awaited = self._known = 0  # of those gathered, how many are waited for, and were so a turn ago
        self._queue: queue.SimpleQueue[list[_Write[W]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # between "may I queue?" and the end of the queue
        self._refusal: str | None = None
        self._cause: Exception | None = None
        self._commits = 0
        # A daemon: a process that dies of a bug must not wait for a close that never comes.
        self._thread = threading.Thread(target=self._serve, name="batchmod-journal", daemon=True)
        self._thread.start()

    @property
    def commits(self) -> int:
        """Transactions made durable so far."""
        return self._commits

    async def write(self, what: W | None) -> Any:
        """It is durable, all or nothing; what the sink answered. Raises JournalError, as does every call after a failed
        one.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Write(what, done))
        return await done

    def note(self, what: W) -> None:
        """It is queued; when a later `write` returns, it is durable. Raises JournalError once a write is known to have
        failed; what becomes of this one, the next call says.
        """
        self._put(_Write(what, None))

    def drain(self) -> None:
        """What is queued is written, or nothing more will be."""
        written: Promise[Any] = Promise()
        with self._lock:
            if self._refusal is None:
                self._queue.put([*self._take(), _Write(None, written)])
            else:
                written.set_result(None)
        with suppress(JournalError):  # the next call says so
            written.result()

    def close(self) -> None:
        """What is queued is written, the thread has ended and the sink is closed."""
        with self._lock:
            if self._refusal is None:
                self._refusal = f"{self._name}: the journal is closed"
                self._queue.put(self._take())
                self._queue.put(None)
        self._thread.join()

    def _put(self, write: _Write[W]) -> None:
        """The thread is woken once for all that turns of the event loop write one after the other: each time costs the loop
        its lock. A turn that brings nothing more to wait for ends it, as does every one in which nothing else is to be done.
        """
        with self._lock:
            if self._refusal is not None:
                raise JournalError(self._refusal) from self._cause
            self._gathered.append(write)
            self._awaited += write.done is not None
            first = len(self._gathered) == 1
        if first:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            if self._known < self._awaited and self._refusal is None:
                self._known = self._awaited
                asyncio.get_running_loop().call_soon(self._hand_over)
                return
            gathered = self._take()
            if self._refusal is None and gathered:
                self._queue.put(gathered)
                return
        self._answer(gathered, self._failed(gathered, self._refusal))

    def _take(self) -> list[_Write[W]]:
        """What was gathered; the lock is held."""
        gathered, self._gathered, self._awaited, self._known = self._gathered, [], 0, 0
        return gathered

    def _serve(self) -> None:
        batch: list[_Write[W]] = []
        refusal = f"{self._name}: the journal's writer died"  # of a bug, whose traceback is on stderr
        try:
            while batch := self._next():
                self._answer(batch, self._commit(batch))
            refusal = f"{self._name}: the journal is closed"
        except self._sink.failures as error:
            refusal = f"{self._name}: the journal cannot be written: {self._sink.why(error)}"
            self._cause = error
        finally:
            with self._lock:
                self._refusal = refusal
            left = [*batch, *self._left()]
            self._answer(left, self._failed(left, refusal))
            self._sink.close()

    def _next(self) -> list[_Write[W]]:
        """Everything that waits, at least one; nothing once the queue is closed and empty."""
        batch: list[_Write[W]] = []
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

    def _left(self) -> list[_Write[W]]:
        left: list[_Write[W]] = []
        with suppress(queue.Empty):
            while True:
                left += self._queue.get_nowait() or ()
        return left

    def _commit(self, batch: Sequence[_Write[W]]) -> Answers:
        """By place in this batch, in which some only wait."""
        places = [place for place, write in enumerate(batch) if write.what is not None]
        answers = self._sink.commit([write.what for write in batch if write.what is not None]) if places else NONE
        self._commits += bool(places)
        return {places[place]: answer for place, answer in answers.items()}

    def _failed(self, batch: Sequence[_Write[W]], refusal: str | None) -> Answers:
        return {place: self._error(refusal) for place, write in enumerate(batch) if write.done is not None}

    def _error(self, refusal: str | None) -> JournalError:
        error = JournalError(refusal)
        error.__cause__ = self._cause
        return error

    def _answer(self, batch: Sequence[_Write[W]], answers: Answers) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], object]]] = {}
        for place, (_, done) in enumerate(batch):
            match done:
                case None:
                    continue
                case Promise():
                    _tell(done, answers.get(place))
                case _:
                    loops.setdefault(done.get_loop(), []).append((done, answers.get(place)))
        for loop, told in loops.items():
            with suppress(RuntimeError):  # that loop has ended: nobody is left to be told
                loop.call_soon_threadsafe(_tell_all, told)


def _tell_all(told: Sequence[tuple["asyncio.Future[Any]", object]]) -> None:
    for waiter, answer in told:
        if not waiter.done():  # cancelled: the record stays, nobody asks
            _tell(waiter, answer)


def _tell(waiter: "asyncio.Future[Any] | Promise[Any]", answer: object) -> None:
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
