"""The last words on a run, and the list of runs. Pure text; no terminal."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from batchmod.model.events import Outcome, StoppedBy
from batchmod.model.exits import MEANINGS
from batchmod.model.runs import Run
from batchmod.report.layout import columns, duration, moment, printable


def summary(
    run: Run,
    counts: Mapping[Outcome, int],
    paths: Sequence[Path],
    open_rows: int,
    *,
    resume: str | None = None,
    quiet: bool = False,
    closed_first: str | None = None,
) -> str:
    """What came of the run, without a last line end: counts, the exit code in words, the reports, what to do next.

    `resume` is the command that takes up what is open; `closed_first` an older run that was closed before this one
    began. Quiet, it is one line.
    """
    if quiet:
        shown = ", ".join(f"{rows} {outcome}" for outcome, rows in _all(counts) if rows) or "no rows"
        parts = [f"{run.name} {run.id}: {shown}"]
        parts += [f"stopped by {run.stopped_by}"] if run.stopped_by else []
        parts += [f"wave {wave}: {text}" for wave, _, text in run.consumers_failed]
        parts += [f"exit {_code(run)}"]
        parts += [", ".join(str(path) for path in paths)] if paths else []
        parts += [f"run {closed_first} was closed first"] if closed_first else []
        return printable("; ".join(parts))
    lines = [f"{run.name} {run.id}: {sum(counts.values())} rows{_elapsed(run)}"]
    lines.append("  " + " · ".join(f"{rows} {outcome}" for outcome, rows in _all(counts)))
    lines += [f"account {account} stopped: {reason}" for account, reason in run.accounts_failed]
    lines += [f"wave {wave}: {text}" for wave, _, text in run.consumers_failed]
    if run.stopped_by:
        lines.append(f"stopped by: {run.stopped_by}")
    if run.exit_code is not None:
        lines.append(f"exit {run.exit_code}: {MEANINGS.get(run.exit_code, 'unknown')}")
    lines += [f"report: {path}" for path in paths]
    lines += [f"next: {hint}" for hint in steps(run, counts, open_rows, resume)]
    return "\n".join(printable(line) for line in lines)


def runs_table(runs: Iterable[tuple[Run, Mapping[Outcome, int], int]], width: int) -> str:
    """One line for each run with its counts and open rows, in the order given; without a last line end."""
    lines: list[tuple[str, ...]] = [
        ("run", "name", "started", "rows", "changed", "failed", "unresolved", "open", "state")
    ]
    for run, counts, open_rows in runs:
        numbers = (sum(counts.values()), *(counts.get(one, 0) for one in _SHOWN), open_rows)
        started = moment(run.started_at, timespec="seconds")
        lines.append((run.id, printable(run.name), started, *map(str, numbers), _state(run, open_rows)))
    if len(lines) == 1:
        return "no runs yet"
    return "\n".join(columns(lines, width))


_SHOWN: Final = (Outcome.CHANGED, Outcome.FAILED, Outcome.UNRESOLVED)


def _all(counts: Mapping[Outcome, int]) -> list[tuple[Outcome, int]]:
    return [(outcome, counts.get(outcome, 0)) for outcome in Outcome]


def _code(run: Run) -> str:
    return "unknown" if run.exit_code is None else str(run.exit_code)


def _elapsed(run: Run) -> str:
    """From the first start to the last end; a pause before a resume is part of it."""
    return "" if run.finished_at is None else f", {duration(run.finished_at - run.started_at)} since it was started"


def steps(run: Run, counts: Mapping[Outcome, int], open_rows: int, resume: str | None) -> list[str]:
    """What is left to do for a person, one sentence each."""
    if run.command is not None:
        return [words.format(counts[outcome]) for outcome, words in _OF_STORED.items() if counts.get(outcome)]
    found = []
    if open_rows and not run.closed:
        command = resume or f"batchmod resume {run.id}"
        spent = run.stopped_by is StoppedBy.MAX_FAILURES
        found.append(f"{command}{' --reset-budget' if spent else ''} ({open_rows} rows are open)")
    elif resume:
        found.append(f"{resume} (no row is open: what is still to be done comes after them)")
    if unresolved := counts.get(Outcome.UNRESOLVED, 0):
        found.append(
            f"look at the {unresolved} unresolved rows of the report: each may or may not have been applied; "
            "every password that may be live is in the secret store"
        )
    if failed := counts.get(Outcome.FAILED, 0):
        found.append(f"see error_code of the {failed} failed rows; nothing was changed there")
    return found


_OF_STORED: Final = {  # after `verify` and `reconcile`
    Outcome.FAILED: "detail of the {} failed rows says what is known there; `batchmod reconcile` makes what is live current "
    "(with --store: rotate those again)",
    Outcome.UNRESOLVED: "detail of the {} unresolved rows says why; nothing that is stored was deleted",
}


def _state(run: Run, open_rows: int) -> str:
    if not run.closed and run.is_unfinished(open_rows):
        return "unfinished" + (f", stopped by {run.stopped_by}" if run.stopped_by else "")
    if run.closed and open_rows:
        return "abandoned"
    return "ended" if run.exit_code is None else f"ended, exit {run.exit_code}"
