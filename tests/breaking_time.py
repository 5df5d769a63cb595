"""An event loop on which waiting costs nothing: when all that is left to do is to wait, its clock jumps.

It is deterministic too: what a thread has to say is heard only when nothing else is left to do, and one thread works at
a time.
"""

import asyncio
import queue
import selectors
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")
STUCK = 60.0  # real seconds that a thread may work for the loop


class StuckError(Exception):
    """The loop has nothing to wait for, or a thread does not answer: a bug of the product or of the schedule."""


class Skipping(selectors.DefaultSelector):
    """Never sleeps for a timer. `outside` counts what threads are asked for: those are really waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.outside = 0
        self.passing: Callable[[float], None] = lambda _: None  # told how far the clock will jump, before it does
        self.heard: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []
        if self.outside:
            try:
                self.heard.get(timeout=STUCK)()
            except queue.Empty:
                raise StuckError("a thread does not answer") from None
        elif timeout is None:
            raise StuckError("everything waits, for nothing")
        else:
            self.pass_time(timeout)
        return []

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        self.passing(until)
        self.now = until


class SkippingLoop(asyncio.SelectorEventLoop):
    """Time begins at 0 and is moved by `select` alone."""

    def __init__(self) -> None:
        self.skipping = Skipping()
        self.turn = asyncio.Lock()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.now

    def call_soon_threadsafe(  # type: ignore[override]  # what is called is not looked at
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.current_thread() is threading.main_thread():
            return self.call_soon(callback, *args, context=context)
        self.skipping.heard.put(lambda: self.call_soon(callback, *args, context=context))
        return asyncio.Handle(callback, args, self, context)


def the_loop() -> SkippingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    return loop


@asynccontextmanager
async def outside() -> AsyncIterator[None]:
    """Inside, a thread works for the loop, as the only one: time stands still until it has answered."""
    loop = the_loop()
    async with loop.turn:
        loop.skipping.outside += 1
        try:
            yield
        finally:
            loop.skipping.outside -= 1


def run_skipping(work: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(work)
