"""Workers that could not do what they took: it is others' turn then, and an operator's once nobody is left to try.

Each worker at work holds a lease that says for which endpoint, so that who is left is known.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from batchmod.cluster.campaigns import Chunk, Db, State, stop
from batchmod.journal.postgres import Fence
from batchmod.model.events import StoppedBy

TRIES: Final = 5  # in vain, by all who are there, until an operator has to look
LEAST: Final = 60.0  # seconds at least between the first of them and the last: what passes by itself has passed by then
FIRST, MOST = 4.0, 60.0  # seconds until it is tried again, doubled each time
ALIVE: Final = 5.0  # seconds after its last renewal in which a lease's holder may still be at work
FORGOTTEN: Final = 3600.0  # seconds after which nobody needs to know that a worker was there

# `campaign` is in scope: the workers that could work on it
_FIT: Final = f"""SELECT lease.holder FROM lease
 WHERE starts_with(lease.key, 'worker:' || coalesce(campaign.endpoint, '') || ' ') AND lease.holder IS NOT NULL
   AND lease.renewed_at > clock_timestamp() - make_interval(secs => {ALIVE})"""  # noqa: S608  a constant


class Rest:
    """A worker that could not do what it took leaves the next job to others for a while, each time longer, until it has
    done one.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._pause = 0.0
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        return self._now() < self._until

    def begin(self) -> None:
        """What fails at the same time counts once."""
        if not self.is_on:
            self._pause = min(MOST, 2 * self._pause) or FIRST / 2
            self._until = self._now() + self._pause

    def forget(self) -> None:
        """The next one is short again."""
        self._pause = 0.0


class Patient(JobManager):
    """Nothing is fetched while the worker rests."""

    def __init__(self, connector: Any, rest: Rest) -> None:
        super().__init__(connector)
        self._rest = rest

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        return None if self._rest.is_on else await super().fetch_job(queues, worker_id)


def worker_key(endpoint: str | None, holder: str) -> str:
    """Of the lease that a worker holds for as long as it takes up work."""
    return f"worker:{endpoint or ''} {holder}"


async def others_than(db: Db, run_id: str, refused: Iterable[str]) -> bool:
    """Whether a worker is there that could work on the run and has not refused, by what holders of leases are called."""
    query = f"SELECT EXISTS (SELECT FROM campaign WHERE run = %s AND EXISTS ({_FIT} AND lease.holder <> ALL(%s)))"  # noqa: S608
    found = await (await db.execute(query.encode(), (run_id, list(refused)))).fetchone()
    return found == (True,)


def next_try(tries: int, seconds: float, *, others: bool) -> tuple[State, float]:
    """What becomes of a chunk that was tried so often in vain, for so long; and in how many seconds it may be tried again:
    at once by `others`. Pure.
    """
    if others:
        return State.READY, 0.0
    if tries >= TRIES and seconds >= LEAST:
        return State.LEFT, 0.0
    return State.READY, min(MOST, FIRST * 2.0 ** (tries - 1))


async def refuse(db: Db, chunk: Chunk, fence: Fence, trouble: str, *, by: str) -> tuple[State, bool]:
    """The worker `by` could not work on the chunk, whose lane it holds: what has become of it, and whether there are
    others to try. Once it is left while its rows hold places, its run is stopped.
    """
    others = await others_than(db, chunk.run, [*chunk.refused, by])
    since = "SELECT extract(epoch FROM now() - troubled_at)::float8 FROM chunk WHERE run = %s AND n = %s"
    found = await (await db.execute(since, (chunk.run, chunk.n))).fetchone()
    state, later = next_try(chunk.troubles + 1, (found[0] if found else None) or 0.0, others=others)
    if state is State.LEFT:
        await stop_for(db, chunk, fence, StoppedBy.STORE)
    await db.execute(
        "UPDATE chunk SET state = %(state)s, trouble = %(trouble)s, troubles = troubles + 1, "
        "troubled_at = coalesce(troubled_at, now()), refused = array_append(array_remove(refused, %(by)s), %(by)s), "
        "not_before = now() + make_interval(secs => %(later)s) WHERE run = %(run)s AND n = %(n)s "
        "AND EXISTS (SELECT FROM lease WHERE lease.key = %(key)s AND lease.epoch = %(epoch)s)",
        {
            "run": chunk.run,
            "n": chunk.n,
            "key": fence.key,
            "epoch": fence.epoch,
            "state": state,
            "trouble": trouble,
            "by": by,
            "later": later,
        },
    )
    return state, others


async def stop_for(db: Db, chunk: Chunk, fence: Fence, reason: StoppedBy) -> None:
    """The run stops when rows of the chunk hold places, which nobody gives back any more: others would wait for ever.

    Before the chunk is changed in this transaction: who locks both locks the campaign first.
    """
    holds = (
        "SELECT 1 FROM slot, lease WHERE slot.run = %s AND slot.seq = ANY(%s::integer[]) AND NOT slot.spent "
        "AND lease.key = %s AND lease.epoch = %s LIMIT 1"
    )
    values = (chunk.run, list(chunk.rows), fence.key, fence.epoch)
    if await (await db.execute(holds, values)).fetchone() is not None:
        await stop(db, chunk.run, reason)


async def put_off(db: Db, run_id: str, fence: Fence, trouble: str, *, by: str) -> bool:
    """The worker `by` could not conduct the campaign, for this reason; whether there are others to try, at once. It is
    tried again for ever.
    """
    query = "SELECT refused, troubles FROM campaign WHERE run = %s"
    refused, troubles = await (await db.execute(query, (run_id,))).fetchone() or ((), 0)
    others = await others_than(db, run_id, [*refused, by])
    _, later = next_try(troubles + 1, 0.0, others=others)
    await db.execute(
        "UPDATE campaign SET trouble = %(trouble)s, troubles = troubles + 1, "
        "refused = array_append(array_remove(refused, %(by)s), %(by)s), "
        "not_before = now() + make_interval(secs => %(later)s) WHERE run = %(run)s "
        "AND EXISTS (SELECT FROM lease WHERE lease.key = %(key)s AND lease.epoch = %(epoch)s)",
        {"run": run_id, "key": fence.key, "epoch": fence.epoch, "trouble": trouble, "by": by, "later": later},
    )
    return others


async def tell_unserved(db: Db) -> None:
    """Who follows a campaign sees when no worker is there for it, and when one is there again. Workers of long ago are
    forgotten.
    """
    text = "'no worker for the endpoint ' || coalesce(endpoint, 'of the vendor') || ' is there: see worker --endpoint'"
    await db.execute(
        f"UPDATE campaign SET trouble = {text} WHERE state = 'open' AND trouble IS NULL AND NOT EXISTS ({_FIT})".encode()  # noqa: S608
    )
    await db.execute(
        f"UPDATE campaign SET trouble = NULL WHERE state = 'open' AND trouble = {text} AND EXISTS ({_FIT})".encode()  # noqa: S608
    )
    await db.execute(
        "DELETE FROM lease WHERE starts_with(key, 'worker:') AND renewed_at < now() - make_interval(secs => %s)",
        (FORGOTTEN,),
    )
