"""`run`: a new run, or first an old one of the same name."""

from dataclasses import replace
from pathlib import Path

from batchmod.app.chosen import chosen_password, password_change
from batchmod.app.confirm import confirm
from batchmod.app.execute import Execution
from batchmod.app.fleet import check_fence, open_fleet, regions_of
from batchmod.app.options import Options
from batchmod.app.planned import make_plan, pace_line
from batchmod.app.resume import abandon, resume, unfinished_run
from batchmod.app.session import (
    again,
    check_report_dir,
    hold,
    new_run_id,
    report_dir,
    state_of,
    unfinished_runs,
)
from batchmod.app.signals import on_signals
from batchmod.app.speech import say
from batchmod.app.watching import Watching, show_plan
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import StoppedBy
from batchmod.model.exits import RESUMABLE
from batchmod.model.loading import Loaded, load
from batchmod.model.record import Run


async def run(manifest_path: Path, options: Options) -> int:
    """Plans, confirms, applies, proves and reports; the exit code.

    With `resume`, an unfinished run of the name is continued when the manifest is the same, and else closed first.
    """
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
    unfinished = unfinished_run(options.state, None, name=loaded.manifest.name)
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
            plan = await make_plan(loaded, fleet, session.store, chosen, clock, skip_failed=skip)
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


def _refuse_unfinished(journal: SqliteJournal, name: str, state: Path, options: Options) -> None:
    unfinished = unfinished_runs(journal, name)
    if unfinished:
        run_id = unfinished[-1].id
        raise UsageError(
            f"run {run_id} of {name} is unfinished: `{again(f'resume {run_id}', state, options)}` continues it, "
            f"`{again(f'abandon {run_id}', state, options)}` settles what is in doubt and closes it"
        )
