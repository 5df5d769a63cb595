"""Who works on what: procrastinate's jobs are only wake-ups, the tables of campaigns and chunks say what is to be done.

A job that was lost is followed by a new one, never tried again itself: a worker that was frozen and wakes up would else
end the job of who took its place, and free the lane under it.

Nobody waits for ever for a place (of the failure budget, of the instances in change, of a group), though the chunks that
wait fill all workers:
- A row that has all its places needs nobody to give them back. Who still asks does so in one order (engine/sending.py),
  and only waves that are open do, so rows that are worked on do not wait in a circle.
- Rows that nobody works on hold places in a ready chunk, which is rescued: by workers of its own, which settle what holds
  places and wait for none, so that they are soon free for the next. A run that is paused has its rescues paused, too.
- A rescue waits for its lane. No chunk is taken up there while one to rescue is ready (progress.take_up): so who has the
  lane was begun before that wave of the other run was opened. Before cannot go round in a circle.
- A chunk that is left while it holds places stops its run (refusals.stop_for): nobody waits any more.
"""

# ruff: noqa: S608  SQL is put together of this module's constants only

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from typing import Any, Final

import procrastinate
from procrastinate import PsycopgConnector, jobs
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.manager import JobManager
from procrastinate.retry import RetryStrategy
from procrastinate.types import JSONValue
from procrastinate.worker import Worker
from psycopg import AsyncConnection

from batchmod.cluster.campaigns import lane_key, run_key
from batchmod.cluster.progress import HOLDS
from batchmod.cluster.refusals import Patient, Rest, tell_unserved
from batchmod.model.plan import Lane
from batchmod.pg.conninfo import terms
from batchmod.pg.link import FAILURES as DATABASE
from batchmod.pg.link import require_private
from batchmod.pg.place import Place

LANES: Final = "lanes"  # queues: one that is full keeps no other from going on
RESCUES: Final = "rescues"
RUNS: Final = "runs"
SWEEPS: Final = "sweeps"
CHUNK: Final = "chunk"  # tasks
RESCUE: Final = "rescue"
CONDUCT: Final = "conduct"
TIME: Final = "time"
BEGIN: Final = "begin"
SWEEP: Final = "sweep"
BEAT: Final = 2.0  # seconds between two signs of life of a worker
STALLED: Final = 8.0  # seconds without one, after which its jobs are somebody else's
SWEEP_CRON: Final = "* * * * * *"  # every second: croniter has seconds last
RUNS_AT_ONCE: Final = 64  # conductors in one process: they mostly wait
POLL: Final = 0.5  # seconds until a job is looked for of which no notice came: its lane was busy
POOL: Final = 9  # connections of a process, beside those of journal, leases and secrets
PATIENCE: Final = 5.0  # seconds until one must be had
NEW, BEGUN, HOLDING = 0, 1, 2  # priorities of chunks: whose rows may be in doubt, and whose rows others wait for
TIMES: Final = RetryStrategy(max_attempts=60, wait=10)  # no table says yet that a time has come, and twice is once

Task = Callable[..., Awaitable[None]]
Db = AsyncConnection[Any]


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


def queue_of(queue: str, endpoint: str | None) -> str:
    """Where the jobs of campaigns for this endpoint wait: workers with another one never see them."""
    return queue if endpoint is None else f"{queue}-{sha256(endpoint.encode()).hexdigest()[:16]}"


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


async def sweep(manager: JobManager, db: Db) -> None:
    """Jobs of workers that gave no sign of life are gone, and what is to be done has a job; but one that says that a time
    has come begins anew.
    """
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED):
        assert job.id is not None
        try:
            if job.task_name == TIME:
                await manager.retry_job(job)
            else:
                await manager.finish_job_by_id_async(job.id, jobs.Status.FAILED, delete_job=True)
        except ConnectorException:  # another sweep was quicker, or it ended just now; a database that is away, the next
            continue  # statement says
    await tell_unserved(db)
    await enqueue_due(manager, db)


_LIVE: Final = (
    "EXISTS (SELECT FROM procrastinate_jobs AS live WHERE live.id = due.job AND live.status IN ('todo', 'doing'))"
)
_DUE_RUNS: Final = f"""SELECT due.run, due.endpoint FROM campaign AS due
 WHERE due.state = 'open' AND due.not_before <= now() AND NOT {_LIVE} FOR UPDATE OF due SKIP LOCKED"""
_DUE_CHUNKS: Final = f"""SELECT due.run, due.n, due.account_id, due.region, campaign.endpoint,
  CASE WHEN {HOLDS.format("due")} THEN {HOLDING} WHEN due.attempts > 0 THEN {BEGUN} ELSE {NEW} END
 FROM chunk AS due JOIN campaign USING (run)
 WHERE due.state = 'ready' AND campaign.state = 'open' AND due.not_before <= now() AND NOT {_LIVE}
 ORDER BY due.run, due.n FOR UPDATE OF due SKIP LOCKED"""
_DUE_TIMES: Final = f"""SELECT due.name, due.options ->> 'endpoint' FROM schedule AS due
 WHERE due.state = 'due' AND due.not_before <= now() AND NOT {_LIVE} FOR UPDATE OF due SKIP LOCKED"""


async def enqueue_due(manager: JobManager, db: Db) -> None:
    """Every open campaign, every chunk that is ready and every schedule whose time has come has a job, however often and by
    whomever it is asked for.
    """
    async with db.transaction():
        for run_id, endpoint in await (await db.execute(_DUE_RUNS.encode())).fetchall():
            queue = queue_of(RUNS, endpoint)
            job = _job(CONDUCT, queue, f"{run_key(run_id)} {queue}", run_id=run_id)
            deferred = await manager.defer_job_async(job, connection=db)
            await db.execute("UPDATE campaign SET job = %s WHERE run = %s", (deferred.id, run_id))
        for run_id, n, account_id, region, endpoint, rank in await (await db.execute(_DUE_CHUNKS.encode())).fetchall():
            task, queue = (RESCUE, RESCUES) if rank == HOLDING else (CHUNK, LANES)
            lock = f"{lane_key(Lane(account_id, region))} {queue_of(LANES, endpoint)}"
            job = _job(task, queue_of(queue, endpoint), lock, priority=rank, run_id=run_id, n=n)
            deferred = await manager.defer_job_async(job, connection=db)
            await db.execute("UPDATE chunk SET job = %s WHERE run = %s AND n = %s", (deferred.id, run_id, n))
        for name, endpoint in await (await db.execute(_DUE_TIMES.encode())).fetchall():
            job = _job(BEGIN, queue_of(RUNS, endpoint), f"{BEGIN}:{name}", name=name)
            deferred = await manager.defer_job_async(job, connection=db)
            await db.execute("UPDATE schedule SET job = %s WHERE name = %s", (deferred.id, name))


def manager_without_pool() -> JobManager:
    """For `enqueue_due` alone, which brings its own connection."""
    return JobManager(PsycopgConnector())


def _job(task: str, queue: str, lock: str, *, priority: int = 0, **values: JSONValue) -> jobs.Job:
    return jobs.Job(queue=queue, lock=lock, queueing_lock=None, task_name=task, task_kwargs=values, priority=priority)


FAILURES: Final = (ProcrastinateException,)
"""What procrastinate raises, beside pg.link.FAILURES, when the database is away."""
