"""One chunk of a campaign, worked on by this process: the single machine's engine over rows of one lane."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from batchmod.app.chunking import Chunking, Concluded, refusal, stopped_accounts
from batchmod.app.fleet import open_fleet
from batchmod.app.post import Post, bug_of
from batchmod.app.resume import chosen_again
from batchmod.app.session import Session, found_quotas, needed_store
from batchmod.app.signals import Signals
from batchmod.app.speech import say
from batchmod.app.taking_up import same_accounts, with_stopped
from batchmod.app.tasks import unless_over
from batchmod.app.watching import Watching
from batchmod.cluster.campaigns import Campaign, Chunk, State, chunks_of, lane_key
from batchmod.cluster.lease import Lease
from batchmod.cluster.progress import conclude, gone, take_up
from batchmod.cluster.refusals import refuse, stop_for
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import BatchmodError
from batchmod.model.loading import restore
from batchmod.pg.link import FAILURES


async def work(post: Post, run_id: str, n: int) -> None:
    """The chunk has come to its end, or is left to another worker or to an operator, and the tables say which."""
    await _work(post, run_id, n, rescue=False)


async def rescue(post: Post, run_id: str, n: int) -> None:
    """What held places of the chunk has settled, whatever it was left by, and the rest can be worked on."""
    await _work(post, run_id, n, rescue=True)


async def _work(post: Post, run_id: str, n: int, *, rescue: bool) -> None:
    campaign = await post.campaign(run_id)
    async with post.connection() as db:
        found = await chunks_of(db, run_id, n)
    if not found or found[0].state is not State.READY or campaign is None or not post.may_take(campaign):
        return
    chunk, key = found[0], lane_key(found[0].lane)
    if await post.leaves_to_others(run_id, chunk.refused):
        return
    lease = await post.leases.take(key)
    if lease is None:  # somebody is at it who is not dead: there will be another job
        return
    try:
        await unless_over(_held(post, chunk, lease, rescue=rescue), post.over(lease))
    finally:
        with suppress(*FAILURES):  # else it ends by itself
            if lease.is_valid():
                async with post.connection() as db:
                    await gone(db, run_id, key)
            await lease.release()


async def _held(post: Post, chunk: Chunk, lease: Lease, *, rescue: bool) -> None:
    """The lane is ours, and so is the chunk, if nobody has ended it meanwhile."""
    async with post.connection() as db:
        if not await take_up(db, chunk, lease.fence, rescue=rescue):
            return
    campaign = await post.campaign(chunk.run)
    if campaign is None or not post.may_take(campaign):
        return
    what = "what is in change of chunk" if rescue else "chunk"
    say(
        f"run {chunk.run}: {what} {chunk.n} of {chunk.account}, {chunk.region}: {len(chunk.rows)} rows of wave {chunk.wave}"
    )
    try:
        async with _driving(post, chunk, lease, campaign, rescue=rescue) as driving:
            await driving.work()
            concluded = driving.concluded()
    except Exception as error:
        post.leave_if_away(error)
        if not isinstance(error, BatchmodError):
            await _conclude(post, chunk, lease, refusal(bug_of(error)))
            raise
        concluded = refusal(str(error))
    await _conclude(post, chunk, lease, concluded)


async def _conclude(post: Post, chunk: Chunk, lease: Lease, concluded: Concluded) -> None:
    """What was found is in the tables; this worker rests when it could not do what others may."""
    if concluded.trouble is not None:
        say(f"run {chunk.run}: chunk {chunk.n}: {concluded.trouble}")
    async with post.connection() as db:
        if concluded.refused:
            _, others = await refuse(db, chunk, lease.fence, concluded.trouble or "", by=post.holder)
            post.refused(others=others)
            return
        if concluded.state is State.LEFT:
            await stop_for(db, chunk, lease.fence, concluded.reason)
        await conclude(db, chunk, lease.fence, concluded.state, trouble=concluded.trouble)
    post.rest.forget()


@asynccontextmanager
async def _driving(
    post: Post, chunk: Chunk, lease: Lease, campaign: Campaign, *, rescue: bool
) -> AsyncIterator[Chunking]:
    """The chunk with all that is needed to work on it. Raises UsageError when this worker lacks some of it."""
    journal, clock, halt = post.journal.under(lease.fence), Clock(), Halt(lease.is_valid)
    run = journal.run(chunk.run)
    assert run is not None  # chunks refer to it
    manifest, watching = restore(run.manifest), Watching(replace(post.options, quiet=True))
    failed = chunk.account in stopped_accounts(journal.marks(chunk.run))  # its rows have to end, too
    options = replace(post.options, skip_failed_accounts=failed)
    known = journal.states_of(chunk.run, chunk.rows)
    rows = [row for row, _ in known]
    found = await asyncio.to_thread(found_quotas, journal, clock)
    since = clock.now()
    async with (
        needed_store(manifest, state=Path(), directory=Path(run.directory), options=options) as store,
        open_fleet(
            manifest,
            {chunk.account: [chunk.region]},
            options,
            halt=halt,
            notify=watching.notify,
            clock=clock,
            found=found,
            since=since,
            written=since - lease.idle,
        ) as fleet,
    ):
        same_accounts(f"run {run.id}", rows, fleet.account_ids)
        driving = Chunking(
            post=post,
            chunk=chunk,
            lease=lease,
            campaign=campaign,
            journal=journal,
            rescue=rescue,
            known=known,
            session=Session(state=Path(), journal=journal, store=store),
            fleet=with_stopped(fleet, rows),
            run=run,
            manifest=manifest,
            options=options,
            halt=halt,
            signals=Signals(halt, options.drain),
            watching=watching,
            clock=clock,
            observed_at=run.observed_at or run.started_at,
        )
        driving.chosen = await chosen_again(driving, options, known)
        yield driving
        lease.still = clock.now() - fleet.last_write()
