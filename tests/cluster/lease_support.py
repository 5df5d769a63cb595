"""A campaign in a database of the tests' own, and processes that work on it: each has a journal and a lease of its own."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from journal_records import a_run
from postgres import Database

from batchmod.cluster.campaigns import begin
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.model.plan import PlannedRow
from batchmod.pg.link import linked

RUN = "20260304T050607Z-1a2b"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def until(found: Callable[[], object]) -> None:
    """Returns once it is so; the test's own time limit is the deadline."""
    while not found():  # noqa: ASYNC110  the database tells nobody
        await asyncio.sleep(0.01)


async def a_campaign(database: Database, rows: Iterable[PlannedRow], run_id: str = RUN) -> None:
    """It is open and has these rows, in no chunk yet."""
    journal = PostgresJournal.open(database.place)
    await journal.open_run(a_run(run_id), list(rows))
    journal.close()
    async with linked(database.place) as db:
        await begin(db, run_id, [], endpoint=None, submitted="by the tests")


@dataclass(frozen=True, kw_only=True)
class Process:
    """What one of many processes has: a journal, and the view of it that stands under a lease."""

    journal: PostgresJournal
    view: PostgresJournal

    def close(self) -> None:
        self.view.close()
        self.journal.close()


def a_process(database: Database, key: str) -> Process:
    """It has taken the lease over from whoever had it."""
    statement = "INSERT INTO lease (key, epoch) VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET epoch = lease.epoch + 1"
    ((epoch,),) = database.execute(f"{statement} RETURNING epoch", key)
    journal = PostgresJournal.open(database.place)
    return Process(journal=journal, view=journal.under(Fence(key=key, epoch=int(str(epoch)))))
