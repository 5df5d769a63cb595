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

from hashlib import sha256
from typing import Final

from procrastinate import PsycopgConnector, jobs
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.manager import JobManager
from procrastinate.types import JSONValue

from batchmod.cluster.campaigns import Db, lane_key, run_key
from batchmod.cluster.lease import FREE
from batchmod.cluster.progress import HOLDS
from batchmod.cluster.refusals import tell_unserved
from batchmod.model.plan import Lane

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
STALLED: Final = FREE
"""Seconds without a sign of life of a worker, after which its jobs are somebody else's: one that cannot renew its leases,
which is done once a second together with that sign, has lost them by then.
"""
NEW, BEGUN, HOLDING = 0, 1, 2  # priorities of chunks: whose rows may be in doubt, and whose rows others wait for

FAILURES: Final = (ProcrastinateException,)
"""What procrastinate raises, beside pg.link.FAILURES, when the database is away."""


def queue_of(queue: str, endpoint: str | None) -> str:
    """Where the jobs of campaigns for this endpoint wait: workers with another one never see them."""
    return queue if endpoint is None else f"{queue}-{sha256(endpoint.encode()).hexdigest()[:16]}"


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
