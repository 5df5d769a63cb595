"""A new run, once it is known that it may begin: planned or taken from a plan, confirmed, applied."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from batchmod.app.confirm import confirm
from batchmod.app.execute import Execution
from batchmod.app.fleet import open_fleet
from batchmod.app.jobs import Job
from batchmod.app.measuring import Measured, measuring
from batchmod.app.notifying import Notifying
from batchmod.app.options import Options
from batchmod.app.planned import pace_line
from batchmod.app.retrying import worth_it
from batchmod.app.serving import serving
from batchmod.app.session import Session, again, found_quotas, hold, to_resume, unfinished_runs
from batchmod.app.signals import on_signals
from batchmod.app.watching import Watching, show_plan
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.store import Journal
from batchmod.model.exits import DONE, FAILED
from batchmod.model.plan import Plan
from batchmod.model.record import first_states
from batchmod.model.runs import Run
from batchmod.model.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A new run, from the first call to the last."""

    job: Job
    options: Options
    reports: Path
    run_id: str
    began: float  # when this process did, in seconds since the epoch
    clock: Clock
    chosen: Secret | None  # outside of the secret store
    notifying: Notifying

    async def apply(self, *, held: bool) -> int:
        """The exit code. `held`: the state directory is ours already."""
        watching, name = Watching(self.options), self.job.manifest.name
        async with measuring(self.options, name, watching, self.clock, began=self.began) as measured:
            return measured.ended(await self._applied(watching, measured, held=held))

    async def _applied(self, watching: Watching, measured: Measured, *, held: bool) -> int:
        job, options, clock = self.job, self.options, self.clock
        halt, manifest = Halt(), job.manifest
        with closing(SqliteJournal.read(job.state)) as journal:
            found = found_quotas(journal, clock)
        notify = watching.notify
        with on_signals(halt, options.drain) as signals:
            async with (
                serving(options, watching, self._planned) as served,
                # The service first: credentials or a clock that are wrong leave nothing behind on this disk.
                open_fleet(manifest, job.regions, options, halt=halt, notify=notify, clock=clock, found=found) as fleet,
                hold(
                    options,
                    job.state,
                    manifest,
                    directory=job.directory,
                    run_id=self.run_id,
                    clock=clock,
                    held=held,
                ) as session,
            ):
                refuse(session.journal, job, options)
                chosen = await job.settled(self.chosen, session.store)
                plan, usable = await job.planned(fleet, session, chosen, clock, began=self.began)
                if job.retry is not None and not worth_it(job.retry, plan):
                    return FAILED if plan.accounts_failed else DONE
                show_plan(plan, options, pace_line(manifest, plan.rows))
                confirm(plan, options)
                signals.sending = True
                execution = Execution(
                    session=session,
                    fleet=usable,
                    run=await opened(self._planned, job, plan, session, chosen),
                    manifest=manifest,
                    options=options,
                    reports=self.reports,
                    notifying=self.notifying,
                    halt=halt,
                    signals=signals,
                    watching=watching,
                    measured=measured,
                    serving=served,
                    clock=clock,
                    chosen=chosen,
                    observed_at=plan.observed_at,
                )
                execution.announce(resumed=False, known=first_states(plan.rows))
                return await execution.apply()

    @property
    def _planned(self) -> Run:
        return planned_run(self.job, self.run_id, began=self.began)


def planned_run(job: Job, run_id: str, *, began: float) -> Run:
    """What is known of the run before it is opened."""
    return Run(
        id=run_id,
        name=job.manifest.name,
        manifest_digest=job.manifest_digest,
        manifest=job.normalised,
        directory=str(job.directory),
        started_at=began,
    )


async def opened(planned: Run, job: Job, plan: Plan, session: Session, chosen: Secret | None) -> Run:
    """The run, in the journal with all its rows."""
    store = session.store
    run = replace(
        planned,
        password_hmac=store.fingerprint(chosen) if store and chosen else None,
        accounts_failed=tuple((one.account, one.reason) for one in plan.accounts_failed),
        observed_at=plan.observed_at,
        plan_seal=job.seal,
    )
    await session.journal.open_run(run, plan.rows)
    return run


def refuse(journal: Journal, job: Job, options: Options) -> None:
    """No run of the name is unfinished, and none has applied this plan. Raises UsageError, else."""
    name = job.manifest.name
    unfinished = unfinished_runs(journal, name)
    if unfinished:
        run_id, command = unfinished[-1].id, to_resume(unfinished[-1], job.state, options)
        raise UsageError(
            f"run {run_id} of {name} is unfinished: `{command}` continues it, "
            f"`{again(f'abandon {run_id}', job.state, options)}` settles what is in doubt and closes it"
        )
    refuse_applied(journal, job)


def refuse_applied(journal: Journal, job: Job) -> None:
    if job.seal is None:
        return
    applied = [run.id for run in journal.runs() if run.plan_seal == job.seal]
    if applied:
        raise UsageError(f"this plan was applied by run {applied[-1]}: make a new plan")
