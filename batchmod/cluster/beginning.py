"""A run is given to the workers, by one process at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection

from batchmod.cluster.campaigns import Chunk, begin
from batchmod.cluster.due import FAILURES as OF_JOBS
from batchmod.cluster.due import enqueue_due, manager_without_pool
from batchmod.errors import UsageError
from batchmod.pg.link import FAILURES, connect_async, usable
from batchmod.pg.place import Place

Db = AsyncConnection[Any]
Also = Callable[[Db], Awaitable[None]]


@asynccontextmanager
async def alone(place: Place, name: str) -> AsyncIterator[Db]:
    """Nobody else begins or takes up a run of this name meanwhile, for as long as the connection stands that the block is
    given: what makes a campaign of the run is done on it. Raises UsageError when somebody else does just now.
    """
    with usable(place):
        db = await connect_async(place)
    try:
        with usable(place):
            key = ("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"batchmod campaign {name}",))
            mine = await (await db.execute(*key)).fetchone()
        if mine != (True,):
            raise UsageError(f"another process submits or takes up a run of {name} just now: see what comes of that")
        yield db
    finally:
        await db.close()


async def nothing(_: Db) -> None:
    """Nothing else is done with it."""


async def give(  # what a campaign is
    db: Db,
    place: Place,
    run_id: str,
    chunks: Sequence[Chunk],
    *,
    endpoint: str | None,
    submitted: str,
    closing: bool = False,
    forgiven: bool = False,
    also: Also = nothing,
) -> None:
    """The campaign is open with these chunks, and workers hear of it. `closing`: nothing of it is sent; `forgiven`:
    failures from before hold no place of its budget any more; `also`: what is done then, or nothing is.

    Raises UsageError when that is not so.
    """
    with usable(place):
        async with db.transaction():
            if forgiven:
                await db.execute("DELETE FROM slot WHERE run = %s AND spent", (run_id,))
            await begin(db, run_id, chunks, endpoint=endpoint, submitted=submitted, closing=closing)
            await also(db)
    with suppress(
        *FAILURES, *OF_JOBS
    ):  # only to be quick: the campaign is there, and workers look for it by themselves
        await enqueue_due(manager_without_pool(), db)
