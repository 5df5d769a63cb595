"""Tasks that are to end, and do."""

import asyncio
from typing import Any, Final

AGAIN: Final = 5.0  # seconds until a task that goes on is cancelled again


async def end(*tasks: asyncio.Future[Any]) -> None:
    """All of them have ended. Python 3.11's wait_for loses a cancellation that comes in the same moment as what it waits for,
    and the driver of the database waits so: who is cancelled once may go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
