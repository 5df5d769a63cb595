"""A run's reports, made of the journal alone."""

from collections.abc import Iterable
from pathlib import Path

from batchmod.app.planned import failure_limit
from batchmod.cloud.codes import advice, verdict
from batchmod.journal.store import Journal
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Mark, Run
from batchmod.report.beside import Beside
from batchmod.report.files import Format, ensure_writable, write_reports
from batchmod.report.history import History, history_of
from batchmod.report.rows import report_row


def write_report_files(
    journal: Journal, run: Run, manifest: Manifest, directory: Path, *, to_come: Iterable[Mark] = ()
) -> list[Path]:
    """The report files of a run, from the journal alone. Raises ReportError when they cannot be written.

    `to_come`: what the journal is told as soon as the files are there, and `run` has gone through.
    """
    ensure_writable(directory)
    return write_reports(
        directory,
        run,
        (report_row(run, row, state, store=manifest.secrets.store) for row, state in journal.states(run.id)),
        [Format(form) for form in manifest.report.formats],
        beside(journal, run, manifest, to_come=to_come),
    )


def beside(journal: Journal, run: Run, manifest: Manifest, *, to_come: Iterable[Mark] = ()) -> Beside:
    """What the journal knows of a run beside its rows, read when it is asked for."""

    def history() -> History:
        marks = (*journal.marks(run.id), *to_come)
        return history_of(run.started_at, journal.steps(run.id), marks, verdict=verdict)

    return Beside(
        history=history,
        advice=advice,
        max_failures=lambda: failure_limit(manifest, (row for row, _ in journal.states(run.id))),
        given_up=lambda: run.closed and journal.open_rows(run.id) > 0,
    )
