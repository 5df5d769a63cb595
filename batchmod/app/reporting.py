"""A run's reports, made of the journal alone."""

from pathlib import Path

from batchmod.app.planned import failure_limit
from batchmod.cloud.codes import advice
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.manifest import Manifest
from batchmod.model.record import Run
from batchmod.report.beside import Beside
from batchmod.report.files import Format, ensure_writable, write_reports
from batchmod.report.history import history_of
from batchmod.report.rows import report_row


def write_report_files(journal: SqliteJournal, run: Run, manifest: Manifest, directory: Path) -> list[Path]:
    """The report files of a run, from the journal alone. Raises ReportError when they cannot be written."""
    ensure_writable(directory)
    return write_reports(
        directory,
        run,
        (report_row(run, row, state, store=manifest.secrets.store) for row, state in journal.states(run.id)),
        [Format(form) for form in manifest.report.formats],
        beside(journal, run, manifest),
    )


def beside(journal: SqliteJournal, run: Run, manifest: Manifest) -> Beside:
    """What the journal knows of a run beside its rows, read when it is asked for."""
    return Beside(
        history=lambda: history_of(run.started_at, journal.steps(run.id), journal.marks(run.id)),
        advice=advice,
        max_failures=lambda: failure_limit(manifest, (row for row, _ in journal.states(run.id))),
    )
