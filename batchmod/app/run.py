"""`run`, `resume` and `abandon`: one execution each, begun in three ways."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from batchmod.app.confirm import confirm
from batchmod.app.execute import Execution
from batchmod.app.exits import RESUMABLE
from batchmod.app.fleet import open_fleet
from batchmod.app.options import Options
from batchmod.app.planned import failure_limit, make_plan, pace_line
from batchmod.app.proofs import chosen_password, password_change
from batchmod.app.session import (
    Session,
    again,
    check_fence,
    check_report_dir,
    find_run,
    hold,
    new_run_id,
    no_core_dumps,
    report_dir,
    state_of,
    unfinished_runs,
)
from batchmod.app.signals import on_signals
from batchmod.app.speech import say
from batchmod.app.watching import Watching, show_plan
from batchmod.cloud.endpoints import endpoint_for
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.loading import Loaded, load, restore
from batchmod.model.notices import RunOpened
from batchmod.model.record import Mark, MarkType, Run
from batchmod.model.secret import Secret


async def run(manifest_path: Path, options: Options) -> int:
    """Plans, confirms, applies, proves and reports; the exit code.

    With `resume`, an unfinished run of the name is continued when the manifest is the same, and else closed first.
    """
    no_core_dumps()
    loaded = load(manifest_path)
    state = state_of(options, manifest_path)
    if options.resume:
        code = await _continue(loaded, replace(options, state=state))
        if code is not None:
            return code
    return await _begin(loaded, state, options)


async def _continue(loaded: Loaded, options: Options) -> int | None:
    """The exit code of the run that was continued, or could not be closed; None when a new one may begin."""
    assert options.state is not None
    unfinished = _unfinished(options.state, None, name=loaded.manifest.name)
    if unfinished is None:
        return None
    if unfinished.stopped_by is StoppedBy.MAX_FAILURES:
        command = again(f"resume {unfinished.id} --reset-budget", options.state, options)
        say(f"run {unfinished.id} has spent its failure budget: only `{command}` continues it")
        return RESUMABLE
    if unfinished.manifest_digest == loaded.digest:
        return await resume(unfinished.id, options)
    say(f"the manifest is another than run {unfinished.id}'s: that run is settled and closed first")
    code = await abandon(unfinished.id, options)
    return RESUMABLE if code == RESUMABLE else None


async def _begin(loaded: Loaded, state: Path, options: Options) -> int:
    manifest, clock, halt, watching = loaded.manifest, Clock(), Halt(), Watching(options)
    run_id = new_run_id(clock)
    check_fence(manifest, loopback=endpoint_for("r-kvstore", loaded.targets[0].region, options.endpoint).loopback)
    chosen = chosen_password(password_change(manifest), options.environ, loaded.directory)
    reports = report_dir(options, manifest, loaded.directory)
    check_report_dir(reports)
    regions = [target.region for target in loaded.targets]
    with on_signals(halt, options.drain) as signals:
        async with (
            hold(options, state, manifest, run_id=run_id, clock=clock) as session,
            open_fleet(manifest, regions, options, halt=halt, notify=watching.notify, clock=clock) as fleet,
        ):
            _refuse_unfinished(session.journal, manifest.name, state, options)
            plan = await make_plan(loaded, fleet, session.store, chosen, clock)
            show_plan(plan, options, pace_line(manifest, plan.rows))
            confirm(plan, options)
            signals.sending = True
            opened = Run(
                id=run_id,
                name=manifest.name,
                manifest_digest=loaded.digest,
                manifest=loaded.normalised,
                directory=str(loaded.directory),
                started_at=clock.wall(),
                password_hmac=session.store.fingerprint(chosen) if session.store and chosen else None,
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
            _announce(execution, resumed=False)
            return await execution.apply()


def _refuse_unfinished(journal: SqliteJournal, name: str, state: Path, options: Options) -> None:
    unfinished = unfinished_runs(journal, name)
    if unfinished:
        run_id = unfinished[-1].id
        raise UsageError(
            f"run {run_id} of {name} is unfinished: `{again(f'resume {run_id}', state, options)}` continues it, "
            f"`{again(f'abandon {run_id}', state, options)}` settles what is in doubt and closes it"
        )


async def resume(wanted: str | None, options: Options) -> int:
    """Continues an unfinished run where it was left; the exit code."""
    no_core_dumps()
    state, clock = state_of(options, None), Clock()
    run = _unfinished(state, wanted)
    if run is None:
        say(f"nothing to resume in {state}")
        return 0
    async with _taken_up(run, state, options, clock) as execution:
        if execution is None:
            say(f"nothing to resume: run {run.id} was closed meanwhile")
            return 0
        journal = execution.session.journal
        execution.chosen = _chosen_again(execution, options)
        if options.reset_budget:
            await journal.mark(run.id, Mark(type=MarkType.BUDGET_RESET, at=clock.wall()))
        await journal.mark(run.id, Mark(type=MarkType.RESUMED, at=clock.wall()))
        execution.run = journal.run(run.id) or execution.run
        execution.signals.sending = True
        _announce(execution, resumed=True)
        return await execution.apply()


async def abandon(wanted: str, options: Options) -> int:
    """Settles what is in doubt as far as looking can, sends nothing, and closes the run; the exit code."""
    no_core_dumps()
    state, clock = state_of(options, None), Clock()
    run = _unfinished(state, wanted)
    if run is None:
        say(f"nothing to abandon: no unfinished run {wanted!r} in {state}")
        return 0
    async with _taken_up(run, state, options, clock) as execution:
        if execution is None:
            say(f"nothing to abandon: run {run.id} was closed meanwhile")
            return 0
        execution.halt.stop(StoppedBy.CONTROL)
        execution.signals.sending = True
        _announce(execution, resumed=True)
        return await execution.close()


def _unfinished(state: Path, wanted: str | None, *, name: str | None = None) -> Run | None:
    """The unfinished run that is meant, of this name if one is given; None when there is none.

    UsageError when several could be meant.
    """
    if wanted is None and not (state / "journal.db").exists():
        return None
    journal = SqliteJournal.read(state)
    try:
        unfinished = unfinished_runs(journal, name)
        if wanted is not None:
            found = find_run(journal, wanted)
            return next((run for run in unfinished if run.id == found.id), None)
    finally:
        journal.close()
    if len(unfinished) > 1:
        raise UsageError(f"several runs are unfinished, name one: {', '.join(run.id for run in unfinished)}")
    return unfinished[0] if unfinished else None


@asynccontextmanager
async def _taken_up(run: Run, state: Path, options: Options, clock: Clock) -> AsyncIterator[Execution | None]:
    """The run as an execution; None when it was closed before the state directory was ours."""
    manifest = restore(run.manifest)
    reports = report_dir(options, manifest, Path(run.directory))
    check_report_dir(reports)
    halt, watching = Halt(), Watching(options)
    with on_signals(halt, options.drain) as signals:
        async with hold(options, state, manifest, run_id=run.id, clock=clock) as session:
            known = session.journal.run(run.id)
            if known is None or known.closed:
                yield None
                return
            regions = [row.region for row, row_state in session.journal.states(run.id) if row_state.is_open]
            loopback = endpoint_for("r-kvstore", regions[0] if regions else None, options.endpoint).loopback
            check_fence(manifest, loopback=loopback)
            async with open_fleet(manifest, regions, options, halt=halt, notify=watching.notify, clock=clock) as fleet:
                _same_account(session, run, fleet.account_ids.values())
                yield Execution(
                    session=session,
                    fleet=fleet,
                    run=known,
                    manifest=manifest,
                    options=options,
                    reports=reports,
                    halt=halt,
                    signals=signals,
                    watching=watching,
                    clock=clock,
                )


def _same_account(session: Session, run: Run, account_ids: Iterable[str]) -> None:
    planned = {row.account_id for row, state in session.journal.states(run.id) if state.is_open}
    if not planned <= set(account_ids):
        raise UsageError(
            f"run {run.id} belongs to account {', '.join(sorted(planned))}: these credentials are another's"
        )


def _announce(execution: Execution, *, resumed: bool) -> None:
    known = list(execution.session.journal.states(execution.run.id))
    opened = RunOpened(
        run_id=execution.run.id,
        name=execution.run.name,
        resumed=resumed,
        rows=len(known),
        to_send=sum(state.is_open for _, state in known),
        max_failures=failure_limit(execution.manifest, [row for row, _ in known]),
    )
    execution.watching.open(opened, known)


def _chosen_again(execution: Execution, options: Options) -> Secret | None:
    """The chosen password for rows that were not escrowed yet; the same as when the run began, or nothing is sent."""
    store, rows = execution.session.store, execution.session.journal.states(execution.run.id)
    if store is None or not any(row.kind is Kind.PASSWORD and state.phase is Phase.PLANNED for row, state in rows):
        return None
    change = password_change(execution.manifest)
    chosen = chosen_password(change, options.environ, Path(execution.run.directory))
    if chosen is not None and store.fingerprint(chosen) != execution.run.password_hmac:
        raise UsageError(
            "changes: password: not the password that this run began with: set that one, or abandon the run"
        )
    return chosen
