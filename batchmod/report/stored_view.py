"""What is known of stored passwords, for people. Pure; no password is among it."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from batchmod.model.events import Outcome
from batchmod.report.layout import cells, columns, cut, printable
from batchmod.report.rows import ReportRow

FIRST: Final = 40  # rows that are shown
_URGENT: Final = (Outcome.FAILED, Outcome.UNRESOLVED, Outcome.NOT_STARTED, Outcome.CHANGED, Outcome.SKIPPED)
_RANK: Final = {outcome: rank for rank, outcome in enumerate((*_URGENT, Outcome.UNCHANGED))}


def stored_table(rows: Sequence[ReportRow], width: int, first: int = FIRST) -> str:
    """One line a row, what a human must look at first; below it what is known, where the terminal leaves no room beside.

    No line is wider than `width`; without a last line end.
    """
    shown = sorted(rows, key=lambda row: _RANK[row.outcome])[:first]
    lines = [("outcome", "account", "region", "instance")]
    lines += [(row.outcome, printable(row.account), row.region, row.instance_id) for row in shown]
    said = ["what is known", *(printable(row.detail or "") for row in shown)]
    wide = columns([(*line, what) for line, what in zip(lines, said, strict=True)], 10_000)
    if max(map(cells, wide)) <= width:
        text = wide
    else:
        told = zip(columns(lines, width), said, strict=True)
        text = [part for line, what in told for part in (line, *_below(what, width))]
    if len(rows) > first:
        text.append(f"… and {len(rows) - first} rows more: the report has them all")
    return "\n".join(cut(line, width) for line in text)


def _below(text: str, width: int) -> list[str]:
    return wrap(text, width=width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
