"""The failure budget as reservations: it cannot be exceeded, not even by what is in flight. No I/O."""

import asyncio
from collections import deque
from collections.abc import Callable

from batchmod.engine.halt import HaltedError


class Budget:
    """At most `limit` rows end failed or unresolved; None: any number.

    A row holds one slot from its first armed send to its outcome. `spent` counts what ended badly so far, `held` the
    rows that were in change or in doubt when the run was interrupted: their slots are theirs before anybody waits.
    """

    def __init__(
        self, limit: int | None, *, spent: int = 0, held: int = 0, exhausted: Callable[[], None] = lambda: None
    ) -> None:
        self._limit = limit
        self.spent = spent
        self.held = held
        self._exhausted = exhausted
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tell()

    @property
    def limit(self) -> int | None:
        return self._limit

    @property
    def free(self) -> bool:
        return self.limit is None or self.spent + self.held < self.limit

    def take(self) -> bool:
        """Takes a slot if one is free: for what cannot wait."""
        if not self.free:
            return False
        self.held += 1
        return True

    async def claim(self, seq: int) -> bool:  # noqa: ARG002  as Slots has it
        return self.take()

    async def reserve(self, seq: int = 0) -> None:  # noqa: ARG002  as Slots has it
        """Returns with a slot, first come, first served. Raises HaltedError once the budget is closed."""
        if self._closed:
            raise HaltedError
        if not self._waiting and self.take():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.give_back()  # granted and cancelled in the same moment
            raise

    def close(self) -> None:
        """Nobody gets a slot by waiting any more."""
        self._closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(HaltedError())

    def give_back(self, seq: int = 0) -> None:  # noqa: ARG002  as Slots has it
        """The row ended well, or nothing of it can be live: its slot is free again."""
        self.held -= 1
        self._serve()

    def spend(self, seq: int = 0) -> None:  # noqa: ARG002  as Slots has it
        """The row ended failed or unresolved: its slot is gone for good."""
        self.held -= 1
        self.spent += 1
        self._tell()

    def set_limit(self, limit: int | None) -> None:
        """From now on at most `limit`: who waits is served when it is more; who holds a slot beyond it keeps it."""
        self._limit = limit
        self._serve()
        self._tell()

    def _serve(self) -> None:
        while self._waiting and self.free:
            turn = self._waiting.popleft()
            if not turn.done():
                self.held += 1
                turn.set_result(None)

    def _tell(self) -> None:
        if self.limit is not None and self.spent >= self.limit:
            self._exhausted()
