"""The HTML report of many rows: `bench_opened.py make FILE ROWS` writes one, `bench_opened.py open FILE` uses it.

Needs the folder of the tests as PYTHONPATH. Both print one JSON object; times are in milliseconds.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from browser import ARGUMENTS
from journal_records import START, a_run, a_step
from page_records import many
from playwright.sync_api import sync_playwright

from batchmod.cloud.codes import advice
from batchmod.model.events import Phase
from batchmod.report.beside import Beside
from batchmod.report.files import Format, render_report, replace_file
from batchmod.report.history import history_of

# Each step ends when the frame that shows its result has been drawn.
STEPS = """async () => {
  const shown = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const timed = async (step) => { const begun = performance.now(); step(); await shown(); return performance.now() - begun; };
  const text = document.getElementById("text");
  const type = (words) => timed(() => { text.value = words; text.dispatchEvent(new Event("input")); });
  const sort = (column) => timed(() => document.querySelector(`th[data-column=${column}] button`).click());
  const found = {};
  found["first filter by text"] = await type("cache-99");
  found["next filter by text"] = await type("cache-999");
  await type("");
  found["filter by outcome"] = await timed(() => document.querySelector(".count.failed").click());
  await timed(() => document.querySelector(".count.failed").click());
  found["sort by id"] = await sort("instance_id");
  found["sort by seconds"] = await sort("seconds");
  found["sort by outcome"] = await sort("outcome");
  found["next page"] = await timed(() => document.getElementById("next").click());
  found["rows in the page"] = document.querySelectorAll("#table tbody tr").length;
  return found; }"""


def make(path: Path, rows: int) -> dict[str, Any]:
    """The file is there; how long that took beyond the rows themselves."""
    run = a_run()
    begun = time.perf_counter()
    for _ in many(run, rows):
        pass
    between = time.perf_counter()
    steps = (a_step((Phase.ARMED, Phase.CHANGED)[seq % 2], at=START + seq / 100) for seq in range(rows))
    beside = Beside(history=lambda: history_of(START, steps, []), advice=advice, max_failures=lambda: rows)
    replace_file(path, render_report(run, many(run, rows), Format.HTML, beside), what="the report")
    return {"made": (time.perf_counter() - between - (between - begun)) * 1e3, "bytes": path.stat().st_size}


def use(path: Path) -> dict[str, Any]:
    """From the first byte to the first frame, then step by step; a page that complains is an error."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        begun = time.perf_counter()
        page.goto(path.as_uri())
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        opened = (time.perf_counter() - begun) * 1e3
        found: dict[str, Any] = page.evaluate(STEPS)
        browser.close()
    if complaints:
        raise RuntimeError(complaints[0])
    return {"open": opened} | found


if __name__ == "__main__":
    file = Path(sys.argv[2])
    sys.stdout.write(json.dumps(make(file, int(sys.argv[3])) if sys.argv[1] == "make" else use(file)))
