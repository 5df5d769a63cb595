"""Campaigns that begin by the clock: procrastinate's own cron over the schedules in the database."""

import asyncio
from contextlib import suppress
from typing import Final

from procrastinate.periodic import PeriodicDeferrer, PeriodicRegistry
from procrastinate.tasks import Task

from batchmod.cluster.campaigns import Db
from batchmod.cluster.due import RUNS, TIME
from batchmod.cluster.jobs import Connections
from batchmod.cluster.lasting import goes_on
from batchmod.cluster.timetable import LATE
from batchmod.pg.link import FAILURES

LOOK: Final = 10.0  # seconds until a schedule that was added or removed is known to every worker

Crons = dict[str, str]  # by the name of a schedule


async def crons(db: Db) -> Crons:
    return {
        str(name): str(cron) for name, cron in await (await db.execute("SELECT name, cron FROM schedule")).fetchall()
    }


async def keep_time(connections: Connections, task: Task) -> None:  # type: ignore[type-arg]
    """Every schedule gets its job at its time, once however many workers keep time; times are UTC.

    A database that is away is waited for.
    """
    known: Crons = {}
    deferring: asyncio.Task[None] | None = None
    try:
        while goes_on():
            with suppress(*FAILURES):
                async with connections.connection() as db:
                    there = await crons(db)
                if there != known or (deferring is not None and deferring.done()):
                    if deferring is not None:
                        deferring.cancel()
                    known, deferring = there, asyncio.create_task(_defer(there, task))
            await asyncio.sleep(LOOK)
    finally:
        if deferring is not None:
            deferring.cancel()


async def _defer(there: Crons, task: Task) -> None:  # type: ignore[type-arg]
    registry = PeriodicRegistry()  # type: ignore[no-untyped-call]
    for name, cron in there.items():
        registry.register_task(
            task=task,
            cron=cron,
            periodic_id=name,
            configure_kwargs={"queue": RUNS, "lock": f"{TIME}:{name}", "task_kwargs": {"name": name}},
        )
    await PeriodicDeferrer(registry, max_delay=LATE).worker()
