"""The commands that only read: `plan`, `runs`, `report`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchmod.app.chosen import chosen_password, password_change
from batchmod.app.execute import write_report_files
from batchmod.app.fleet import check_fence, open_fleet, regions_of
from batchmod.app.options import Options
from batchmod.app.planned import instances_to_change, make_plan, pace_line
from batchmod.app.session import find_run, report_dir, state_of
from batchmod.app.speech import emit, say
from batchmod.app.watching import width
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Proof
from batchmod.model.exits import DONE, FAILED
from batchmod.model.loading import Loaded, load, restore
from batchmod.model.plan import Plan
from batchmod.report.files import Format, render_report
from batchmod.report.plan_view import plan_json, plan_table, policy_text
from batchmod.report.rows import report_row
from batchmod.report.summary import runs_table
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.schema import NoStoreError


async def plan(manifest_path: Path, options: Options, *, form: str) -> int:
    """What a run would do now, on stdout; the exit code. Nothing is changed, and nothing is made on disk."""
    loaded, clock = load(manifest_path), Clock()
    manifest = loaded.manifest
    check_fence(manifest, set().union(*regions_of(loaded).values()), options.endpoint)
    made = await _plan(loaded, options, state_of(options, manifest_path), clock)
    code = FAILED if made.accounts_failed else DONE
    if form == "json":
        emit(plan_json(made))
        return code
    emit([plan_table(made, width()), "\n", *policy_text(made)])
    pace = pace_line(manifest, made.rows)
    if pace is not None:
        say(pace)
    say(f"a run would change {instances_to_change(made.rows)} instances; digest {made.digest[:16]}")
    return code


async def _plan(loaded: Loaded, options: Options, state: Path, clock: Clock) -> Plan:
    manifest = loaded.manifest
    chosen = chosen_password(password_change(manifest), options.environ, loaded.directory, place=loaded.password_place)
    store = None
    if chosen is not None or manifest.proof.password is Proof.LOGIN_AND_OLD_REFUSED:
        with suppress(NoStoreError):  # then no password of it is current
            store = EmbeddedStore.open(state, environ=options.environ, say=say, create=False)
    try:
        regions, skip = regions_of(loaded), options.skip_failed_accounts
        async with open_fleet(manifest, regions, options, halt=Halt(), notify=lambda _: None, clock=clock) as fleet:
            return await make_plan(loaded, fleet, store, chosen, clock, skip_failed=skip)
    finally:
        if store is not None:
            await store.close()


@contextmanager
def _journal(options: Options) -> Iterator[SqliteJournal]:
    journal = SqliteJournal.read(state_of(options, None))
    try:
        yield journal
    finally:
        journal.close()


def runs(options: Options) -> None:
    """All runs of the state directory, oldest first, on stdout."""
    with _journal(options) as journal:
        known = [(run, journal.counts(run.id), journal.open_rows(run.id)) for run in journal.runs()]
    emit([runs_table(known, width()), "\n"])


def report(wanted: str, options: Options, *, form: str | None) -> None:
    """The report of a run, rebuilt from the journal: on stdout in one format, or as the files that the run wrote.

    Raises ReportError when the files cannot be written.
    """
    with _journal(options) as journal:
        run = find_run(journal, wanted)
        if form is not None:
            rows = (report_row(run, row, state) for row, state in journal.states(run.id))
            emit(render_report(run, rows, Format(form)))
            return
        manifest = restore(run.manifest)
        for path in write_report_files(journal, run, manifest, report_dir(options, manifest, Path(run.directory))):
            emit([f"{path}\n"])
