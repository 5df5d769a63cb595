"""The HTML report in a real browser: what people see of it, and what it never does."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import Opened
from journal_records import START, a_row, a_run
from page_records import STRANGE, many, strange
from test_html import page_of
from test_report_files import RUN, csv_of

from batchmod.model.events import Phase, Proof, StoppedBy
from batchmod.model.record import RowState
from batchmod.report.beside import Beside
from batchmod.report.files import Format, render_report
from batchmod.report.layout import printable
from batchmod.report.rows import ReportRow, report_row

if TYPE_CHECKING:
    from playwright.async_api import Page

# The weakest contrast of text to what is behind it, of all elements with text of their own that can be seen.
CONTRAST = """() => {
  const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => { for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor); if (color.length === 3 || color[3] > 0) return color; }
    return [255, 255, 255]; };
  let weakest = [99, ""];
  for (const node of document.querySelectorAll("main *, header *, footer")) {
    if (![...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim()) || !node.checkVisibility()) continue;
    if (node.closest("svg, button:disabled, option")) continue;
    const [one, other] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < weakest[0]) weakest = [contrast, node.outerHTML.slice(0, 90)];
  }
  return weakest; }"""


async def show(opened: Opened, folder: Path, rows: list[ReportRow], **beside: Any) -> "Page":
    """The page of these rows, opened from its file."""
    path = folder / "report.html"
    path.write_text(page_of(rows, **beside), encoding="utf-8")
    await opened.page.goto(path.as_uri())
    return opened.page


async def cells(page: "Page", column: str) -> list[str]:
    """What stands in a column, row by row, in the window as it is after the next frame."""
    found: list[str] = await page.evaluate(
        """async (column) => { await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        const heads = [...document.querySelectorAll("#table th")].filter((head) => !head.hidden);
        const place = heads.findIndex((head) => head.dataset.column === column);
        return [...document.querySelectorAll("#table tbody tr")].map((row) => row.cells[place].textContent); }""",
        column,
    )
    return found


async def test_a_strange_fleet_is_text(opened: Opened, tmp_path: Path) -> None:
    """No dialog, no error, no request but for the file itself; what hides or reorders is seen as an escape."""
    page = await show(opened, tmp_path, strange(RUN))
    names = [printable(text) for text in STRANGE]
    for column in ("instance_name", "account", "detail", "error_message", "request_id"):
        assert await cells(page, column) == names
    assert await page.locator("#errors .many").count() == len(STRANGE)
    options = await page.locator("select[name=account] option").all_text_contents()
    assert sorted(options[1:]) == sorted(names)
    await page.locator("#text").fill("onerror=alert(1)>")
    assert await cells(page, "instance_name") == names[:1]
    await page.locator("#all").click()
    await page.locator("#errors button").nth(1).click()
    assert len(await cells(page, "instance_name")) == 1
    assert await page.locator("main img, main iframe, body script script").count() == 0
    assert await page.evaluate("globalThis.batchmod && document.scripts.length") == 2
    long = [row._replace(secret_ref="s" * 200, instance_id="i" * 90) for row in strange(RUN)[:1]]
    await show(opened, tmp_path, long)
    cut = "[...document.querySelectorAll('#table td')].filter((one) => one.scrollWidth > one.clientWidth).length"
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate(cut) == 0  # all of a text can be read, also without a mouse
    assert opened.complaints == []
    assert set(opened.asked) == {(tmp_path / "report.html").as_uri()}


async def test_rows_are_filtered_sorted_and_paged(opened: Opened, tmp_path: Path) -> None:
    """With the numbers of the CSV, by mouse and by keyboard alone; never more than 200 rows are in the page."""
    rows = list(many(RUN, 450))
    table = csv_of(rows)
    page = await show(opened, tmp_path, rows)
    counted = Counter(line["outcome"] for line in table)
    for outcome in counted:
        assert await page.locator(f".count.{outcome} b").text_content() == str(counted[outcome])
    assert 0 < len(await cells(page, "seconds")) <= 200
    assert await cells(page, "seconds") == [line["seconds"] for line in table[:100]]

    await page.locator(".count.failed").click()
    failed = [line["instance_id"] for line in table if line["outcome"] == "failed"]
    assert await cells(page, "instance_id") == failed
    assert (await page.locator("#matches").text_content() or "").startswith(f"{len(failed)} rows of 450;")
    await page.locator("select[name=wave]").select_option(label="2")
    assert await cells(page, "instance_id") == [
        line["instance_id"] for line in table if line["outcome"] == "failed" and line["wave"] == "2"
    ]
    await page.locator("#all").click()

    seconds = sorted((float(line["seconds"]) for line in table if line["seconds"]), reverse=True)
    head = page.locator("th[data-column=seconds]")
    await head.locator("button").focus()
    await page.keyboard.press("Enter")
    assert await cells(page, "seconds") == [f"{each:.3f}" for each in seconds[::-1][:100]]
    assert await head.get_attribute("aria-sort") == "ascending"
    await page.keyboard.press("Space")
    assert await cells(page, "seconds") == [f"{each:.3f}" for each in seconds[:100]]
    assert await head.get_attribute("aria-sort") == "descending"
    for _ in range(4):
        await page.locator("#next").press("Enter")
    last = [f"{each:.3f}" for each in seconds[400:]]
    assert await cells(page, "seconds") == last + [""] * (50 - len(last))  # what has no number comes last
    assert await page.locator("#next").is_disabled()

    await page.locator("#text").focus()
    await page.keyboard.type("TEAM3-CACHE-3 prod")
    found = [
        each.instance_id for each in rows if each.account == "prod" and "team3-cache-3" in (each.instance_name or "")
    ]
    assert sorted(await cells(page, "instance_id")) == sorted(found) != []
    await page.keyboard.press("Shift+Tab")
    shown = await page.evaluate(
        "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert shown[0] == "Show rows"
    assert shown[1] != "none"
    assert opened.complaints == []


async def test_it_fits_a_phone_the_dark_paper_and_a_run_that_goes_on(opened: Opened, tmp_path: Path) -> None:
    """Nothing is wider than 390 px but what scrolls by itself; text is readable in both schemes; an update is shown."""
    rows = list(many(RUN, 120))
    page = await show(opened, tmp_path, rows)
    assert await page.locator("#timeline svg .event, #timeline svg .limit").count() == 2  # wave and failure budget
    assert await page.locator("#told li").all_text_contents() == ["1+0.00 s wave 1 opened"]
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        contrast, where = await page.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{scheme}: {where}"
    await page.emulate_media(media="print")
    assert not await page.locator("#filters").is_visible()
    await page.emulate_media(media="screen")

    changed = [*rows[0][1:]]
    changed[rows[0]._fields.index("outcome") - 1] = "unresolved"
    before = int(await page.locator(".count.unresolved b").text_content() or "")
    await page.evaluate(
        """([row, state]) => batchmod.update({ rows: [[0, row, "in doubt"]], state })""",
        [changed, {"phase": "running", "calls_per_second": 7, "throttled": 0, "in_change": 3, "in_doubt": 1, "waiting": 0,
                   "to_come": 9, "budget": {"used": 1, "limit": 2}, "wave": None, "pacing": [], "paused": False, "at": None}],
    )  # fmt: skip
    assert (await cells(page, "outcome"))[0] == "unresolved in doubt"
    assert int(await page.locator(".count.unresolved b").text_content() or "") == before + 1
    assert "1 of 2" in (await page.locator("#live").text_content() or "")
    assert await page.locator("#badge").text_content() == "running"

    await show(opened, tmp_path, [], beside=Beside())
    assert await page.locator("#matches").text_content() == "none of 0 rows"
    assert not await page.locator("#timeline-card").is_visible()
    assert opened.complaints == []


CHANGED, FAILED, OPEN, DOUBT = Phase.CHANGED, Phase.FAILED, Phase.PLANNED, Phase.IN_DOUBT
HEADLINES: tuple[tuple[dict[str, Any], tuple[Phase, ...], str, str], ...] = (
    (
        {"exit_code": 0},
        (CHANGED, CHANGED),
        "All 2 rows are changed and proved.",
        "All 2 changed rows were proved by log",
    ),
    ({"exit_code": 1}, (CHANGED, FAILED), "1 of 2 rows failed; nothing was changed there.", "Nothing is in doubt."),
    (
        {"exit_code": 4},
        (Phase.UNRESOLVED, FAILED),
        "1 of 2 rows may or may not have been changed; 1 failed.",
        "1 row in doubt",
    ),
    (
        {"exit_code": 3, "stopped_by": StoppedBy.MAX_FAILURES},
        (OPEN, FAILED, DOUBT),
        "Stopped by the failure budget: 1 row not started, 1 in doubt and 1 failed.",
        "resume 20260304T050607Z-1a2b --reset-budget",
    ),
    (
        {"exit_code": 0, "closed": True, "given_up": True},
        (OPEN, CHANGED),
        "This run was given up: 1 row not started.",
        "Nothing is in doubt.",
    ),
    (
        {"exit_code": 4, "closed": True, "notifiers_failed": ((2, "was answered with 500"),)},
        (Phase.UNRESOLVED, Phase.NOT_STARTED),
        "1 of 2 rows may or may not have been changed.",
        "notification 2 was answered with 500",
    ),
    (
        {"exit_code": 1, "accounts_failed": (("eu", "NoCredentials"),)},
        (CHANGED, Phase.UNCHANGED),
        "An account was left out: 1 row changed and proved and 1 so already.",
        "account eu stopped: NoCredentials",
    ),
    ({"finished_at": None}, (OPEN, CHANGED), "This run has not ended: 1 row not started.", "none yet"),
    (
        {"exit_code": 1, "command": "verify"},
        (Phase.UNCHANGED, FAILED),
        "Of 1 of 2 instances the stored password is",
        "",
    ),
    (
        {"exit_code": 4, "command": "verify", "accounts_failed": (("eu", "NoCredentials"),)},
        (Phase.UNCHANGED,),
        "An account was left out. Stored passwords of the others: 1 proved live.",
        "account stopped",
    ),
)


async def test_the_headline_says_what_happened_and_how_sure_that_is(opened: Opened, tmp_path: Path) -> None:
    """Of a run that is done, failed, in doubt, stopped, given up, left out in part, not ended; and of `verify`."""
    for other, phases, title, also in HEADLINES:
        known = {"finished_at": START + 60} | other
        beside = Beside(given_up=partial(bool, known.pop("given_up", False)))
        run = a_run(**known)
        states = [RowState(phase=phase, proof=Proof.LOGIN if phase is CHANGED else None) for phase in phases]
        rows = [report_row(run, a_row(seq), state) for seq, state in enumerate(states)]
        path = tmp_path / "report.html"
        path.write_text("".join(render_report(run, rows, Format.HTML, beside)), encoding="utf-8")
        await opened.page.goto(path.as_uri())
        assert (await opened.page.locator("#headline").text_content() or "").startswith(title)
        assert also in (await opened.page.locator(".hero").text_content() or "")
    assert opened.complaints == []
