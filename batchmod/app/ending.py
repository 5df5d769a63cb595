"""How a worker is told to end: once in good order, twice at once, whatever it waits for."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Final

from batchmod.app.speech import insist, say
from batchmod.model.exits import INTERRUPTED

CAUGHT: Final = (signal.SIGINT, signal.SIGTERM)
AT_ONCE: Final = 2.0  # seconds that leaving at once may take in good order
LAST_WORD: Final = 0.5  # seconds for it: nobody may read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a worker process was told so far. `leaving`: not even for what is open is waited any more."""

    drain: float
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """For the block the first signal sets `draining`. The second cancels the task that the block is in, and ends the
        process AT_ONCE seconds later if it is still there, even after the block.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        came: SimpleQueue[bool] = SimpleQueue()  # what is safe where a signal interrupts anything
        before = {number: signal.getsignal(number) for number in CAUGHT}

        for number in CAUGHT:
            loop.add_signal_handler(number, self._told, task)
            signal.signal(
                number, lambda *_: came.put(True)
            )  # also while the loop is busy, or waits for the database itself
        Thread(target=_end_at_once, args=(came,), name="batchmod-ending", daemon=True).start()
        try:
            yield
        finally:
            came.put(False)
            for number in CAUGHT:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _told(self, task: asyncio.Task[object]) -> None:
        if self.draining.is_set():
            self.leaving.set()
            task.cancel()
            return
        say(
            f"ending: nothing new is begun; what is open settles for at most {self.drain:.0f} s, "
            "the rest is left to other workers (again to leave at once)"
        )
        self.draining.set()


def _end_at_once(came: SimpleQueue[bool]) -> None:
    """Returns when there is no need to."""
    if not (came.get() and came.get()):
        return
    time.sleep(AT_ONCE)
    word = Thread(target=insist, args=("left at once: what was open is settled by other workers",), daemon=True)
    word.start()
    word.join(LAST_WORD)
    os._exit(INTERRUPTED)
