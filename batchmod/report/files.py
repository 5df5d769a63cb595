"""Reports as CSV and JSON: streamed text, and files that are the old report or the new one, never half of one."""

import csv
import io
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from batchmod.errors import ReportError
from batchmod.model.events import Outcome
from batchmod.model.record import Run
from batchmod.report.layout import moment
from batchmod.report.rows import COLUMNS, ReportRow

SCHEMA: Final = "batchmod.report/1"
SPOOL: Final = 4 * 1024 * 1024  # bytes of rows kept in memory before a temporary file takes them

_JSON = json.JSONEncoder(ensure_ascii=False).encode
# What a spreadsheet takes for a formula, also behind blanks and quotes, which it drops; and its full-width forms.
_RUNS = re.compile(r"[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"


def render_report(run: Run, rows: Iterable[ReportRow], form: Format) -> Iterator[str]:
    """The report, piece by piece; the pieces can be encoded as UTF-8. Takes the rows once, in order.

    Raises ReportError when there is no room for the temporary file that JSON needs.
    """
    try:
        for piece in WRITERS[form](run, rows):
            yield piece.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate: valid JSON, seen in CSV
    except OSError as error:
        raise ReportError(f"the {form} report of run {run.id} cannot be made: {error.strerror}") from error


def write_reports(
    directory: Path, run: Run, rows: Callable[[], Iterable[ReportRow]], formats: Iterable[Format]
) -> list[Path]:
    """`<name>-<run id>.<format>` is complete and durable for each format; `rows` is called once for each.

    Raises ReportError, naming the path, when a file cannot be written; an older one is then still whole.
    """
    paths = []
    for form in formats:
        path = directory / f"{run.name}-{run.id}.{form}"
        replace_file(path, render_report(run, rows(), form), what="the report")
        paths.append(path)
    return paths


def ensure_writable(directory: Path) -> None:
    """The directory is there and takes files. Raises ReportError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b".")
    except OSError as error:
        raise ReportError(f"{directory}: reports cannot be written there: {error.strerror}") from error


def as_csv(_: Run, rows: Iterable[ReportRow]) -> Iterator[str]:
    """RFC 4180, lines end with CR LF, header first; no text cell is a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(name, getattr(row, name)) for name in COLUMNS])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_json(run: Run, rows: Iterable[ReportRow]) -> Iterator[str]:
    """One object with the run, its counts, and one row a line. Counts and rows are of the same pass."""
    counts: Counter[Outcome] = Counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", newline="", buffering=SPOOL) as spool:
        for row in rows:
            spool.write((",\n" if counts else "\n") + _JSON({name: getattr(row, name) for name in COLUMNS}))
            counts[row.outcome] += 1
        spool.seek(0)
        yield f'{{"schema": {json.dumps(SCHEMA)}, "run": {_JSON(_run(run, counts))}, "rows": ['
        while piece := spool.read(65536):
            yield piece
    yield "\n]}\n"


WRITERS: Final[Mapping[Format, Callable[[Run, Iterable[ReportRow]], Iterator[str]]]] = {
    Format.CSV: as_csv,
    Format.JSON: as_json,
}


def _run(run: Run, counts: Mapping[Outcome, int]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "manifest_digest": run.manifest_digest,
        "started_at": moment(run.started_at),
        "finished_at": None if run.finished_at is None else moment(run.finished_at),
        "stopped_by": run.stopped_by,
        "exit_code": run.exit_code,
        "accounts_failed": [{"account": account, "reason": reason} for account, reason in run.accounts_failed],
        "counts": {outcome: counts.get(outcome, 0) for outcome in Outcome},
    }


def _cell(name: str, value: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return f"'{value}" if _RUNS.match(value) else value
    return f"{value:.3f}" if name == "seconds" and value is not None else value


def replace_file(path: Path, pieces: Iterable[str], *, what: str) -> None:
    """The file holds the pieces, durably, or is as it was. Raises ReportError, naming `what` it is, when not."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same report
    try:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(path.parent)
        finally:
            with suppress(OSError):  # what cannot be removed is named by the error that led here
                part.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"{path}: {what} cannot be written: {error.strerror}") from error


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
