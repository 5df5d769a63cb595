"""`run`: a new run, or first an old one of the same name."""

from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

from batchmod.app.beginning import Beginning, refuse, refuse_applied
from batchmod.app.fleet import check_fence
from batchmod.app.holding import Claim
from batchmod.app.jobs import Job, ManifestJob, job_of
from batchmod.app.notifying import notifying
from batchmod.app.options import ClosedFirst, Options
from batchmod.app.resume import abandon, resume, unfinished_run
from batchmod.app.retrying import Retry
from batchmod.app.serving import check_serving
from batchmod.app.session import check_report_dir, report_dir, to_resume
from batchmod.app.speech import insist, say, speak_of
from batchmod.app.storing import kept_in
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.journal.store import Journal
from batchmod.model.events import BY_HAND, Outcome, Phase, StoppedBy
from batchmod.model.exits import DONE, FAILED, REPORT, RESUMABLE, UNRESOLVED
from batchmod.model.runs import Run

WHY = {  # a run waits for an operator
    StoppedBy.MAX_FAILURES: "has spent its failure budget",
    StoppedBy.CHECK: "was stopped by its check",
    StoppedBy.MANUAL: "waits for an operator between two waves",
}


async def run(path: Path, options: Options, claim: Claim) -> int:
    """Plans, or takes the plan that is given; confirms, applies, proves and reports; the exit code.

    With `resume`, an unfinished run of the name is continued when it means the same, and else closed first.
    """
    check_serving(options)
    job = job_of(path, options)
    reached = replace(options, state=job.state)
    unfinished = unfinished_run(reached, None, name=job.manifest.name) if options.resume else None
    if unfinished is None:
        return await _begin(job, options, claim)
    if unfinished.stopped_by in BY_HAND:
        return _waits(unfinished, job.state, reached)
    if job.is_of(unfinished):
        return await resume(unfinished.id, reached, held=claim.held)
    code = await _close(unfinished, job, reached, held=claim.held)
    if code == RESUMABLE:
        return code
    first = ClosedFirst(run_id=unfinished.id, exit_code=code)
    then = await _begin(job, replace(options, closed_first=first), claim)
    if code == REPORT and then in {RESUMABLE, UNRESOLVED, FAILED, DONE}:
        return code
    return UNRESOLVED if then in {DONE, FAILED} and _left_unresolved(unfinished, job) else then


def _left_unresolved(closed: Run, job: Job) -> bool:
    """Whether a row that was closed unresolved is so still: the new run has not proved it."""
    with closing(SqliteJournal.read(job.state)) as journal:
        new = journal.latest(closed.name)
        proved = {
            (row.key, row.kind)
            for row, state in (journal.states(new.id) if new is not None else ())
            if state.outcome in {Outcome.CHANGED, Outcome.UNCHANGED}
        }
        return any(
            state.phase is Phase.UNRESOLVED and (row.key, row.kind) not in proved
            for row, state in journal.states(closed.id)
        )


def _waits(unfinished: Run, state: Path, options: Options) -> int:
    """The exit code of a run that goes on only when an operator has looked: nothing is done."""
    assert unfinished.stopped_by is not None
    command = to_resume(unfinished, state, options)
    insist(f"run {unfinished.id} {WHY[unfinished.stopped_by]}: only `{command}` continues it")
    return RESUMABLE


async def _close(unfinished: Run, job: Job, options: Options, *, held: bool) -> int:
    """The exit code of a run that means something else: settled and closed, unless a signal left it open."""
    with closing(SqliteJournal.read(job.state)) as journal:
        refuse_applied(journal, job)  # else the other run would be given up for nothing
    what = "manifest" if isinstance(job, ManifestJob) else "plan"
    say(f"the {what} is another than run {unfinished.id}'s: that run is settled and closed first")
    return await abandon(unfinished.id, replace(options, closing=True, serve=None), held=held)


async def _begin(job: Job, options: Options, claim: Claim) -> int:
    """The exit code of a new run, once nobody else holds the state directory and no run of the name is unfinished."""
    clock, run_id = Clock(), claim.run_id
    began = clock.wall()
    speak_of(run_id)
    check_fence(job.manifest, set().union(*job.regions.values()), options.endpoint)
    chosen = job.chosen()
    reports = report_dir(options, job.manifest, job.directory)
    check_report_dir(reports)
    told = notifying(job.manifest, options.environ, job.directory, places=job.notify_places)
    lock = StateDir(path=job.state).hold_if_used(run_id=run_id, now=began)
    # The lock before anything is asked of the service: the second of two processes has nothing to ask.
    with nullcontext(True) if claim.held else lock as held:
        with closing(SqliteJournal.read(job.state)) as journal:
            refuse(journal, job, options)
            if options.retry_failed and isinstance(job, ManifestJob):
                narrowed = retrying(journal, job)
                if narrowed is None:
                    return DONE
                job = narrowed
        beginning = Beginning(
            job=job,
            options=options,
            reports=reports,
            run_id=run_id,
            began=began,
            clock=clock,
            chosen=chosen,
            notifying=told,
        )
        return await beginning.apply(held=held)


def retrying(journal: Journal, job: ManifestJob) -> ManifestJob | None:
    """The job for what failed in the last run alone; None when nothing is left of it, which was said then."""
    retry = Retry.of_last(journal, job.manifest.name)
    if retry is None:
        kept = kept_in(job.options, job.loaded.path)
        raise UsageError(f"--retry failed: there is no run of {job.manifest.name} in {kept}")
    if not retry.rows:
        insist(f"nothing to retry: no row of run {retry.run_id} ended failed")
        return None
    loaded = retry.narrowed(job.loaded)
    if not loaded.targets and not loaded.selectors:
        insist(f"nothing to retry: no row that failed in run {retry.run_id} is in the manifest any more")
        return None
    return replace(job, loaded=loaded, retry=retry)
