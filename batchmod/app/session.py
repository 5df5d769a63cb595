"""What a command that writes holds while it works: the state directory, its journal and its secret store."""

import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from batchmod.app.options import Options
from batchmod.app.stores import opened_store
from batchmod.engine.clock import Clock
from batchmod.errors import ReportError, UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir, state_path
from batchmod.journal.store import Journal
from batchmod.model.events import Kind, StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.pace import REMEMBERED, Found, found_in
from batchmod.model.runs import Run
from batchmod.report.files import ensure_writable
from batchmod.secrets.store import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Held for as long as the command runs; no other process writes in this state directory meanwhile."""

    state: Path
    journal: Journal
    store: SecretStore | None  # None when no password is changed: then none is needed


def state_of(options: Options, manifest: Path | None) -> Path:
    return state_path(option=options.state, environ=options.environ, manifest=manifest, cwd=Path.cwd())


def report_dir(options: Options, manifest: Manifest, directory: Path) -> Path:
    """`--report-dir`, else the manifest's (relative to the manifest), else `reports` here."""
    if options.report_dir is not None:
        return options.report_dir
    return directory / manifest.report.dir if manifest.report.dir is not None else Path("reports")


def check_report_dir(path: Path) -> None:
    """Reports can be written there; refused before anything is sent, else."""
    try:
        ensure_writable(path)
    except ReportError as error:
        raise UsageError(str(error)) from error


@asynccontextmanager
async def hold(
    options: Options,
    state: Path,
    manifest: Manifest,
    *,
    directory: Path,
    run_id: str,
    clock: Clock,
    held: bool = False,
) -> AsyncIterator[Session]:
    """The state directory is ours, its journal and the store are open. `held`: it is ours already; `directory`: where the
    manifest's paths start.

    Raises HeldError when another process has it, UsageError when it, the journal, the store or its key is not usable.
    """
    place = StateDir(path=state)
    place.prepare()
    if held:
        place.tell(run_id=run_id, now=clock.wall())
    with nullcontext() if held else place.hold(run_id=run_id, now=clock.wall()), _journal(state) as journal:
        async with needed_store(manifest, state=state, directory=directory, options=options) as store:
            yield Session(state=state, journal=journal, store=store)


@asynccontextmanager
async def needed_store(
    manifest: Manifest, *, state: Path, directory: Path, options: Options
) -> AsyncIterator[SecretStore | None]:
    """The secret store that a run writes to; None when no password is changed. Raises UsageError as opened_store does."""
    if not any(change.kind is Kind.PASSWORD for change in manifest.changes):
        yield None
        return
    async with opened_store(manifest, state=state, directory=directory, options=options) as store:
        yield store


@contextmanager
def _journal(state: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal.open(state)
    try:
        yield journal
    finally:
        journal.close()


def found_quotas(journal: Journal, clock: Clock) -> Found:
    """What the runs of this journal found of quotas that nobody told them, or that were told wrongly."""
    now = clock.wall()
    return found_in((mark.paces or () for mark in journal.paced(now - REMEMBERED)), now=now)


def unfinished_runs(journal: Journal, name: str | None = None) -> list[Run]:
    """The runs that have an open row or a consumer to be run, or died before their report was written; oldest first.

    A closed run may have died so too: given up, and nobody told.
    """
    return [run for run, is_open in journal.left(name) if run.is_unfinished(is_open)]


def find_run(journal: Journal, wanted: str | None, options: Options) -> Run:
    """The run of this id, the only one whose id begins so, or the last one of this name; without `wanted` the last.

    Raises UsageError when there is none, or more than one.
    """
    runs, shared = journal.runs(), options.store is not None
    if not runs and shared:
        raise UsageError("there are no runs in this store: `batchmod submit` begins one; another is named with --store")
    if not runs:
        raise UsageError(
            "there are no runs in this state directory: `batchmod run` begins one; another directory is named with --state"
        )
    if wanted is None:
        return runs[-1]
    if not wanted:
        raise UsageError("an empty text names no run; `batchmod runs` lists them")
    exact = [run for run in runs if run.id == wanted] or [run for run in runs if run.name == wanted][-1:]
    found = exact or [run for run in runs if run.id.startswith(wanted)]
    if not found:
        here = "store" if shared else "state directory"
        raise UsageError(f"there is no run {wanted!r} in this {here}; `batchmod runs` lists them")
    if len(found) > 1:
        raise UsageError(f"{wanted!r} is not one run: {', '.join(run.id for run in found)}")
    return found[0]


def again(command: str, state: Path, options: Options) -> str:
    """A batchmod command line that reaches this state directory from where the user is."""
    if options.store is not None:  # which holds no secret
        return f"batchmod {command} --store {shlex.quote(options.store)}"
    reached = state_of(replace(options, state=None), None)
    where = "" if reached.resolve() == state.resolve() else f" --state {shlex.quote(str(state))}"
    return f"batchmod {command}{where}"


def to_resume(run: Run, state: Path, options: Options) -> str:
    """The command line that continues an unfinished run."""
    reset = " --reset-budget" if run.stopped_by is StoppedBy.MAX_FAILURES else ""
    return again(f"resume {run.id}{reset}", state, options)
