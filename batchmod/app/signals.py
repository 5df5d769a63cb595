"""SIGINT and SIGTERM, from a command's first moment to its last."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from batchmod.app.speech import insist, say
from batchmod.engine.halt import Halt
from batchmod.model.events import StoppedBy

NOTHING_SENT = "interrupted: nothing was sent"
CAUGHT = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


class Signals:
    """Until `sending` a signal ends the command; then the first one stops the run, and the second ends the command."""

    def __init__(self, halt: Halt, drain: float) -> None:
        self._halt = halt
        self._drain = drain
        self._task = asyncio.current_task()
        self.sending = False
        self.finishing = False  # the report is being written: the first signal changes nothing any more
        self.received = 0
        self.stopping = False  # somebody wants the run to end before its rows do
        self._hurry: asyncio.Event | None = None

    def stop(self, reason: StoppedBy) -> None:
        """The run sends nothing new and may settle for `drain` seconds from the first time on."""
        self._halt.stop(reason)
        if not self.stopping:
            self.stopping = True
            asyncio.get_running_loop().call_later(self._drain, self._halt.leave)
        say(
            f"stopping: nothing new is sent; what is open settles for at most {self._drain:.0f} s "
            "(again to leave at once)"
        )

    @contextmanager
    def hurrying(self) -> Iterator[asyncio.Event]:
        """For as long as the block, a signal sets the event and does nothing else: what has ended is not interrupted."""
        self._hurry = asyncio.Event()
        try:
            yield self._hurry
        finally:
            self._hurry = None

    def receive(self) -> None:
        """A stopped run sends nothing new and may settle for `drain` seconds; an ended command is cancelled."""
        self.received += 1
        if self._hurry is not None:
            self._hurry.set()
            return
        if self.finishing and self.received == 1:
            return
        if self.sending and self.received == 1:
            self.stop(StoppedBy.SIGNAL)
        elif self._task is not None:
            if not self.sending:
                insist(NOTHING_SENT)
            self._task.cancel()


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T], *, otherwise: T) -> T:
    """What `work` comes to; `otherwise` when the event came first, and then the work is cancelled."""
    task, came = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be there to hear of it
    try:
        await asyncio.wait({task, came}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else otherwise
    finally:
        task.cancel()
        came.cancel()


@contextmanager
def on_signals(halt: Halt, drain: float) -> Iterator[Signals]:
    """Signals are taken as Signals says, for as long as the block."""
    loop, signals = asyncio.get_running_loop(), Signals(halt, drain)
    before = {number: signal.getsignal(number) for number in CAUGHT}
    for number in CAUGHT:
        loop.add_signal_handler(number, signals.receive)
    try:
        yield signals
    finally:
        for number in CAUGHT:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


@contextmanager
def at_once() -> Iterator[None]:
    """A signal raises KeyboardInterrupt where it arrives: for a prompt, which no event loop can end."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in CAUGHT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
