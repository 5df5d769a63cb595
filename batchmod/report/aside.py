"""Work that blocks, perhaps for ever: on a thread of its own, which neither the loop nor the end of the process waits for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """What `work` comes to, which raises nothing; who does not wait for it any more leaves the thread behind."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T) -> None:
        if not answer.done():
            answer.set_result(result)

    def run() -> None:
        result = work()
        with suppress(RuntimeError):  # nobody waits any more, not even the loop
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer
