"""The Markdown report: GitHub's dialect, short enough for a comment, and no text of the cloud is more than text."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from journal_records import START, a_row, a_run
from markdown_it import MarkdownIt

from batchmod.cloud.codes import OWN, SERVICE, advice
from batchmod.model.events import Phase, StoppedBy
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.beside import Beside
from batchmod.report.files import Format, render_report
from batchmod.report.rows import ReportRow, report_row

RUN = replace(a_run(), finished_at=START + 61.5, exit_code=1)
COMMENT = 65_536  # characters that a comment on GitHub may have
OURS = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li"}


def text_of(rows: Iterator[ReportRow] | list[ReportRow], run: Run = RUN) -> str:
    return "".join(render_report(run, rows, Format.MD, Beside(advice=advice)))


def rows_of(*phases: Phase, name: str = "cache", **state: Any) -> list[ReportRow]:
    return [
        report_row(RUN, a_row(seq, instance_name=name), RowState(phase=phase, **state))
        for seq, phase in enumerate(phases)
    ]


class Page(HTMLParser):
    """What a reader sees: the tags, the texts in code spans, those outside, and each table's cells."""

    def __init__(self, text: str, *, html: bool) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.code: list[str] = []
        self.plain: list[str] = []
        self.rows: list[list[str]] = []
        self._inside = self._cell = False
        self.feed(MarkdownIt("gfm-like", {"html": html}).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == [], (tag, attrs)
        self.tags.add(tag)
        self._inside = tag == "code"
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = False
        self._cell = self._cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        (self.code if self._inside else self.plain).append(data)
        if self._cell:
            self.rows[-1][-1] += data


def test_the_report_says_what_needs_a_look() -> None:
    """Headline, counts, errors with what to do, and rows: unresolved before failed before not started; not the rest."""
    rows = rows_of(Phase.CHANGED, Phase.PLANNED, Phase.FAILED, Phase.IN_DOUBT, code="TaskExists", message="a|b")
    stopped = replace(RUN, stopped_by=StoppedBy.SIGNAL, accounts_failed=(("eu", "NoCredentials"),), exit_code=3)
    stopped = replace(stopped, notifiers_failed=((2, "was answered with 500"),))
    text = text_of(rows, stopped)
    page = Page(text, html=True)
    assert text.startswith("## `rotate-prod`: stopped by signal, 3 of 4 rows need a look\n")
    assert text.endswith("|\n")
    assert "took 1m 01s · exit 3: the run can be resumed" in text
    assert ["failed", "1"] in page.rows
    assert ["TaskExists", "3", advice("TaskExists")] in page.rows
    assert "eu: NoCredentials" in page.code
    assert "notification 2 was answered with 500" in page.code
    assert [row[:2] for row in page.rows[-3:]] == [
        ["unresolved", "r-bp0003"],
        ["failed", "r-bp0002"],
        ["not_started", "r-bp0001"],
    ]
    assert page.rows[-1][-1] == "a|b"


def test_a_good_run_is_short() -> None:
    """Nothing but counts."""
    text = text_of(rows_of(Phase.CHANGED, Phase.UNCHANGED, Phase.SKIPPED, code="X"))
    assert text.startswith("## `rotate-prod`: none of 3 rows needs a look\n")
    assert "###" not in text


def test_a_run_that_is_not_at_its_end_says_so() -> None:
    """One that goes on or died, and one that was given up."""
    rows = rows_of(Phase.CHANGED, Phase.PLANNED)
    assert text_of(rows, a_run()).startswith("## `rotate-prod`: has not ended, 1 of 2 rows need a look\n")
    given_up = "".join(render_report(RUN, rows, Format.MD, Beside(given_up=lambda: True)))
    assert given_up.startswith("## `rotate-prod`: given up, 1 of 2 rows need a look\n")


def test_the_report_of_a_large_fleet_fits_into_a_comment() -> None:
    """Two hundred rows of the longest texts, the worst first; the rest is counted, and where to have it is said."""
    phases = [*[Phase.FAILED] * 300, *[Phase.IN_DOUBT] * 50]
    text = text_of(rows_of(*phases, name="\x1b" * 60, code="C" * 200, message="<&`" * 200))
    assert len(text) < COMMENT
    assert text.endswith(f"\n\n… and 150 more: `batchmod report {RUN.id} --format csv` prints them all\n")
    verified = text_of(rows_of(*phases), replace(RUN, command="verify"))
    assert verified.endswith(
        "\n\n… and 150 more: `report: {formats: [csv]}` of the manifest writes them all into a file\n"
    )
    assert (text.count("\n| unresolved | `r"), text.count("\n| failed | `r")) == (50, 150)


TEXT = st.text(st.sampled_from("`|\\<>@#![]()*_~:/&;$ \n\r\t-ahttps.w\ud800\u202e"), max_size=20)


@given(TEXT)
@example("<img src=x onerror=alert(1)>")
@example("![x](https://e.example/x.png) [y](javascript:alert(1)) www.e.example https://e.example")
@example("@all #1 deadbeef owner/repo#2")
@example("` `` ``` | \\| \\\\| |\n| --- |\n<!-- ")
@example("\\")
@example(" `")
def test_hostile_text_is_only_text(text: str) -> None:
    """Whether the reader lets HTML through or not: no tag, no link, no image, and all of it in code spans."""
    rows = rows_of(Phase.FAILED, name=text, code=text or "X", message=text)
    run = replace(RUN, accounts_failed=((text, text),))
    for html in (True, False):
        page = Page(text_of(rows, run), html=html)
        calm = Page(
            text_of(
                rows_of(Phase.FAILED, name="n", code="c", message="m"), replace(RUN, accounts_failed=(("n", "r"),))
            ),
            html=html,
        )
        assert page.tags <= OURS
        assert [len(row) for row in page.rows] == [len(row) for row in calm.rows]
        assert "".join(page.plain).split() == "".join(calm.plain).split()


def test_what_to_do_is_readable() -> None:
    """No advice is broken by its own characters."""
    for rule in (*SERVICE, *OWN.values()):
        page = Page(text_of(rows_of(Phase.FAILED, code=rule.code.replace("*", "x"))), html=True)
        wanted = (advice(rule.code.replace("*", "x")) or "").replace("`", "")
        assert any(row[-1] == wanted for row in page.rows), wanted
