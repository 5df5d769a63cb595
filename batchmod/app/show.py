"""The commands that only read: `plan`, `runs`, `report`."""

import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from batchmod.app.ages import IsYoung, young_in
from batchmod.app.chosen import chosen_password, password_change, referred_password
from batchmod.app.fleet import check_fence, open_fleet, regions_of
from batchmod.app.options import Options
from batchmod.app.planfiles import check_output, fingerprint_of, write_plan_file
from batchmod.app.planned import instances_to_change, make_plan, pace_line
from batchmod.app.reporting import beside, write_report_files
from batchmod.app.session import find_run, report_dir, state_of
from batchmod.app.speech import emit, insist, say
from batchmod.app.stores import opened_store
from batchmod.app.storing import kept_in, reading
from batchmod.app.watching import width
from batchmod.engine.ages import never_young
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import UsageError
from batchmod.model.events import Proof
from batchmod.model.exits import DONE, FAILED
from batchmod.model.loading import Loaded, load, restore
from batchmod.model.manifest import Manifest
from batchmod.model.plan import Plan
from batchmod.model.planfile import PlanFile
from batchmod.model.planstart import is_plan_file
from batchmod.report.files import Format, render_report
from batchmod.report.plan_view import plan_table, policy_text
from batchmod.report.rows import report_row
from batchmod.report.summary import runs_table
from batchmod.secrets.schema import NoStoreError
from batchmod.secrets.store import SecretStore


async def plan(manifest_path: Path, options: Options, *, form: str, output: Path | None) -> int:
    """What a run would do now, on stdout, and in `output` if one is given; the exit code.

    Nothing is changed, and nothing is made on disk but `output` and, with a chosen password, a missing age key for it.
    """
    if is_plan_file(manifest_path):
        raise UsageError(f"{manifest_path}: a plan already: `batchmod run` applies it")
    if output is not None:
        check_output(output, manifest_path, options)
    kept_in(options)
    loaded = load(manifest_path)
    check_fence(loaded.manifest, set().union(*regions_of(loaded).values()), options.endpoint)
    file = await _plan_file(loaded, options, state_of(options, manifest_path), keep=output is not None)
    if output is not None:
        write_plan_file(file, output)
    if form == "json":
        emit(file.document())
    else:
        _show(file.plan, loaded.manifest)
    if output is not None:
        say(f"{output}: written; `batchmod run {shlex.quote(str(output))}` applies exactly this, once")
    return FAILED if file.plan.accounts_failed else DONE


def _show(plan: Plan, manifest: Manifest) -> None:
    emit([plan_table(plan, width()), "\n", *policy_text(plan)])
    pace = pace_line(manifest, plan.rows)
    if pace is not None:
        say(pace)
    insist(f"a run would change {instances_to_change(plan.rows)} instances; digest {plan.digest[:16]}")


async def _plan_file(loaded: Loaded, options: Options, state: Path, *, keep: bool) -> PlanFile:
    """The plan of this moment with all that it takes to apply it; `keep`: it will be."""
    manifest, clock = loaded.manifest, Clock()
    began, change = clock.wall(), password_change(manifest)
    chosen = chosen_password(change, options.environ, loaded.directory, place=loaded.password_place)
    aged = change is not None and change.max_age is not None
    referred = change is not None and change.secret is not None
    asked = chosen is not None or referred or aged or manifest.proof.password is Proof.LOGIN_AND_OLD_REFUSED
    async with _stored(loaded, state, options) if asked else nullcontext() as store:
        chosen = chosen or await referred_password(change, store, place=loaded.password_place)
        regions, skip = regions_of(loaded), options.skip_failed_accounts
        async with (
            _ages(loaded, store, options, now=began) as is_young,
            open_fleet(manifest, regions, options, halt=Halt(), notify=lambda _: None, clock=clock, found={}) as fleet,
        ):
            made = await make_plan(loaded, fleet, store, chosen, clock, skip_failed=skip, is_young=is_young)
            return PlanFile(
                plan=made,
                manifest=loaded.normalised,
                directory=loaded.directory,
                accounts=dict(fleet.account_ids),
                password_hmac=await fingerprint_of(chosen, store, state, options, may_make=keep),
            )


@asynccontextmanager
async def _stored(loaded: Loaded, state: Path, options: Options) -> AsyncIterator[SecretStore | None]:
    """The store, only to be read; None when there is none yet: then no password of it is current."""
    async with AsyncExitStack() as stack:
        try:
            opening = opened_store(
                loaded.manifest, state=state, directory=loaded.directory, options=options, create=False
            )
            store = await stack.enter_async_context(opening)
        except NoStoreError:
            store = None
        yield store


@asynccontextmanager
async def _ages(loaded: Loaded, store: SecretStore | None, options: Options, *, now: float) -> AsyncIterator[IsYoung]:
    """How old the stored passwords are, for as long as the block."""
    if store is None:
        yield never_young
        return
    with reading(options, loaded.path) as journal:
        yield young_in(loaded.manifest, store, journal, now=now)


def runs(options: Options) -> None:
    """All runs of the state directory or the database, oldest first, on stdout."""
    with reading(options) as journal:
        known = journal.tallies()
    emit([runs_table(known, width()), "\n"])


def report(wanted: str, options: Options, *, form: str | None) -> None:
    """The report of a run, rebuilt from the journal: on stdout in one format, or as the files that the run wrote.

    Raises ReportError when the files cannot be written.
    """
    with reading(options) as journal:
        run = find_run(journal, wanted, options)
        manifest = restore(run.manifest)
        if form is not None:
            store = manifest.secrets.store
            rows = (report_row(run, row, state, store=store) for row, state in journal.states(run.id))
            emit(render_report(run, rows, Format(form), beside(journal, run, manifest)))
            return
        for path in write_report_files(journal, run, manifest, report_dir(options, manifest, Path(run.directory))):
            emit([f"{path}\n"])
