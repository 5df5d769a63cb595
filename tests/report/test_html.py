"""The HTML report as a file: its document is the contract, and nothing in it can be anything but data."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import unescape
from typing import Any

import pytest
from journal_records import START, a_step
from page_records import STRANGE, many, strange
from test_report_files import RUN, csv_of, text_of

from batchmod.cloud.codes import advice
from batchmod.model.events import Outcome, Phase
from batchmod.model.runs import Mark, MarkType
from batchmod.report.beside import Beside
from batchmod.report.files import Format, render_report
from batchmod.report.history import history_of
from batchmod.report.rows import COLUMNS, ReportRow

BESIDE = Beside(
    history=lambda: history_of(
        START, [a_step(Phase.FAILED, at=START + 1)], [Mark(type=MarkType.WAVE_OPENED, at=START, wave=1)]
    ),
    advice=advice,
    max_failures=lambda: 7,
)


def page_of(rows: list[ReportRow], beside: Beside = BESIDE) -> str:
    return "".join(render_report(RUN, rows, Format.HTML, beside))


def document(page: str) -> dict[str, Any]:
    """The data of a page as a browser finds it: up to the first text that could end it."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script', page, re.DOTALL | re.IGNORECASE)
    assert found is not None
    made: dict[str, Any] = json.loads(found[1])
    return made


def test_the_document_is_the_contract() -> None:
    """The run as the JSON report has it and the budget; the rows in order without what is the same in all; what to do."""
    rows = list(many(RUN, 60))
    told = document(page_of(rows))
    assert list(told) == ["schema", "run", "columns", "rows", "history", "advice", "live"]
    assert told["schema"] == "batchmod.page/1"
    assert told["run"] == json.loads(text_of(rows, Format.JSON))["run"] | {"max_failures": 7, "given_up": False}
    assert told["columns"] == list(COLUMNS[1:])
    assert told["rows"] == [list(row[1:]) for row in rows]
    assert told["history"]["told"] == [{"at": "2026-03-04T05:06:07.250Z", "text": "wave 1 opened"}]
    codes = {row.error_code for row in rows if row.error_code}
    assert told["advice"] == {code: advice(code) for code in codes if advice(code)} != {}
    assert told["live"] is None


def test_without_rows_and_history_it_is_a_page() -> None:
    """Every outcome counted, nothing of what is not known; also for a reader without scripts, who learns where rows are."""
    page = page_of([], Beside())
    told = document(page)
    assert (told["rows"], told["history"], told["advice"]) == ([], None, {})
    assert told["run"]["counts"] == dict.fromkeys(Outcome, 0)
    assert told["run"]["max_failures"] is None
    assert "0 changed, 0 unchanged" in page
    assert "<code>batchmod report 20260304T050607Z-1a2b --format csv</code> prints them all" in page
    verified = "".join(render_report(replace(RUN, command="verify"), [], Format.HTML))
    assert "<code>report: {formats: [csv]}</code> of the manifest" in verified


def test_no_text_ends_the_data_or_becomes_markup() -> None:
    """Whatever stands in the rows; half of a pair is an escape, and the text comes back as it was."""
    rows = strange(RUN)
    page = page_of(rows)
    page.encode()
    assert [row[COLUMNS.index("instance_name") - 1] for row in document(page)["rows"]] == list(STRANGE)
    plain = page_of([])
    for markup in ("<", "\u2028", "\u2029"):
        assert page.count(markup) == plain.count(markup)


def test_the_policy_allows_the_two_texts_of_the_page_alone() -> None:
    """Nothing is fetched, sent or framed; what is inline is named by its hash; no attribute is a style or a script."""
    page = page_of(list(many(RUN, 3)))
    found = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert found is not None
    policy = dict(part.strip().split(" ", 1) for part in unescape(found[1]).split(";"))
    texts = [re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("style", "script")]
    hashes = [f"'sha256-{b64encode(sha256(text[1].encode()).digest()).decode()}'" for text in texts if text]
    assert policy == {
        "default-src": "'none'",
        "style-src": hashes[0],
        "script-src": hashes[1],
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    shell = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"\s(style|on\w+|src|href=[\"']?[^#])\s*=", shell)


@pytest.mark.parametrize("name", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch("])
def test_the_script_makes_no_markup_of_text(name: str) -> None:
    """And asks for nothing."""
    assert name not in page_of([])


def test_a_title_is_text() -> None:
    """A name that the journal of another version let in."""
    page = "".join(render_report(replace(RUN, name="</title><b>"), [], Format.HTML))
    assert "<b>" not in page
    assert "&lt;/title&gt;&lt;b&gt;" in page


def test_its_numbers_are_those_of_the_csv() -> None:
    """Of the same rows, cell by cell."""
    rows = list(many(RUN, 40))
    told = document(page_of(rows))
    place = told["columns"].index("seconds")
    shown = ["" if row[place] is None else f"{row[place]:.3f}" for row in told["rows"]]
    assert shown == [line["seconds"] for line in csv_of(rows)]
