"""How jobs are worked on: procrastinate's workers, as many jobs of each queue at once as there may be."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import procrastinate
from procrastinate import PsycopgConnector, jobs
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.manager import JobManager
from procrastinate.retry import RetryStrategy
from procrastinate.worker import Worker

from batchmod.cluster.campaigns import Db
from batchmod.cluster.due import RUNS, STALLED, SWEEP, SWEEPS, TIME, queue_of, sweep
from batchmod.cluster.refusals import Patient, Rest
from batchmod.pg.conninfo import terms
from batchmod.pg.link import FAILURES as DATABASE
from batchmod.pg.link import require_private
from batchmod.pg.place import Place

BEAT: Final = 2.0  # seconds between two signs of life of a worker
SWEEP_CRON: Final = "* * * * * *"  # every second: croniter has seconds last
RUNS_AT_ONCE: Final = 64  # conductors in one process: they mostly wait
POLL: Final = 0.5  # seconds until a job is looked for of which no notice came: its lane was busy
POOL: Final = 9  # connections of a process, beside those of journal, leases and secrets
PATIENCE: Final = 5.0  # seconds until one must be had
TIMES: Final = RetryStrategy(max_attempts=60, wait=10)  # no table says yet that a time has come, and twice is once

Task = Callable[..., Awaitable[None]]


def quiet() -> None:
    """The logs of procrastinate and of psycopg with its pool hold tracebacks, which may hold anything, and complain all the
    time while the database is away: what went wrong is told by us.
    """
    for name in ("procrastinate", "psycopg"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False


class Connections:
    """Those that the jobs of a process share: of procrastinate, and for campaigns."""

    def __init__(self, connector: PsycopgConnector) -> None:
        self.connector = connector
        self.manager = JobManager(connector)

    def connection(self) -> AbstractAsyncContextManager[Db]:
        """What is done in the block is one transaction."""
        return self.connector.pool.connection()


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[Connections]:
    """Connections for jobs and campaigns, open for the block."""
    opened = PsycopgConnector(
        conninfo=terms(place).conninfo,
        configure=require_private,
        min_size=1,
        max_size=POOL,
        timeout=PATIENCE,
        reconnect_timeout=PATIENCE,
    )
    await opened.open_async()
    try:
        yield Connections(opened)
    finally:
        await opened.close_async()


def app_of(connections: Connections, tasks: Mapping[str, Task], rest: Rest) -> procrastinate.App:
    """What workers know how to do, by the names of jobs; nothing is taken while they `rest`."""
    app = procrastinate.App(connector=connections.connector)
    app.job_manager = Patient(connections.connector, rest)
    for name, task in tasks.items():
        app.task(name=name, retry=TIMES if name == TIME else False)(_plain(task))
    return app


def _plain(task: Task) -> Task:
    """Procrastinate only awaits what is a coroutine function by itself."""

    async def run(**given: Any) -> None:
        await task(**given)

    return run


def sweeping(connections: Connections, *, tell: Callable[[BaseException], None]) -> procrastinate.App:
    """The stalled-job task, every second, on a queue of its own; however many workers, each moment once.

    `tell` is told when it failed; the next one is not far.
    """

    async def swept(timestamp: int) -> None:  # noqa: ARG001  procrastinate tells it
        try:
            async with connections.connection() as db:
                await sweep(connections.manager, db)
        except (ProcrastinateException, *DATABASE) as error:
            tell(error)

    app = procrastinate.App(connector=connections.connector)
    app.periodic(cron=SWEEP_CRON, queueing_lock=SWEEP)(app.task(name=SWEEP, queue=SWEEPS)(swept))
    return app


class Attentive(Worker):
    """A worker that tells when it stops, for whatever reason."""

    told: Callable[[], None] = staticmethod(lambda: None)

    def stop(self) -> None:
        super().stop()  # type: ignore[no-untyped-call]
        self.told()

    async def run(self) -> None:
        await super().run()  # type: ignore[no-untyped-call]

    async def _persist_job_status(self, *given: Any, **named: Any) -> None:
        """A job that could not be ended is either gone, since we were taken for dead, or would be at work for as long as
        this worker lives: so it lives no longer, and the job is swept.
        """
        try:
            await super()._persist_job_status(*given, **named)
        except ConnectorException:
            self.told()


def worker_of(app: procrastinate.App, queue: str, concurrency: int, *, endpoint: str | None = None) -> Attentive:
    """It takes jobs of one queue, those for every endpoint and those for this one; those that ended are gone."""
    return Attentive(
        app,
        queues=sorted({queue, queue_of(queue, endpoint)}) if queue == RUNS else [queue_of(queue, endpoint)],
        name=queue,
        concurrency=concurrency,
        fetch_job_polling_interval=POLL,
        delete_jobs=jobs.DeleteJobCondition.ALWAYS,
        install_signal_handlers=False,
        update_heartbeat_interval=BEAT,
        stalled_worker_timeout=STALLED,
    )
