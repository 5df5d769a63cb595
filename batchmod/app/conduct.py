"""A campaign conducted by this process: from wave to wave as on one machine, but others work on the chunks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from batchmod.app.driving import DriveWave, Known
from batchmod.app.execute import Execution
from batchmod.app.fleet import Fleet
from batchmod.app.hearing import Hearing
from batchmod.app.notifying import notifying
from batchmod.app.planned import failure_limit
from batchmod.app.post import HandedOverError, Post, apart, bug_of
from batchmod.app.session import Session, check_report_dir, needed_store, report_dir
from batchmod.app.signals import Signals
from batchmod.app.speech import say
from batchmod.app.tasks import beside, unless_over
from batchmod.app.watching import Watching
from batchmod.cluster.campaigns import Campaign, State, chunks_of, run_key
from batchmod.cluster.due import enqueue_due
from batchmod.cluster.lease import Lease
from batchmod.cluster.progress import busy, conducted, end, gone, leave_idle, note, open_wave, unnoted
from batchmod.cluster.refusals import put_off
from batchmod.engine.budget import Budget
from batchmod.engine.clock import Clock
from batchmod.engine.context import Context
from batchmod.engine.halt import Halt
from batchmod.engine.opening import Opening
from batchmod.errors import BatchmodError, JournalError
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import BY_HAND, StoppedBy
from batchmod.model.loading import restore
from batchmod.model.notices import Controlled
from batchmod.model.runs import Mark, MarkType
from batchmod.pg.link import FAILURES

T = TypeVar("T")
LOOK: Final = 0.5  # seconds between two looks whether a wave has ended


async def conduct(post: Post, run_id: str) -> None:
    """The campaign has ended, report and all, or it is left to another worker."""
    campaign = await post.campaign(run_id)
    if campaign is None or not post.may_take(campaign) or await post.leaves_to_others(run_id, campaign.refused):
        return
    lease = await post.leases.take(run_key(run_id))
    if lease is None:
        return
    try:
        await unless_over(_held(post, run_id, lease), post.over(lease))
    finally:
        with suppress(*FAILURES):
            if lease.is_valid():
                async with post.connection() as db:
                    await gone(db, run_id, lease.fence.key)
            await lease.release()


async def _held(post: Post, run_id: str, lease: Lease) -> None:
    """The run is ours, and so is its campaign, if it has not ended meanwhile."""
    async with post.connection() as db:
        if not await conducted(db, run_id, lease.fence):
            return
    campaign = await post.campaign(run_id)
    assert campaign is not None
    say(f"run {run_id}: conducted from here")
    try:
        async with _execution(post, run_id, lease) as execution:
            ended = execution.has_ended(campaign) or await unless_over(
                execution.conduct(campaign), execution.handed_over()
            )
    except HandedOverError:
        raise
    except Exception as error:
        post.leave_if_away(error)
        trouble = str(error) if isinstance(error, BatchmodError) else bug_of(error)
        say(f"run {run_id}: {trouble}")
        async with post.connection() as db:
            post.refused(others=await put_off(db, run_id, lease.fence, trouble, by=post.holder))
        if isinstance(error, BatchmodError):
            return
        raise
    if ended:
        async with post.connection() as db:
            await end(db, run_id, lease.fence)


@dataclass(kw_only=True)
class Conducting(Execution):
    """One run whose rows other jobs drive."""

    post: Post
    lease: Lease
    journal: PostgresJournal
    left: bool = field(default=False, init=False)  # rows of the wave are open, and nothing stood in their way

    def has_ended(self, campaign: Campaign) -> bool:
        """A conductor that died right after it had written the report has left nothing to do."""
        ends = sum(mark.type is MarkType.FINISHED for mark in self.journal.marks(self.run.id))
        return ends > campaign.ends and self.run.finished_at is not None

    async def conduct(self, campaign: Campaign) -> None:
        """The run has ended, its report is written and the journal knows it. Raises JournalError when that cannot be told,
        and HandedOverError when it is another's to tell.
        """
        # What stopped it before its conductor died is not over: only an operator goes on with some of that.
        stopped = self.run.stopped_by if self.run.finished_at is None else None
        if campaign.attempts > 1:  # somebody has worked on it before
            await self.take_up()
        if stopped in BY_HAND:
            self.halt.stop(stopped)
        self.announce(resumed=campaign.attempts > 1, known=await self._states())
        if campaign.closing:
            await self.close()
        else:
            await self.apply()

    async def handed_over(self) -> None:
        """Returns once the worker is to end; but a report that is being written is written to its end."""
        await self.post.draining.wait()
        if self.signals.finishing:
            await asyncio.Event().wait()  # for ever: the work itself ends soon

    async def _apart(self, work: Callable[[], T]) -> T:
        return await apart(work)

    async def _finish(self) -> int:
        if self.post.lost.is_set() or not self.lease.is_valid():
            raise HandedOverError
        return await super()._finish()

    def trouble(self, error: Exception) -> None:
        if isinstance(error, JournalError):
            self.post.lose(error)
            raise error
        super().trouble(error)

    @asynccontextmanager
    async def _wave_driver(self, known: Known, opening: Opening) -> AsyncIterator[DriveWave]:  # noqa: ARG002  as Driving has it
        async def drive_wave(known: Known, wave: int) -> None:
            await self._wave(known, wave)
            await hearing.catch_up()  # what a chunk stopped for was said before it ended
            opening.refused = self.manifest.rollout.window is not None and self.left and self.halt.reason is None

        hearing = self._hearing()
        await hearing.catch_up()
        async with beside(hearing.listen()):
            yield drive_wave

    async def _settle_doubtful(self, context: Context, known: Known) -> None:  # noqa: ARG002  as Driving has it
        async with self._wave_driver(known, Opening()):
            for wave in sorted({row.wave or 1 for row, _ in known}):
                await self._wave(known, wave)
        if self.halt.reason is not None:  # an operator had no patience: the rest is looked at by another `abandon`
            self.signals.stopping = True
        self.halt.stop(StoppedBy.CONTROL)

    async def _wave(self, known: Known, wave: int) -> None:
        """Every chunk of the wave has come to its end, wherever it was worked on."""
        told = False
        async with self.post.connection() as db:
            await open_wave(
                db,
                self.run.id,
                wave,
                self.lease.fence,
                max_failures=failure_limit(self.manifest, [row for row, _ in known]),
                wave_failures=failure_limit(self.manifest, [row for row, _ in known if row.wave == wave]),
            )
        async with self.post.connection() as db:
            await enqueue_due(self.post.connections.manager, db)
        while await self._busy(wave):
            if self.halt.reason is not None and not told:
                await self.post.stop(self.run.id, self.halt.reason)
                told = True
            await asyncio.sleep(LOOK)
        async with self.post.connection() as db:
            chunks = await chunks_of(db, self.run.id)
        left = [one for one in chunks if one.wave == wave and one.state is State.LEFT]
        self.troubles += [f"{one.account}, {one.region}: {one.trouble}" for one in left if one.trouble is not None]
        self.left = any(one.trouble is None for one in left)

    async def _busy(self, wave: int) -> bool:
        async with self.post.connection() as db:
            if self.halt.reason is not None:
                await leave_idle(db, self.run.id)
            return await busy(db, self.run.id, wave) > 0

    def _hearing(self) -> Hearing:
        async def news(_: Campaign) -> None:
            async with self.post.connection() as db:
                for n, action in await unnoted(db, self.run.id):
                    await self._told(Mark(type=MarkType.CONTROLLED, at=self.clock.wall(), reason=action))
                    await note(db, n)
                    self.watching.notify(Controlled(text=action))
            self.run = self.journal.run(self.run.id) or self.run

        controls = self._controls(Budget(None))  # that of the rows is their chunks'
        return Hearing(post=self.post, run_id=self.run.id, fence=self.lease.fence, controls=controls, news=news)


@asynccontextmanager
async def _execution(post: Post, run_id: str, lease: Lease) -> AsyncIterator[Conducting]:
    """The run as the journal has it. Raises UsageError when this worker cannot conduct it."""
    journal, options = post.journal.under(lease.fence), replace(post.options, quiet=True)
    run = journal.run(run_id)
    assert run is not None  # its campaign refers to it
    manifest, directory = restore(run.manifest), Path(run.directory)
    reports, halt, clock = report_dir(options, manifest, directory), Halt(lease.is_valid), Clock()
    check_report_dir(reports)
    told = notifying(manifest, options.environ, directory)
    async with needed_store(manifest, state=Path(), directory=directory, options=options) as store:
        yield Conducting(
            post=post,
            lease=lease,
            journal=journal,
            session=Session(state=Path(), journal=journal, store=store),
            fleet=Fleet(account_ids={}, failed=(), hands={}),
            run=run,
            manifest=manifest,
            options=options,
            reports=reports,
            notifying=told,
            halt=halt,
            signals=Signals(halt, options.drain),
            watching=Watching(options),
            clock=clock,
            observed_at=run.observed_at or run.started_at,
        )
