"""`submit`: a run is planned and confirmed as by `run`, and given to the workers."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batchmod.app.beginning import opened, planned_run, refuse
from batchmod.app.chosen import SOMEWHERE, password_change
from batchmod.app.confirm import confirm
from batchmod.app.fleet import check_fence, open_fleet
from batchmod.app.follow import follow, reports_of
from batchmod.app.holding import new_run_id
from batchmod.app.jobs import Job, ManifestJob, job_of
from batchmod.app.options import Options
from batchmod.app.planned import pace_line
from batchmod.app.retrying import worth_it
from batchmod.app.run import retrying
from batchmod.app.session import again, found_quotas, unfinished_runs
from batchmod.app.speech import emit, insist, say, speak_of
from batchmod.app.storing import reading, shared_place, shared_session
from batchmod.app.watching import Watching, show_plan
from batchmod.cluster.beginning import Also, Db, alone, give, nothing
from batchmod.cluster.campaigns import Chunk, campaign_of, chunked
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.journal.store import Journal
from batchmod.model.exits import DONE, FAILED
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Run
from batchmod.pg.link import linked
from batchmod.pg.place import Place

NOT_HERE: Final = "the workers do not have it: store it (`batchmod secrets import`) and write secret: REFERENCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What came of it. Without a run there was nothing to do, which was said, and the exit code is `code`."""

    run: Run | None = None
    chunks: int = 0
    lanes: int = 0
    code: int = DONE


async def submit(path: Path, options: Options) -> int:
    """Plans, or takes the plan that is given, asks, and gives the run to the workers; the exit code.

    With `follow` it is the run's own, once it has ended.
    """
    shared_place(options)
    job, run_id = job_of(path, options), new_run_id(time.time())
    speak_of(run_id)
    reports = reports_of(options, job.manifest, job.directory)
    submitted = await submitted_of(job, run_id, options)
    if submitted.run is None:
        return submitted.code
    _say(submitted, options)
    if options.follow:
        return await follow(submitted.run, options, reports, resumed=False)
    emit([f"{run_id}\n"])
    return DONE


def _say(submitted: Submitted, options: Options) -> None:
    assert submitted.run is not None
    run_id, place = submitted.run.id, Path()
    say(f"run {run_id}: {submitted.chunks} chunks in {submitted.lanes} lanes are given to the workers")
    if not options.follow:
        for command in (f"resume {run_id} --follow", f"report {run_id}", f"control {run_id} pause"):
            say(f"  {again(command, place, options)}")


async def submitted_of(job: Job, run_id: str, options: Options, *, also: Also = nothing) -> Submitted:
    """The run is in the journal with all its rows, its campaign is open, and `also` is done. Raises UsageError when it may
    not begin.
    """
    place, clock, manifest = shared_place(options), Clock(), job.manifest
    check_password(job)
    check_fence(manifest, set().union(*job.regions.values()), options.endpoint)
    with reading(options) as journal:
        for run in unfinished_runs(journal, manifest.name):
            await _refuse_at_work(run, options)
        refuse(journal, job, options)
        last = journal.latest(manifest.name)
        if options.retry_failed and isinstance(job, ManifestJob):
            narrowed = retrying(journal, job)
            if narrowed is None:
                return Submitted()
            job = narrowed
    last_id = last.id if last is not None else None
    submission = _Submission(
        job=job, run_id=run_id, options=options, place=place, clock=clock, last_id=last_id, also=also
    )
    return await submission.submitted()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Submission:
    """One run that may begin, as far as is known. `last_id`: the last run of its name."""

    job: Job
    run_id: str
    options: Options
    place: Place
    clock: Clock
    last_id: str | None
    also: Also

    async def submitted(self) -> Submitted:
        job, options, manifest, clock = self.job, self.options, self.job.manifest, self.clock
        began, notify = clock.wall(), Watching(options).notify
        with reading(options) as journal:
            found = found_quotas(journal, clock)
        async with (
            # The service first: credentials or a clock that are wrong leave nothing behind.
            open_fleet(manifest, job.regions, options, halt=Halt(), notify=notify, clock=clock, found=found) as fleet,
            shared_session(options, manifest, directory=job.directory) as session,
        ):
            chosen = await job.settled(None, session.store)
            plan, _ = await job.planned(fleet, session, chosen, clock, began=began)
            if job.retry is not None and not worth_it(job.retry, plan):
                return Submitted(code=FAILED if plan.accounts_failed else DONE)
            show_plan(plan, options, pace_line(manifest, plan.rows))
            confirm(plan, options)
            async with alone(self.place, manifest.name) as db:  # not before: somebody may think about a plan for hours
                self._refuse_again(session.journal)
                run = await opened(planned_run(job, self.run_id, began=began), job, plan, session, chosen)
                chunks = chunked(plan.rows, run_id=run.id)
                await self._given(db, run, chunks)
        return Submitted(run=run, chunks=len(chunks), lanes=len({chunk.lane for chunk in chunks}))

    def _refuse_again(self, journal: Journal) -> None:
        """Nothing has begun since it was planned. Raises UsageError, else."""
        refuse(journal, self.job, self.options)
        latest = journal.latest(self.job.manifest.name)
        if latest is not None and latest.id != self.last_id:
            raise UsageError(
                f"run {latest.id} of {latest.name} began and ended while this one was planned: see what came of it"
            )

    async def _given(self, db: Db, run: Run, chunks: Sequence[Chunk]) -> None:
        given, options = False, self.options
        try:
            await give(db, self.place, run.id, chunks, endpoint=options.endpoint, submitted=who(), also=self.also)
            given = True
        finally:
            if not given:
                insist(
                    f"run {run.id} is in the journal, and not given to the workers: "
                    f"`{again(f'resume {run.id}', Path(), options)}` does that"
                )


async def _refuse_at_work(run: Run, options: Options) -> None:
    """Raises UsageError when the run is with the workers: nobody has to take it up."""
    async with linked(shared_place(options)) as db:
        campaign = await campaign_of(db, run.id)
    if campaign is not None and campaign.is_open:
        follow_it, stop = (
            again(what, Path(), options) for what in (f"resume {run.id} --follow", f"control {run.id} stop")
        )
        raise UsageError(f"run {run.id} of {run.name} is with the workers: `{follow_it}` shows it, `{stop}` stops it")


def check_password(job: Job) -> None:
    """The workers have the new password, or make it. Raises UsageError, else."""
    place = job.loaded.password_place if isinstance(job, ManifestJob) else None
    check_reachable(job.manifest, place=place)


def check_reachable(manifest: Manifest, *, place: str | None) -> None:
    """The same, of a manifest. `place`: where it chooses the password."""
    change = password_change(manifest)
    if change is not None and (change.env is not None or change.file is not None):
        what = "an environment variable" if change.env is not None else "a file"
        raise UsageError(f"{place or SOMEWHERE}: {what} of this machine: {NOT_HERE}, or generate: {{length: 24}}")


def who() -> str:
    """What others may know of this process."""
    return f"pid {os.getpid()} on {socket.gethostname()}"
