"""A loop over what may fail ends when its task is cancelled, even where that is swallowed on its way."""

import asyncio


def goes_on() -> bool:
    """Whether nobody has cancelled this task. psycopg, cancelled while its connection breaks, raises that it is broken."""
    task = asyncio.current_task()
    return task is None or not task.cancelling()
