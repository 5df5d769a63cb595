"""SIGINT and SIGTERM, from a command's first moment to its last."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from batchmod.app.speech import insist, say
from batchmod.engine.halt import Halt
from batchmod.model.events import StoppedBy

NOTHING_SENT = "interrupted: nothing was sent"
CAUGHT = (signal.SIGINT, signal.SIGTERM)


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

    def receive(self) -> None:
        """A stopped run sends nothing new and may settle for `drain` seconds; an ended command is cancelled."""
        self.received += 1
        if self.finishing and self.received == 1:
            return
        if self.sending and self.received == 1:
            self.stop(StoppedBy.SIGNAL)
        elif self._task is not None:
            if not self.sending:
                insist(NOTHING_SENT)
            self._task.cancel()


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
