"""Reports as streamed text, and as files that are the old report or the new one, never half of one."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from batchmod.errors import ReportError
from batchmod.model.runs import Run
from batchmod.report.beside import NOTHING, Beside
from batchmod.report.rows import ReportRow
from batchmod.report.sheets import SHEETS, Format, Sheet

AT_ONCE: Final = 100  # rows that go to one file before they go to the next

__all__ = ["Format", "ensure_writable", "render_report", "replace_file", "write_reports"]


def render_report(run: Run, rows: Iterable[ReportRow], form: Format, beside: Beside = NOTHING) -> Iterator[str]:
    """The report, piece by piece; the pieces can be encoded as UTF-8. Takes the rows once, in order.

    Raises ReportError when there is no room for the temporary file that a format needs.
    """
    try:
        with closing(SHEETS[form](run, beside)) as sheet:
            for piece in _pieces(sheet, rows):
                yield piece.encode("utf-8", "backslashreplace").decode(
                    "utf-8"
                )  # a lone surrogate: valid JSON, seen in CSV
    except OSError as error:
        raise ReportError(f"the {form} report of run {run.id} cannot be made: {error.strerror}") from error


def _pieces(sheet: Sheet, rows: Iterable[ReportRow]) -> Iterator[str]:
    yield sheet.begin()
    yield from filter(None, map(sheet.add, rows))
    yield from sheet.end()


def write_reports(
    directory: Path, run: Run, rows: Iterable[ReportRow], formats: Iterable[Format], beside: Beside = NOTHING
) -> list[Path]:
    """`<name>-<run id>.<suffix>` is complete and durable for each format. Takes the rows once, in order.

    Raises ReportError, naming the path, when a file cannot be written; an older one is then still whole.
    """
    with ExitStack() as opened:
        made = [
            _Report(directory / f"{run.name}-{run.id}.{form.suffix}", run, form, beside, opened) for form in formats
        ]
        for report in made:
            report.begin()
        left = iter(rows)
        while some := list(islice(left, AT_ONCE)):
            for report in made:
                report.add(some)
        for report in made:
            report.end()
    return [report.path for report in made]


class _Report:
    """One file in the making. Every method raises ReportError that names it."""

    def __init__(self, path: Path, run: Run, form: Format, beside: Beside, opened: ExitStack) -> None:
        self.path = path
        with _named(path, "the report"):
            self._sheet = opened.enter_context(closing(SHEETS[form](run, beside)))
        self._file = opened.enter_context(_replaced(path, "the report"))

    def begin(self) -> None:
        with _named(self.path, "the report"):
            self._file.write(self._sheet.begin())

    def add(self, rows: Iterable[ReportRow]) -> None:
        with _named(self.path, "the report"):
            self._file.writelines(map(self._sheet.add, rows))

    def end(self) -> None:
        with _named(self.path, "the report"):
            self._file.writelines(self._sheet.end())


def ensure_writable(directory: Path) -> None:
    """The directory is there and takes files. Raises ReportError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b".")
    except OSError as error:
        raise ReportError(f"{directory}: reports cannot be written there: {error.strerror}") from error


def replace_file(path: Path, pieces: Iterable[str], *, what: str) -> None:
    """The file holds the pieces, durably, or is as it was. Raises ReportError, naming `what` it is, when not."""
    with _replaced(path, what) as file:
        file.writelines(pieces)


@contextmanager
def _replaced(path: Path, what: str) -> Iterator[TextIO]:
    """After the block the file holds what was written to this one, durably; after an error it is as it was."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same report
    with _named(path, what):
        try:
            # A lone surrogate is an escape: valid JSON, and seen in CSV.
            with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(path.parent)
        finally:
            with suppress(OSError):  # what cannot be removed is named by the error that led here
                part.unlink(missing_ok=True)


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"{path}: {what} cannot be written: {error.strerror}") from error


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
