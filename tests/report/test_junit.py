"""The JUnit report: it validates, viewers count what the CSV counts, and no text of the cloud is markup."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from journal_records import START, a_row, a_run
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from lxml import etree

from batchmod.cloud.codes import advice
from batchmod.model.events import Kind, Outcome, Phase, StoppedBy
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.beside import Beside
from batchmod.report.files import Format, render_report, write_reports
from batchmod.report.rows import ReportRow, report_row

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "junit.xsd"))
RUN = replace(
    a_run(),
    finished_at=START + 61.5,
    stopped_by=StoppedBy.SIGNAL,
    exit_code=3,
    accounts_failed=(("eu", "InvalidAccessKeyId.NotFound"),),
    consumers_failed=((1, 0, "consumer ./a.sh ended with 3"),),
    notifiers_failed=((2, "was answered with 500"),),
)
BESIDE = Beside(advice=advice)
PASSED = {Outcome.CHANGED, Outcome.UNCHANGED}
RESULTS = {
    Outcome.SKIPPED: Skipped,
    Outcome.NOT_STARTED: Skipped,
    Outcome.FAILED: Failure,
    Outcome.UNRESOLVED: Error,
}


def report_of(*phases: Phase, run: Run = RUN, **state: Any) -> tuple[str, list[ReportRow]]:
    """The text, which validates, and its rows."""
    rows = [report_row(run, a_row(seq), RowState(phase=phase, **state)) for seq, phase in enumerate(phases)]
    text = "".join(render_report(run, rows, Format.JUNIT, BESIDE))
    SCHEMA.assertValid(etree.fromstring(text.encode("utf-8")))
    return text, rows


def read(text: str) -> TestSuite:
    """The only suite, as a viewer's parser has it."""
    (suite,) = JUnitXml.fromstring(text.encode("utf-8"))
    assert isinstance(suite, TestSuite)
    return suite


def test_a_viewer_counts_what_the_csv_counts() -> None:
    """Case by case, and in the totals of root and suite, which stand before the cases."""
    ended = [Phase(outcome.value) for outcome in Outcome]
    text, rows = report_of(*ended, *ended, Phase.FAILED, Phase.IN_DOUBT, Phase.PLANNED)
    lines = csv.DictReader(io.StringIO("".join(render_report(RUN, rows, Format.CSV)), newline=""))
    counted = Counter(Outcome(line["outcome"]) for line in lines)
    suite = read(text)
    skipped = counted[Outcome.SKIPPED] + counted[Outcome.NOT_STARTED]
    wanted = (counted.total(), counted[Outcome.FAILED], counted[Outcome.UNRESOLVED], skipped)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == wanted == (15, 3, 3, 5)
    for outcome, case in zip([row.outcome for row in rows], suite, strict=True):
        assert isinstance(case, TestCase)
        assert [type(one) for one in case.result] == ([] if outcome in PASSED else [RESULTS[outcome]])
    root = etree.fromstring(text.encode("utf-8"))
    assert dict(root.attrib) == {
        "name": "rotate-prod",
        "tests": "15",
        "failures": "3",
        "errors": "3",
        "time": "61.500",
    }


def test_a_case_says_who_why_and_what_to_do() -> None:
    """The campaign, account and region group it; the code is its type; the advice stands in its text."""
    text, _ = report_of(
        Phase.FAILED, code="IncorrectDBInstanceLockMode", message="locked", request_id="R-1", started_at=START,
        finished_at=START + 2.5, attempts=2,
    )  # fmt: skip
    (case,) = read(text)
    assert isinstance(case, TestCase)
    assert (case.classname, case.name, case.time) == ("rotate-prod.prod.cn-hangzhou", "r-bp0000 password", 2.5)
    (failure,) = case.result
    assert (failure.type, failure.message) == ("IncorrectDBInstanceLockMode", "IncorrectDBInstanceLockMode: locked")
    assert f"what to do: {advice('IncorrectDBInstanceLockMode')}" in (failure.text or "").splitlines()
    assert "request id: R-1" in (failure.text or "")


def test_the_suite_says_what_the_run_was() -> None:
    """Its properties; when it began, without zone or host; a run without rows and without an end validates too."""
    text, _ = report_of()
    suite = read(text)
    assert suite.timestamp == "2026-03-04T05:06:07"
    assert suite.hostname is None
    assert {(one.get("name"), one.get("value")) for one in etree.fromstring(text.encode("utf-8")).iter("property")} == {
        ("run_id", RUN.id),
        ("command", "run"),
        ("manifest_digest", "d1"),
        ("exit_code", "3"),
        ("stopped_by", "signal"),
        ("account_failed", "eu: InvalidAccessKeyId.NotFound"),
        ("consumer_failed", "wave 1: consumer ./a.sh ended with 3"),
        ("notifier_failed", "notification 2 was answered with 500"),
        ("state", "stopped"),
    }
    assert read(report_of(run=a_run())[0]).time == 0
    for run, state in ((a_run(), "not ended"), (replace(RUN, closed=True, exit_code=1), "ended")):
        assert f'<property name="state" value="{state}"/>' in report_of(run=run)[0]


TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)  # lone surrogates and controls too


@given(TEXT, TEXT)
@example("\ud800\0\x1b[31m\ufffe", "</failure><!--")
@example(']]>&#0;"\r\n\t', "<img src=x onerror=alert(1)>")
def test_no_text_is_markup(message: str, detail: str) -> None:
    """Whatever it holds the file validates, and what a parser reads can be printed: the forbidden as escapes."""
    text, _ = report_of(Phase.FAILED, Phase.SKIPPED, code="X", message=message, detail=detail)
    failed, skipped = read(text)
    assert isinstance(failed, TestCase)
    assert isinstance(skipped, TestCase)
    shown = failed.result[0].message or ""
    assert shown.isprintable()
    assert "".join(char for char in message if char.isprintable()) in shown or not message.isprintable()
    assert (skipped.result[0].message or "").startswith("skipped: X")


def test_a_hundred_thousand_rows_stream(tmp_path: Path) -> None:
    """To a file that ends in `.junit.xml`, three changes of one instance side by side, and read again as a stream."""

    def rows() -> Iterator[ReportRow]:
        for seq in range(100_000):
            row = a_row(seq, instance_id=f"r-bp{seq // 3}", kind=tuple(Kind)[seq % 3])
            yield report_row(RUN, row, RowState(phase=Phase.FAILED if seq % 1000 == 0 else Phase.CHANGED))

    (path,) = write_reports(tmp_path, RUN, rows(), [Format.JUNIT])
    assert path.name == f"rotate-prod-{RUN.id}.junit.xml"
    seen: Counter[str] = Counter()
    for _, element in etree.iterparse(path, schema=SCHEMA):
        seen[str(element.tag)] += 1
        element.clear()
    assert (seen["testcase"], seen["failure"]) == (100_000, 100)
