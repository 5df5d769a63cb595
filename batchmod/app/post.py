"""One registration of a worker process with the database: what its jobs share, and when all of it is over."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from batchmod.app.options import Options
from batchmod.app.tasks import first
from batchmod.cluster.campaigns import Campaign, Db, campaign_of, stop
from batchmod.cluster.due import FAILURES
from batchmod.cluster.jobs import Connections
from batchmod.cluster.lease import Lease, Leases
from batchmod.cluster.progress import heard
from batchmod.cluster.refusals import Rest, others_than
from batchmod.errors import JournalError
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.model.events import StoppedBy
from batchmod.pg.link import Error, why
from batchmod.pg.links import ALL
from batchmod.pg.place import Place

T = TypeVar("T")
EVERY = 1.0  # seconds between two looks at what was said to a run
GRACE = 1.0  # seconds until what still waits for the database once all is over is cut off
AWAY = (JournalError, Error, *FAILURES)
"""What says that the database is away, or that it is not known what it was told last."""


class HandedOverError(Exception):
    """Raised where the work is left to another worker; never seen by a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What the jobs of one process share. `draining`: this process is to end, and nothing of it begins anew; `lost`: the
    database is away, or this process was taken for dead, so that nothing more may be sent or written.
    """

    options: Options
    place: Place
    journal: PostgresJournal
    leases: Leases
    holder: str  # what leases call this registration
    connections: Connections
    draining: asyncio.Event
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    troubles: list[str] = field(default_factory=list)  # what it was lost for
    rest: Rest = field(default_factory=Rest)  # after work that it could not do

    def lose(self, error: BaseException) -> None:
        """It is over: whether the database was told the last that happened, nobody knows, and the next one finds out."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]  # any says it
        self.troubles.append(why(error))
        self.lost.set()

    def leave_if_away(self, error: Exception) -> None:
        """Returns when nothing of it says that the database is away. Else the post is lost, and raised is what it says
        beside that; HandedOverError, when that is nothing.
        """
        away, rest = parted(error)
        if away is not None:
            self.lose(away)
            raise rest or HandedOverError from None

    @property
    def trouble(self) -> str:
        """What it was lost for."""
        return self.leases.trouble or next(iter(self.troubles), "") or "the registration was lost"

    async def cut_off(self) -> None:
        """Once it is lost, nothing waits for the database for long, and it is asked nothing any more. Returns then."""
        await first(self.lost, self.leases.lost)
        cut = self.leases.lost.is_set()  # else others take over sooner what is given back in good order
        self.lost.set()
        await asyncio.sleep(0.0 if cut else GRACE)
        ALL.cut()
        await self.connections.connector.pool.close(timeout=GRACE)

    def connection(self) -> AbstractAsyncContextManager[Db]:
        """One of the shared connections; what is done with it is committed at the end of the block."""
        return self.connections.connection()

    async def campaign(self, run_id: str) -> Campaign | None:
        async with self.connection() as db:
            return await campaign_of(db, run_id)

    async def hears(self, run_id: str, fence: Fence, said: int) -> None:
        """Whoever waits for it knows that all that was said up to there holds where somebody works under this lease."""
        async with self.connection() as db:
            await heard(db, run_id, fence, said)

    async def stop(self, run_id: str, reason: StoppedBy) -> None:
        """All who work on the run are told to stop."""
        async with self.connection() as db:
            await stop(db, run_id, reason)

    async def over(self, lease: Lease) -> None:
        """Returns once this process may not go on with what it holds the lease for."""
        await first(self.lost, lease.gone, self.leases.lost)

    def may_take(self, campaign: Campaign) -> bool:
        """Whether it is open, and this worker speaks to the same service as who submitted it: others have other queues."""
        return campaign.is_open and campaign.endpoint == self.options.endpoint

    async def leaves_to_others(self, run_id: str, refused: Collection[str]) -> bool:
        """Whether this worker is one of those that could not do it, and others are there that may."""
        if self.holder not in refused:
            return False
        async with self.connection() as db:
            others = await others_than(db, run_id, refused)
        self.refused(others=others)
        return others

    def refused(self, *, others: bool) -> None:
        """What this worker took it could not do: `others` are to take the next one."""
        if others:
            self.rest.begin()


def parted(error: Exception) -> tuple[Exception | None, Exception | None]:
    """What of it, however deep in groups, says that the database is away, and what says something else."""
    if isinstance(error, ExceptionGroup):
        away, rest = error.split(AWAY)
        return _alone(away), _alone(rest)
    return (error, None) if isinstance(error, AWAY) else (None, error)


def _alone(error: Exception | None) -> Exception | None:
    """Out of the groups that hold nothing else."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def apart(work: Callable[[], T], *, patience: float | None = None) -> T:
    """What it comes to in a thread. It has ended in any case: who is cancelled waits for it, too.

    `patience`: seconds after which whatever waits for the database in this process is cut off.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.wait({task}, timeout=patience)
        if not task.done():
            ALL.cut()
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.exception()  # nobody is there to hear of it
        raise


def bug_of(error: BaseException) -> str:
    """What others are told of an exception that nobody foresaw; its text may hold a secret."""
    return f"a bug of batchmod ({type(error).__qualname__}): see what that worker said"
