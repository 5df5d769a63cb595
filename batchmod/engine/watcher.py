"""One look at many instances: what waits on a lane is asked for 30 ids at a time, never one instance per poll."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from batchmod.engine.halt import HaltedError
from batchmod.errors import CallError

BATCH = 30  # ids in one DescribeInstances
LINGER = 0.25  # seconds in which looks that come one after the other become one call


class Sight(Protocol):
    """What is known of an instance that was read."""

    @property
    def status(self) -> str: ...


S = TypeVar("S", bound=Sight)
Look = Callable[[Sequence[str]], Awaitable[Mapping[str, S | CallError | None]]]  # a CallError is of that id alone


class Watcher(Generic[S]):
    """Looks on behalf of all rows of one lane. `run` must be running for `look` to return."""

    def __init__(self, look: Look[S]) -> None:
        self._look = look
        self._asked: deque[tuple[str, asyncio.Future[S | None]]] = deque()
        self._some = asyncio.Event()

    async def look(self, instance_id: str) -> S | None:
        """The instance as read after this call, None when it is gone.

        Raises CallError for a read that was refused, throttled or lost: it is the asker's deadline that counts.
        """
        answer: asyncio.Future[S | None] = asyncio.get_running_loop().create_future()
        self._asked.append((instance_id, answer))
        self._some.set()
        return await answer

    async def run(self) -> None:
        """Serves looks until it is cancelled."""
        while True:
            await self._some.wait()
            if len(self._asked) < BATCH:
                await asyncio.sleep(LINGER)
            batch = [self._asked.popleft() for _ in range(min(BATCH, len(self._asked)))]
            if not self._asked:
                self._some.clear()
            await self._serve([(name, answer) for name, answer in batch if not answer.done()])

    async def _serve(self, batch: list[tuple[str, asyncio.Future[S | None]]]) -> None:
        try:
            seen = await self._look(sorted({name for name, _ in batch}))
        except (CallError, HaltedError) as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for name, answer in batch:
            found = seen[name]
            if answer.done():
                continue
            if isinstance(found, CallError):
                answer.set_exception(found)
            else:
                answer.set_result(found)
