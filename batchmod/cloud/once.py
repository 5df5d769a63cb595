"""Work that is done once for all who need it at the same time. No I/O of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from batchmod.errors import CallError, Verdict


class Once:
    """One at a time; whoever waited while it was done shares its result, the error too."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._failures = 0
        self._error: CallError | None = None

    @property
    def running(self) -> bool:
        return self._turn.locked()

    async def run(self, work: Callable[[], Awaitable[None]], *, needed: Callable[[], bool]) -> None:
        """Afterwards nothing is `needed` any more. Raises the CallError of the work that this call did or waited for.

        When the one who does it is cancelled, the next who waits does it anew.
        """
        known = self._failures
        async with self._turn:
            if not needed():
                return
            if self._error is not None and self._failures != known:
                raise again(self._error)
            try:
                await work()
            except CallError as error:
                self._failures += 1
                self._error = error
                raise


def again(error: CallError, verdict: Verdict | None = None) -> CallError:
    """The same error as one of its own, with another verdict if one is given."""
    return CallError(
        verdict or error.verdict,
        code=error.code,
        message=error.message,
        request_id=error.request_id,
        status=error.status,
        retry_after=error.retry_after,
    )
