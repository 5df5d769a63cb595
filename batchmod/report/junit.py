"""A report as JUnit XML, in the form that Jenkins, GitLab, Azure Pipelines and GitHub's viewers have in common. Pure.

One test suite: viewers group by `classname`, which is campaign, account and region; a suite for each of these would show
durations that are no run's, for rows run side by side. All text is printable: what XML 1.0 forbids, what a parser would
change (line ends, tabs) and what hides or reorders is shown as an escape.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from batchmod.model.events import Outcome
from batchmod.model.runs import Run
from batchmod.report.beside import Beside, standing, unheard
from batchmod.report.layout import printable
from batchmod.report.rows import ReportRow
from batchmod.report.spool import Spool

ELEMENT: Final[Mapping[Outcome, str | None]] = {
    Outcome.CHANGED: None,  # passed
    Outcome.UNCHANGED: None,
    Outcome.SKIPPED: "skipped",
    Outcome.FAILED: "failure",
    Outcome.UNRESOLVED: "error",
    Outcome.NOT_STARTED: "skipped",
}


class JunitSheet:
    """One document with a test case for each row. Counts and cases are of the same pass."""

    def __init__(self, run: Run, beside: Beside) -> None:
        self._run, self._beside = run, beside
        self._counts: Counter[str | None] = Counter()
        self._spool = Spool()

    def begin(self) -> str:
        return ""  # the counts come first

    def add(self, row: ReportRow) -> str:
        self._counts[ELEMENT[row.outcome]] += 1
        self._spool.write(_case(self._run.name, row, self._beside.advice))
        return ""

    def end(self) -> Iterator[str]:
        yield '<?xml version="1.0" encoding="UTF-8"?>\n'
        yield f"<testsuites{self._totals()}>\n"
        yield f"<testsuite{self._totals()}{_attributes(skipped=self._counts['skipped'], timestamp=_begun(self._run))}>\n"
        yield "<properties>\n"
        told = _properties(self._run, standing(self._run, self._beside))
        yield from (f"<property{_attributes(name=name, value=value)}/>\n" for name, value in told)
        yield "</properties>\n"
        yield from self._spool.pieces()
        yield "</testsuite>\n</testsuites>\n"

    def close(self) -> None:
        self._spool.close()

    def _totals(self) -> str:
        ended = self._run.finished_at
        return _attributes(
            name=self._run.name,
            tests=self._counts.total(),
            failures=self._counts["failure"],
            errors=self._counts["error"],
            time=None if ended is None else f"{max(0.0, ended - self._run.started_at):.3f}",
        )


def _case(campaign: str, row: ReportRow, advice: Callable[[str], str | None]) -> str:
    case = "<testcase" + _attributes(
        classname=f"{campaign}.{row.account}.{row.region}",
        name=f"{row.instance_id} {row.change}",
        time=None if row.seconds is None else f"{max(0.0, row.seconds):.3f}",
    )
    match ELEMENT[row.outcome]:
        case None:
            return f"{case}/>\n"
        case "skipped":
            return f"{case}><skipped{_attributes(message=f'{row.outcome}: {_why(row)}')}/></testcase>\n"
        case element:
            named = _attributes(type=row.error_code or row.outcome, message=_why(row))
            text = escape("\n".join(map(printable, _told(row, advice))))
            return f"{case}><{element}{named}>{text}</{element}></testcase>\n"


def _why(row: ReportRow) -> str:
    parts = (row.error_code, row.error_message, row.detail)
    return ": ".join(dict.fromkeys(part for part in parts if part)) or row.outcome


def _told(row: ReportRow, advice: Callable[[str], str | None]) -> Iterator[str]:
    """What a person wants to know of a row that needs a look, a line each."""
    yield f"{row.outcome}: {_why(row)}"
    told = (
        ("what to do", advice(row.error_code) if row.error_code else None),
        ("instance name", row.instance_name),
        ("attempts", str(row.attempts)),
        ("request id", row.request_id),
        ("secret", row.secret_ref),
        ("from", row.started_at),
        ("to", row.finished_at),
    )
    yield from (f"{name}: {text}" for name, text in told if text)


def _properties(run: Run, state: str) -> Iterator[tuple[str, str]]:
    yield "run_id", run.id
    yield "command", run.command or "run"
    yield "manifest_digest", run.manifest_digest
    yield "state", state
    if run.exit_code is not None:
        yield "exit_code", str(run.exit_code)
    if run.stopped_by is not None:
        yield "stopped_by", run.stopped_by
    yield from (("account_failed", f"{account}: {reason}") for account, reason in run.accounts_failed)
    yield from (("consumer_failed", f"wave {wave}: {text}") for wave, _, text in run.consumers_failed)
    yield from (("notifier_failed", text) for text in unheard(run))


def _begun(run: Run) -> str:
    """UTC, without a zone and a fraction: the form that every reader takes."""
    return datetime.fromtimestamp(run.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _attributes(**values: str | int | None) -> str:
    return "".join(f" {name}={quoteattr(printable(str(value)))}" for name, value in values.items() if value is not None)
