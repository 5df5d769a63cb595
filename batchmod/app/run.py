"""`run`: a new run, or first an old one of the same name."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from batchmod.app.beginning import Beginning, refuse, refuse_applied
from batchmod.app.fleet import check_fence
from batchmod.app.jobs import Job, ManifestJob, job_of
from batchmod.app.options import ClosedFirst, Options
from batchmod.app.resume import abandon, resume, unfinished_run
from batchmod.app.retrying import Retry
from batchmod.app.session import (
    again,
    check_report_dir,
    new_run_id,
    report_dir,
)
from batchmod.app.signals import on_signals
from batchmod.app.speech import insist, say
from batchmod.app.watching import Watching, show_plan
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.model.events import BY_HAND, StoppedBy
from batchmod.model.exits import DONE, RESUMABLE

WHY = {  # a run waits for an operator
    StoppedBy.MAX_FAILURES: "has spent its failure budget",
    StoppedBy.CHECK: "was stopped by its check",
    StoppedBy.MANUAL: "waits for an operator between two waves",
}


async def run(path: Path, options: Options) -> int:
    """Plans, or takes the plan that is given; confirms, applies, proves and reports; the exit code.

    With `resume`, an unfinished run of the name is continued when it means the same, and else closed first.
    """
    job = job_of(path, options)
    unfinished = unfinished_run(job.state, None, name=job.manifest.name) if options.resume else None
    if unfinished is None:
        return await _begin(job, options)
    reached = replace(options, state=job.state)
    if unfinished.stopped_by in BY_HAND:
        return _waits(unfinished, job.state, reached)
    if job.is_of(unfinished):
        return await resume(unfinished.id, reached)
    code = await _close(unfinished, job, reached)
    if code == RESUMABLE:
        return code
    return await _begin(job, replace(options, closed_first=ClosedFirst(run_id=unfinished.id, exit_code=code)))


def _waits(unfinished: Run, state: Path, options: Options) -> int:
    """The exit code of a run that goes on only when an operator has looked: nothing is done."""
    StateDir(path=state).check_free(run_id=unfinished.id, now=Clock().wall())
    assert unfinished.stopped_by is not None
    reset = " --reset-budget" if unfinished.stopped_by is StoppedBy.MAX_FAILURES else ""
    command = again(f"resume {unfinished.id}{reset}", state, options)
    insist(f"run {unfinished.id} {WHY[unfinished.stopped_by]}: only `{command}` continues it")
    return RESUMABLE


async def _close(unfinished: Run, job: Job, options: Options) -> int:
    """The exit code of a run that means something else: settled and closed, unless a signal left it open."""
    with closing(SqliteJournal.read(job.state)) as journal:
        refuse_applied(journal, job)  # else the other run would be given up for nothing
    what = "manifest" if isinstance(job, ManifestJob) else "plan"
    say(f"the {what} is another than run {unfinished.id}'s: that run is settled and closed first")
    return await abandon(unfinished.id, replace(options, closing=True))


async def _begin(loaded: Loaded, state: Path, options: Options) -> int:
    manifest, clock, halt, watching = loaded.manifest, Clock(), Halt(), Watching(options)
    run_id, began = new_run_id(clock), clock.wall()
    regions = regions_of(loaded)
    check_fence(manifest, set().union(*regions.values()), options.endpoint)
    chosen = chosen_password(password_change(manifest), options.environ, loaded.directory, place=loaded.password_place)
    reports = report_dir(options, manifest, loaded.directory)
    check_report_dir(reports)
    with on_signals(halt, options.drain) as signals:
        async with (
            # The service first: credentials or a clock that are wrong leave nothing behind on this disk.
            open_fleet(manifest, regions, options, halt=halt, notify=watching.notify, clock=clock) as fleet,
            hold(options, state, manifest, run_id=run_id, clock=clock) as session,
        ):
            _refuse_unfinished(session.journal, manifest.name, state, options)
            skip = options.skip_failed_accounts
            is_young = young_in(manifest, session.store, session.journal, now=began)
            plan = await make_plan(loaded, fleet, session.store, chosen, clock, skip_failed=skip, is_young=is_young)
            show_plan(plan, options, pace_line(manifest, plan.rows))
            confirm(plan, options)
            signals.sending = True
            opened = Run(
                id=run_id,
                name=manifest.name,
                manifest_digest=loaded.digest,
                manifest=loaded.normalised,
                directory=str(loaded.directory),
                started_at=began,
                password_hmac=session.store.fingerprint(chosen) if session.store and chosen else None,
                accounts_failed=tuple((one.account, one.reason) for one in plan.accounts_failed),
            )
            await session.journal.open_run(opened, plan.rows)
            execution = Execution(
                session=session,
                fleet=fleet,
                run=opened,
                manifest=manifest,
                options=options,
                reports=reports,
                halt=halt,
                signals=signals,
                watching=watching,
                clock=clock,
                chosen=chosen,
            )
            execution.announce(resumed=False)
            return await execution.apply()


def _retrying(journal: SqliteJournal, job: ManifestJob) -> ManifestJob | None:
    """The job for what failed in the last run alone; None when nothing is left of it, which was said then."""
    retry = Retry.of_last(journal, job.manifest.name)
    if retry is None:
        raise UsageError(f"--retry failed: there is no run of {job.manifest.name} in {job.state}")
    if not retry.rows:
        say(f"nothing to retry: no row of run {retry.run_id} ended failed")
        return None
    loaded = retry.narrowed(job.loaded)
    if not loaded.targets and not loaded.selectors:
        say(f"nothing to retry: no row that failed in run {retry.run_id} is in the manifest any more")
        return None
    return replace(job, loaded=loaded, retry=retry)
