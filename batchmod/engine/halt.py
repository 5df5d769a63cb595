"""How a run is brought to a stop or held for a while: nothing new is sent at once, what is open may settle."""

import asyncio
from collections.abc import Callable

from batchmod.model.events import StoppedBy


class HaltedError(Exception):
    """Raised inside a walk that must leave its row open; never seen by a user."""


class PausedError(HaltedError):
    """Raised where an attempt would go out while the run is paused: it has to wait for its turn anew."""


class Halt:
    """`stop` closes the gate for sends; `leave` ends the waits too. Both are final. `pause` closes it until `go_on`."""

    def __init__(self, held: Callable[[], bool] = lambda: True) -> None:
        """`held`: whether this process is still the only one that works on these rows; once it is not, all is over."""
        self._held = held
        self._going = asyncio.Event()
        self._going.set()
        self._listeners: list[Callable[[StoppedBy], None]] = []
        self._leavers: list[Callable[[], None]] = []
        self._left = asyncio.Event()
        self._stopped = asyncio.Event()
        self.reason: StoppedBy | None = None

    def stop(self, reason: StoppedBy) -> None:
        """From here on nothing is sent. The first reason stays."""
        if self.reason is None:
            self.reason = reason
            self._stopped.set()
            self._going.set()  # who waits for the end of a pause is told
            for tell in self._listeners:
                tell(reason)

    def on_stop(self, tell: Callable[[StoppedBy], None]) -> None:
        """`tell` is called with the reason, once, when the run stops."""
        self._listeners.append(tell)

    def leave(self) -> None:
        """From here on nothing is waited for either."""
        if not self._left.is_set():
            self._left.set()
            for tell in self._leavers:
                tell()

    @property
    def left(self) -> bool:
        return self._left.is_set()

    def on_leave(self, tell: Callable[[], None]) -> None:
        """`tell` is called, once, when nothing is waited for any more."""
        self._leavers.append(tell)

    def pause(self) -> None:
        """Nothing is sent until `go_on`; what is open settles on. A run that stops is not paused."""
        if self.reason is None:
            self._going.clear()

    def go_on(self) -> None:
        """What was paused may be sent."""
        self._going.set()

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    async def unpaused(self) -> None:
        """Returns when the run is not paused. Raises HaltedError once it is stopped."""
        while self.paused:
            await self._going.wait()
        self.check()

    def check(self) -> None:
        """Raises HaltedError when nothing may be sent any more."""
        if self.reason is not None:
            raise HaltedError

    def check_now(self) -> None:
        """Raises HaltedError when nothing may be sent any more, and PausedError when nothing may be sent now."""
        self.check()
        if self.paused:
            raise PausedError

    def check_held(self) -> None:
        """Raises HaltedError when another process may work on these rows by now: nothing is sent, not even to look."""
        if not self._held():
            self.stop(StoppedBy.STORE)
            self.leave()
            raise HaltedError

    async def stopped(self) -> None:
        """Returns once nothing may be sent any more."""
        await self._stopped.wait()

    async def gone(self) -> None:
        """Returns once nothing is waited for any more."""
        await self._left.wait()

    async def sleep(self, seconds: float, *, sending: bool) -> None:
        """Returns after `seconds`; raises HaltedError as soon as the wait is pointless.

        A wait before a send is pointless after `stop`, any other after `leave`.
        """
        event = self._stopped if sending else self._left
        if not event.is_set():
            if seconds <= 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                return
        raise HaltedError
