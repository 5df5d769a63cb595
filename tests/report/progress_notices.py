"""Notices of a run, for the tests of board and lines."""

from dataclasses import dataclass
from typing import Any

from journal_records import a_row

from batchmod.model.events import Phase
from batchmod.model.notices import AccountStopped, CallAnswered, Paced, RowMoved, RunOpened
from batchmod.model.pace import Pace
from batchmod.model.plan import Lane
from batchmod.model.record import RowState
from batchmod.report.board_state import BoardState

NASTY = "[bold]x[/bold]\x1b[2J\r\u202eevil\n"


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def opened(rows: int, *, max_failures: int | None = None, resumed: bool = False) -> RunOpened:
    return RunOpened(
        run_id="r1", name="rotate-prod", resumed=resumed, rows=rows, to_send=rows, max_failures=max_failures
    )


def moved(seq: int, phase: Phase, **other: Any) -> RowMoved:
    return RowMoved(row=a_row(seq), state=RowState(phase=phase, **other))


def answered(code: str | None = None, *, throttled: bool = False) -> CallAnswered:
    lane = Lane("1234567890123456", "cn-hangzhou")
    return CallAnswered(lane=lane, api="DescribeInstances", code=code, throttled=throttled, seconds=0.1)


def a_state(*phases: Phase, rows: int | None = None, max_failures: int | None = None) -> BoardState:
    """A run of rows in these phases, of which the plan knew nothing but that they will be sent."""
    known = ((a_row(seq), RowState(phase=Phase.PLANNED)) for seq in range(len(phases)))
    state = BoardState.start(known, now=100.0)
    state.fold(opened(len(phases) if rows is None else rows, max_failures=max_failures), 100.0)
    for seq, phase in enumerate(phases):
        state.fold(moved(seq, phase), 100.0)
    return state


def paced(api: str, region: str, calls: int, *, found: bool = False, account_id: str = "1234567890123456") -> Paced:
    pace = Pace(
        account_id=account_id,
        region=region,
        api=api,
        rate="200/1m",
        found=found,
        calls=calls,
        throttled=0,
        allowed=100.0,
    )
    return Paced(pace=pace)


def with_nasty_text() -> BoardState:
    """A run of which an error and an account's end came with text that is not harmless."""
    state = a_state(Phase.ARMED)
    state.fold(moved(0, Phase.FAILED, code="X", message=NASTY), 100.0)
    state.fold(AccountStopped(account="eu", reason=NASTY), 100.0)
    return state
