"""A report as GitHub Flavored Markdown, for pull requests and chats: what came of a run, and what needs a look. Pure.

Text of the cloud and of programs stands in code spans alone: nothing in them is a tag, a link, an image, a mention or a
reference, for any reader.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from batchmod.model.events import Outcome
from batchmod.model.exits import MEANINGS
from batchmod.model.runs import Run
from batchmod.report.beside import Beside, Standing, all_rows, standing, unheard
from batchmod.report.layout import cut, duration, moment, printable
from batchmod.report.rows import ReportRow

ROWS: Final = 200  # a comment has room for them
GROUPS: Final = 20  # codes, accounts or consumers that are named
_PIPE: Final = "\\|"
_ODD_PIPE: Final = "\\\\x7c"
BEGINS: Final = {Standing.OPEN: "has not ended, ", Standing.GIVEN_UP: "given up, "}  # a headline
WIDTH: Final = 80  # columns of one text
LOOK: Final = (Outcome.UNRESOLVED, Outcome.FAILED, Outcome.NOT_STARTED)  # what needs a look, and first


class MarkdownSheet:
    """Headline, counts, errors by code with what to do, and at most so many rows that need a look."""

    def __init__(self, run: Run, beside: Beside) -> None:
        self._run, self._beside = run, beside
        self._counts: Counter[Outcome] = Counter()
        self._codes: Counter[str] = Counter()
        self._kept: dict[Outcome, list[ReportRow]] = {outcome: [] for outcome in LOOK}

    def begin(self) -> str:
        return ""  # what came of it comes first

    def add(self, row: ReportRow) -> str:
        self._counts[row.outcome] += 1
        if row.outcome in self._kept:
            if row.error_code:
                self._codes[row.error_code] += 1
            if len(self._kept[row.outcome]) < ROWS:
                self._kept[row.outcome].append(row)
        return ""

    def end(self) -> Iterator[str]:
        yield f"## {code(self._run.name)}: {self._headline()}\n\n"
        yield f"{self._about()}\n\n"
        yield from _table(("outcome", "rows"), ((outcome, str(self._counts[outcome])) for outcome in Outcome))
        yield from _list("Accounts that were stopped", [f"{name}: {why}" for name, why in self._run.accounts_failed])
        yield from _list("Consumers that failed", [f"wave {at}: {text}" for at, _, text in self._run.consumers_failed])
        yield from _list("Notifications that failed", unheard(self._run))
        yield from self._errors()
        yield from self._rows()

    def close(self) -> None:
        """There is nothing to let go of."""

    def _headline(self) -> str:
        total, look = self._counts.total(), sum(self._counts[outcome] for outcome in LOOK)
        stopped = f"stopped by {self._run.stopped_by}, " if self._run.stopped_by else ""
        needs = f"{look} of {total} rows need a look" if look else f"none of {total} rows needs a look"
        return BEGINS.get(standing(self._run, self._beside), "") + stopped + needs

    def _about(self) -> str:
        run = self._run
        parts = [f"{run.command or 'run'} {code(run.id)}", f"started {moment(run.started_at, timespec='seconds')}"]
        if run.finished_at is not None:
            parts.append(f"took {duration(run.finished_at - run.started_at)}")
        if run.exit_code is not None:
            parts.append(f"exit {run.exit_code}: {MEANINGS.get(run.exit_code, 'unknown')}")
        return " · ".join(parts)

    def _errors(self) -> Iterator[str]:
        if not self._codes:
            return
        yield "\n### Errors\n\n"
        named = self._codes.most_common(GROUPS)
        lines = ((code(name), str(rows), _own(self._beside.advice(name) or "")) for name, rows in named)
        yield from _table(("code", "rows", "what to do"), lines)
        yield from _more(len(self._codes) - len(named))

    def _rows(self) -> Iterator[str]:
        kept = [row for outcome in LOOK for row in self._kept[outcome]][:ROWS]
        if not kept:
            return
        yield "\n### Rows that need a look\n\n"
        header = ("outcome", "instance", "name", "account", "region", "change", "code", "why")
        yield from _table(header, map(_cells, kept))
        where, what = all_rows(self._run)
        yield from _more(sum(self._counts[outcome] for outcome in LOOK) - len(kept), f": {code(where)} {what}")


def code(text: str, *, width: int = WIDTH) -> str:
    """The text as a code span; nothing for none."""
    shown = cut(printable(text), width)
    if not shown.strip():
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    room = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{room}{shown}{room}{fence}"


def _own(text: str) -> str:
    """A text of this program, which may hold code spans and a place to fill in: `<name>`."""
    return text.replace("<", "\\<")


def _cells(row: ReportRow) -> tuple[str, ...]:
    why = "; ".join(text for text in (row.error_message, row.detail) if text)
    told = (row.instance_id, row.instance_name, row.account, row.region)
    return (
        row.outcome,
        *(code(text or "", width=40) for text in told),
        row.change,
        code(row.error_code or ""),
        code(why),
    )


def _table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(header)
    yield _line(names)
    yield _line("---" for _ in names)
    yield from map(_line, lines)


def _line(cells: Iterable[str]) -> str:
    """Readers differ on a pipe behind a backslash: it is shown as an escape."""
    return f"| {' | '.join(cell.replace(_PIPE, _ODD_PIPE).replace('|', _PIPE) for cell in cells)} |\n"


def _list(title: str, texts: list[str]) -> Iterator[str]:
    if not texts:
        return
    yield f"\n### {title}\n\n"
    yield from (f"- {code(text)}\n" for text in texts[:GROUPS])
    yield from _more(len(texts) - GROUPS)


def _more(count: int, where: str = "") -> Iterator[str]:
    if count > 0:
        yield f"\n… and {count} more{where}\n"
