"""Work that goes on beside other work, ends with it, and does end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` goes on for as long as the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
        if not task.cancelled():
            task.result()


async def first(*ends: asyncio.Event | asyncio.Task[None]) -> None:
    """Returns once one of the events is set, or one of the tasks has ended."""
    waits = {one: asyncio.ensure_future(one.wait()) for one in ends if isinstance(one, asyncio.Event)}
    tasks = [one for one in ends if not isinstance(one, asyncio.Event)]
    try:
        await asyncio.wait([*waits.values(), *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits.values():
            each.cancel()


async def unless_over(work: Coroutine[Any, Any, None], *ends: Coroutine[Any, Any, None]) -> bool:
    """Whether the work came to its end; else, when one of `ends` came first, it was cancelled."""
    task, others = asyncio.ensure_future(work), [asyncio.ensure_future(each) for each in ends]
    try:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        await end(task, *others)  # nothing of it goes on after this
        for each in (task, *others):
            each.cancelled() or each.exception()  # nobody else may hear of it
