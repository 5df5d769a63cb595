"""The table of stored passwords: what needs a human comes first, and no terminal is too narrow for it."""

import pytest
from journal_records import a_row, a_run

from batchmod.model.events import Phase
from batchmod.model.record import RowState
from batchmod.report.layout import cells
from batchmod.report.rows import ReportRow, report_row
from batchmod.report.stored_view import stored_table

LONG = "generation 12 (pending) is live: resume run 20260304T050607Z-1a2b, or reconcile"


def rows(*phases: Phase, detail: str = LONG) -> list[ReportRow]:
    return [report_row(a_run(), a_row(seq), RowState(phase=phase, detail=detail)) for seq, phase in enumerate(phases)]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_everything_is_said_in_any_width(width: int) -> None:
    """Beside each other where there is room, else below; failed before unresolved before the rest."""
    text = stored_table(rows(Phase.UNCHANGED, Phase.UNRESOLVED, Phase.FAILED), width)
    assert max(map(cells, text.splitlines())) <= width
    words = text.split()
    assert [word for word in words if word in {"unchanged", "unresolved", "failed"}] == [
        "failed",
        "unresolved",
        "unchanged",
    ]
    assert words.count("20260304T050607Z-1a2b,") == 3
    assert len(text.splitlines()) == {60: 2 + 3 * 3, 80: 2 + 3 * 3, 200: 4}[width]


def test_a_fleet_is_not_all_shown() -> None:
    """The first rows, and how many more there are; what moves a cursor is an escape."""
    text = stored_table(rows(*[Phase.UNCHANGED] * 9, Phase.FAILED, detail="\x1b[2J"), 100, first=2)
    assert [line.split()[0] for line in text.splitlines()] == ["outcome", "failed", "unchanged", "…"]
    assert text.endswith("… and 8 rows more: the report has them all")
    assert "\x1b" not in text
