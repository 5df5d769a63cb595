"""Every format of a report, and CSV and JSON: text that comes row by row. It may hold lone surrogates, as rows may."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from json.encoder import encode_basestring as quoted
from typing import Any, Final, Protocol

from batchmod.model.events import Outcome
from batchmod.model.runs import Run
from batchmod.report.beside import Beside
from batchmod.report.junit import JunitSheet
from batchmod.report.layout import moment
from batchmod.report.markdown import MarkdownSheet
from batchmod.report.rows import COLUMNS, ReportRow
from batchmod.report.spool import Spool

SCHEMA: Final = "batchmod.report/1"

_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode
_NAMED: Final = tuple(f"{quoted(name)}: " for name in COLUMNS)
# What a spreadsheet takes for a formula, also behind blanks and quotes, which it drops; and its full-width forms.
_RUNS: Final = re.compile(r"[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"
    HTML = "html"
    JUNIT = "junit"
    MD = "md"

    @property
    def suffix(self) -> str:
        """How the name of a file ends; what reads JUnit files looks for XML."""
        return "junit.xml" if self is Format.JUNIT else self.value


class Sheet(Protocol):
    """A report in the making, which says what it can as soon as it can. Raises OSError when a temporary file fails."""

    def begin(self) -> str: ...

    def add(self, row: ReportRow) -> str: ...

    def end(self) -> Iterator[str]: ...

    def close(self) -> None: ...


class CsvSheet:
    """RFC 4180, lines end with CR LF, header first; no text cell is a formula."""

    def __init__(self, _: Run, __: Beside) -> None:
        self._writer = csv.writer(_Echo())

    def begin(self) -> str:
        return self._line(COLUMNS)

    def add(self, row: ReportRow) -> str:
        *cells, seconds = row
        return self._line([*map(_cell, cells), None if seconds is None else f"{seconds:.3f}"])

    def end(self) -> Iterator[str]:
        return iter(())

    def close(self) -> None:
        """There is nothing to let go of."""

    def _line(self, cells: Iterable[str | float | None]) -> str:
        line: str = self._writer.writerow(cells)  # whatever the writer's file said
        return line


class _Echo:
    def write(self, text: str) -> str:
        return text


class JsonSheet:
    """One object with the run, its counts, and one row a line. Counts and rows are of the same pass."""

    def __init__(self, run: Run, _: Beside) -> None:
        self._run = run
        self._counts: Counter[Outcome] = Counter()
        self._spool = Spool()

    def begin(self) -> str:
        return ""  # the counts come first

    def add(self, row: ReportRow) -> str:
        self._spool.write((",\n" if self._counts else "\n") + _object(row))
        self._counts[row.outcome] += 1
        return ""

    def end(self) -> Iterator[str]:
        yield f'{{"schema": {quoted(SCHEMA)}, "run": {_JSON(run_document(self._run, self._counts))}, "rows": ['
        yield from self._spool.pieces()
        yield "\n]}\n"

    def close(self) -> None:
        self._spool.close()


def _html(run: Run, beside: Beside) -> Sheet:
    from batchmod.report.html import HtmlSheet  # noqa: PLC0415  few runs need it, and it costs every start

    return HtmlSheet(run, beside)


SHEETS: Final[Mapping[Format, Callable[[Run, Beside], Sheet]]] = {
    Format.CSV: CsvSheet,
    Format.JSON: JsonSheet,
    Format.HTML: _html,
    Format.JUNIT: JunitSheet,
    Format.MD: MarkdownSheet,
}


def run_document(run: Run, counts: Mapping[Outcome, int]) -> dict[str, Any]:
    """The run and its counts, as JSON has them."""
    return {
        "id": run.id,
        "command": run.command or "run",
        "name": run.name,
        "manifest_digest": run.manifest_digest,
        "started_at": moment(run.started_at),
        "finished_at": None if run.finished_at is None else moment(run.finished_at),
        "stopped_by": run.stopped_by,
        "exit_code": run.exit_code,
        "accounts_failed": [{"account": account, "reason": reason} for account, reason in run.accounts_failed],
        "consumers_failed": [{"wave": wave, "text": text} for wave, _, text in run.consumers_failed],
        "notifiers_failed": [{"notify": number, "reason": reason} for number, reason in run.notifiers_failed],
        "pacing": [pace.document() for pace in sorted(run.paces, key=lambda pace: pace.key)],
        "counts": {outcome: counts.get(outcome, 0) for outcome in Outcome},
    }


def _object(row: ReportRow) -> str:
    """As `_JSON` would write it, in half of its time."""
    return "{" + ", ".join([name + _value(value) for name, value in zip(_NAMED, row, strict=True)]) + "}"


def _value(value: str | float | None) -> str:
    if isinstance(value, str):
        return quoted(value)
    return "null" if value is None else repr(value)


def _cell(value: str | float | None) -> str | float | None:
    if not isinstance(value, str) or value[:1].isalnum() or not _RUNS.match(value):
        return value
    return f"'{value}"
