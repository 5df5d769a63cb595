"""The HTML report: one file that asks the network for nothing. Its rows are data; its script shows them."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from batchmod.model.events import Outcome
from batchmod.model.runs import Run
from batchmod.report.beside import Beside, all_rows
from batchmod.report.rows import COLUMNS, ReportRow
from batchmod.report.sheets import run_document
from batchmod.report.spool import Spool

SCHEMA: Final = "batchmod.page/1"
SHOWN: Final = COLUMNS[1:]  # all rows are of one run
ASSETS: Final = Path(__file__).parent / "page"

_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode
_CODE: Final = COLUMNS.index("error_code")


class HtmlSheet:
    """The page with its document in it. Counts and rows are of the same pass; rows wait on disk, not in memory."""

    def __init__(self, run: Run, beside: Beside) -> None:
        self._run, self._beside = run, beside
        self._counts: Counter[Outcome] = Counter()
        self._codes: set[str] = set()
        self._spool = Spool()

    def begin(self) -> str:
        return ""  # the counts come first

    def add(self, row: ReportRow) -> str:
        self._spool.write((",\n" if self._counts else "\n") + in_script(row[1:]))
        self._counts[row.outcome] += 1
        if row.error_code is not None:
            self._codes.add(row.error_code)
        return ""

    def end(self) -> Iterator[str]:
        beside = {"max_failures": self._beside.max_failures(), "given_up": self._beside.given_up()}
        run = run_document(self._run, self._counts) | beside
        title = f"{self._run.name} {self._run.id}"
        elsewhere = all_rows(self._run)
        yield from page(title=title, counts=run["counts"], document=self._document(run), elsewhere=elsewhere)

    def close(self) -> None:
        self._spool.close()

    def _document(self, run: Mapping[str, Any]) -> Iterator[str]:
        yield f'{{"schema": {in_script(SCHEMA)}, "run": {in_script(run)}, "columns": {in_script(SHOWN)}, "rows": ['
        yield from self._spool.pieces()
        history = self._beside.history()
        told = {code: advice for code in sorted(self._codes) if (advice := self._beside.advice(code)) is not None}
        yield f'\n], "history": {in_script(history.document() if history else None)}, '
        yield f'"advice": {in_script(told)}, "live": null}}'


def page(
    *,
    title: str,
    counts: Mapping[str, int],
    document: Iterable[str] | None,
    elsewhere: tuple[str, str] | None = None,
) -> Iterator[str]:
    """The page around its document, which was made by `in_script`; without one it loads its parts from beside it.

    `elsewhere`: code, and how it gives the rows to a reader without scripts.
    """
    css, js = ((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; style-src {_hash(css)}; script-src {_hash(js)}; base-uri 'none'; form-action 'none'"
    shell = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    yield from shell.get_template("page.html.j2").generate(
        title=title, counts=counts, document=document, elsewhere=elsewhere, css=css, js=js, policy=policy
    )


def in_script(value: object) -> str:
    """The value as JSON that nothing in it can end, wherever it stands in a script."""
    return _JSON(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    """How a policy names an inline text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
