"""`resume` and `abandon`: an unfinished run is taken up again, or given up."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from batchmod.app.chosen import chosen_password, password_change, referred_password
from batchmod.app.driving import Driving
from batchmod.app.execute import Execution
from batchmod.app.fleet import Regions, check_fence, open_fleet
from batchmod.app.measuring import measuring
from batchmod.app.notifying import notifying
from batchmod.app.options import Options
from batchmod.app.serving import Left, check_serving, serving
from batchmod.app.session import (
    Session,
    check_report_dir,
    find_run,
    found_quotas,
    hold,
    report_dir,
    state_of,
    unfinished_runs,
)
from batchmod.app.signals import on_signals
from batchmod.app.speech import insist, speak_of
from batchmod.app.storing import reading
from batchmod.app.taking_up import same_accounts, with_stopped
from batchmod.app.watching import Watching
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.journal.store import Journal
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.loading import restore
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import COPY


async def resume(wanted: str | None, options: Options, *, held: bool) -> int:
    """Continues an unfinished run where it was left; the exit code. `held`: the state directory is ours already."""
    check_serving(options)
    state, clock = state_of(options, None), Clock()
    began = clock.wall()
    run = unfinished_run(options, wanted)
    if run is None:
        insist(f"nothing to resume in {state}")
        return 0
    async with _taken_up(run, state, options, clock, held=held) as execution:
        if execution is None:
            insist(f"nothing to resume: run {run.id} was closed meanwhile")
            return 0
        known = execution.session.journal.states(execution.run.id)
        execution.chosen = await chosen_again(execution, options, known)
        await _mark_failed(execution)
        if options.reset_budget:
            await reset_budget(execution.session.journal, run.id, clock)
        await open_gate(execution.session.journal, execution.run, clock)
        await execution.take_up(began=began)
        execution.signals.sending = True
        execution.announce(resumed=True)
        return await execution.apply()


async def abandon(wanted: str, options: Options, *, held: bool) -> int:
    """Settles what is in doubt as far as looking can, sends nothing, and closes the run; the exit code.

    `held`: the state directory is ours already.
    """
    state, clock = state_of(options, None), Clock()
    began = clock.wall()
    run = unfinished_run(options, wanted)
    if run is None:
        insist(f"nothing to abandon: no unfinished run {wanted!r} in {state}")
        return 0
    async with _taken_up(run, state, options, clock, held=held) as execution:
        if execution is None:
            insist(f"nothing to abandon: run {run.id} was closed meanwhile")
            return 0
        await _mark_failed(execution)
        await execution.take_up(began=began)
        execution.halt.stop(StoppedBy.CONTROL)
        execution.signals.sending = True
        execution.announce(resumed=True)
        return await execution.close()


def unfinished_run(options: Options, wanted: str | None, *, name: str | None = None) -> Run | None:
    """The unfinished run that is meant, of this name if one is given; None when there is none.

    UsageError when several could be meant.
    """
    with reading(options) as journal:
        unfinished = unfinished_runs(journal, name)
        if wanted is not None:
            found = find_run(journal, wanted, options)
            return next((run for run in unfinished if run.id == found.id), None)
    if len(unfinished) > 1:
        raise UsageError(f"several runs are unfinished, name one: {', '.join(run.id for run in unfinished)}")
    return unfinished[0] if unfinished else None


@asynccontextmanager
async def _taken_up(
    run: Run, state: Path, options: Options, clock: Clock, *, held: bool
) -> AsyncIterator[Execution | None]:
    """The run as an execution; None when it was closed before the state directory was ours."""
    speak_of(run.id)
    manifest = restore(run.manifest)
    reports = report_dir(options, manifest, Path(run.directory))
    check_report_dir(reports)
    told = notifying(manifest, options.environ, Path(run.directory))
    halt, watching = Halt(), Watching(options)
    with on_signals(halt, options.drain) as signals:
        async with hold(
            options, state, manifest, directory=Path(run.directory), run_id=run.id, clock=clock, held=held
        ) as session:
            known = session.journal.run(run.id)
            if known is None or (known.closed and known.finished_at is not None):
                yield None
                return
            regions = _open_regions(session, run)
            check_fence(manifest, set().union(*regions.values()), options.endpoint)
            found, notify = found_quotas(session.journal, clock), watching.notify
            shown = known.after(Mark(type=MarkType.RESUMED, at=clock.wall()))
            async with (
                measuring(options, run.name, watching, clock, began=clock.wall()) as measured,
                serving(options, watching, shown, Left(journal=session.journal, manifest=manifest)) as served,
                open_fleet(manifest, regions, options, halt=halt, notify=notify, clock=clock, found=found) as fleet,
            ):
                left = [row for row, state in session.journal.states(run.id) if state.is_open]
                same_accounts(f"run {run.id}", left, fleet.account_ids)
                yield Execution(
                    session=session,
                    fleet=with_stopped(fleet, left),
                    run=known,
                    manifest=manifest,
                    options=options,
                    reports=reports,
                    notifying=told,
                    halt=halt,
                    signals=signals,
                    watching=watching,
                    measured=measured,
                    serving=served,
                    clock=clock,
                    observed_at=run.observed_at or run.started_at,
                )


async def reset_budget(journal: Journal, run_id: str, clock: Clock) -> None:
    """No failure so far counts any more, not even one that is dated later by a clock that was ahead."""
    after_all = max(clock.wall(), *(state.finished_at or 0.0 for _, state in journal.states(run_id)), 0.0)
    await journal.mark(run_id, Mark(type=MarkType.BUDGET_RESET, at=after_all))


async def open_gate(journal: Journal, run: Run, clock: Clock) -> None:
    """An operator has looked at the wave that ended: the next may begin."""
    if run.stopped_by is StoppedBy.MANUAL:
        await journal.mark(run.id, Mark(type=MarkType.PAUSE_OVER, at=clock.wall(), wave=run.waves_ended))


async def _mark_failed(execution: Execution) -> None:
    """The journal and the execution's run name the accounts that are left out."""
    for one in execution.fleet.failed:
        at = execution.clock.wall()
        mark = Mark(type=MarkType.ACCOUNT_FAILED, at=at, account=one.account, reason=one.reason)
        await execution.session.journal.mark(execution.run.id, mark)
        execution.run = execution.run.after(mark)


def _open_regions(session: Session, run: Run) -> Regions:
    """The regions in which rows are open, by account."""
    regions: dict[str, set[str]] = {}
    for row, state in session.journal.states(run.id):
        if state.is_open:
            regions.setdefault(row.account, set()).add(row.region)
    return regions


async def chosen_again(
    execution: Driving, options: Options, known: Iterable[tuple[PlannedRow, RowState]]
) -> Secret | None:
    """The chosen password for those of the rows that were not escrowed yet; the same as when the run began, or nothing is
    sent.
    """
    store = execution.session.store
    if store is None or not any(row.kind is Kind.PASSWORD and state.phase is Phase.PLANNED for row, state in known):
        return None
    change = password_change(execution.manifest)
    chosen = chosen_password(change, options.environ, Path(execution.run.directory), place=None)
    chosen = chosen or await referred_password(change, store, place=None)
    if chosen is not None and store.fingerprint(chosen) != execution.run.password_hmac:
        raise UsageError(
            "changes: password: not the password that this run began with: set that one, or abandon the run; or the age key, "
            f"by which it is recognised, is not that of the machine that began it: {COPY}"
        )
    return chosen
