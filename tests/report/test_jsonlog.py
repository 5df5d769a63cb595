"""A run as JSON lines."""

import json
from typing import Any

import pytest
from journal_records import a_row

from batchmod.model.events import Phase, StoppedBy
from batchmod.model.notices import (
    AccountStopped,
    CallAnswered,
    CheckEnded,
    Controlled,
    Notice,
    Paced,
    RowMoved,
    RunOpened,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.pace import Pace
from batchmod.model.plan import Lane
from batchmod.model.record import RowState
from batchmod.report.board_state import BoardState
from batchmod.report.jsonline import Level, entry
from batchmod.report.jsonlog import JsonLog

PACE = Pace(account_id="1", region="cn-hangzhou", api="A", rate="9/1s", calls=5, throttled=1, allowed=8.0)


class Book:
    """What was told, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[str, Level, dict[str, Any]]] = []
        self.log = JsonLog(self._tell, BoardState.start([], now=100.0), clock=lambda: self.now)

    def _tell(self, event: str, level: Level = Level.INFO, **fields: Any) -> None:
        self.told.append((event, level, json.loads(json.dumps(fields))))

    def events(self) -> list[str]:
        return [event for event, _, _ in self.told]


def throttled() -> CallAnswered:
    lane = Lane("1234567890123456", "cn-hangzhou")
    return CallAnswered(lane=lane, api="DescribeInstances", code="Throttling.User", throttled=True, seconds=0.1234)


def test_an_entry_is_one_line_whatever_is_in_it() -> None:
    """ASCII, with the time in milliseconds."""
    text = entry(1_772_600_767.25, "message", Level.INFO, {"text": "\ud800\x1b[2J\r\n\u202e…"})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["time"] == "2026-03-04T05:06:07.250Z"


@pytest.mark.parametrize(
    ("notice", "event", "level", "fields"),
    [
        (
            RunOpened(run_id="r1", name="job", resumed=True, rows=9, to_send=8, max_failures=2),
            "run_opened",
            "info",
            {"run_id": "r1", "name": "job", "resumed": True, "rows": 9, "to_send": 8, "max_failures": 2},
        ),
        (AccountStopped(account="eu", reason="no"), "account_stopped", "error", {"account": "eu", "reason": "no"}),
        (RunStopping(stopped_by=StoppedBy.CHECK), "stopping", "warning", {"stopped_by": "check"}),
        (WaveOpened(wave=2, waves=3, instances=4), "wave_opened", "info", {"wave": 2, "waves": 3, "instances": 4}),
        (WaveEnded(wave=1, pause=None), "wave_ended", "info", {"wave": 1, "pause": None}),
        (CheckEnded(wave=1, passed=False, text="x"), "check_ended", "error", {"wave": 1, "passed": False, "text": "x"}),
        (Controlled(text="pause"), "controlled", "info", {"text": "pause"}),
    ],
)
def test_every_notice_is_an_event(notice: Notice, event: str, level: str, fields: dict[str, Any]) -> None:
    """With its fields, and how much it matters."""
    book = Book()
    book.log.notify(notice)
    assert book.told == [(event, level, fields)]


def test_only_rows_that_ended_are_told() -> None:
    """All of them, and a bad end is a warning."""
    book = Book()
    for phase in (Phase.ARMED, Phase.IN_DOUBT, Phase.UNRESOLVED):
        book.log.notify(RowMoved(row=a_row(3), state=RowState(phase=phase, code="Timeout", detail="d")))
    ((event, level, fields),) = book.told
    assert (event, level) == ("row", "warning")
    assert fields == {
        "seq": 3,
        "instance_id": "r-bp0003",
        "account_id": "1234567890123456",
        "region": "cn-hangzhou",
        "account": "prod",
        "change": "password",
        "wave": 1,
        "outcome": "unresolved",
        "proof": None,
        "attempts": 0,
        "code": "Timeout",
        "message": None,
        "detail": "d",
        "request_id": None,
        "seconds": None,
    }


def test_progress_comes_every_ten_seconds_and_throttling_once_a_minute() -> None:
    """However many calls are answered."""
    book = Book()
    for _ in range(480):
        book.now += 0.25
        book.log.notify(throttled())
    assert book.events().count("progress") == 12
    assert book.events().count("throttled") == 2
    book.now += 5.0
    book.log.notify(Paced(pace=PACE))
    book.now += 5.0
    book.log.notify(throttled())
    assert book.told[-1][2]["pacing"] == [PACE.document()]
    progress = next(fields for event, _, fields in book.told if event == "progress")
    assert (progress["calls"], progress["throttled"], progress["counts"]) == (40, 40, {})


def test_a_quiet_run_is_told_of_too() -> None:
    """Every ten seconds, however often the clock is looked at."""
    book = Book()
    for _ in range(35):
        book.now += 1.0
        book.log.tick()
    assert book.events() == ["progress"] * 3
