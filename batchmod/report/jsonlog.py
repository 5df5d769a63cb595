"""A run as JSON, one object a line, for a log that a machine reads. Pure text; no secret reaches a notice."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from batchmod.model.events import Outcome
from batchmod.model.notices import (
    AccountStopped,
    CallAnswered,
    CheckEnded,
    ConsumerEnded,
    Controlled,
    Notice,
    Paced,
    RowMoved,
    RunOpened,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.report.board_state import BoardState
from batchmod.report.console import EVERY, QUIET
from batchmod.report.jsonline import Level
from batchmod.report.rows import seconds_of

BAD: Final = frozenset({Outcome.FAILED, Outcome.UNRESOLVED})


class Tell(Protocol):
    """Takes one event."""

    def __call__(self, event: str, level: Level = ..., **fields: Any) -> None: ...


class JsonLog:
    """An observer that tells what it is told; the state is folded here and nowhere else."""

    def __init__(self, tell: Tell, state: BoardState, *, clock: Callable[[], float]) -> None:
        """`clock` is that of `state`."""
        self._tell = tell
        self._state = state
        self._clock = clock
        self._said_at = state.began
        self._throttled_at: float | None = None

    def notify(self, notice: Notice) -> None:
        now = self._clock()
        self._state.fold(notice, now)
        match notice:
            case RowMoved(row=row, state=state):
                if not state.is_open:
                    self._tell("row", Level.WARNING if state.outcome in BAD else Level.INFO, **_row(row, state))
                self._progress(now)
            case CallAnswered():
                if notice.throttled:
                    self._throttling(notice, now)
                self._progress(now)
            case Paced():
                pass  # a part of the next progress
            case _:
                event, level, fields = _event(notice)
                self._tell(event, level, **fields)

    def tick(self) -> None:
        """Time goes on: whoever reads hears of the run also while nothing happens."""
        self._progress(self._clock())

    def _progress(self, now: float) -> None:
        if now - self._said_at < EVERY:
            return
        self._said_at, state = now, self._state
        self._tell(
            "progress",
            rows=state.rows,
            done=state.done,
            in_change=state.in_change,
            in_doubt=state.in_doubt,
            waiting=state.waiting,
            counts={outcome: rows for outcome, rows in state.outcomes().items() if rows},
            calls=state.calls if state.hears_calls else None,
            calls_per_second=round(state.rate(now), 1) if state.hears_calls else None,
            throttled=state.throttled if state.hears_calls else None,
            pacing=[pace.document() for pace in state.pacing(now)],
            paused=state.paused,
        )

    def _throttling(self, notice: CallAnswered, now: float) -> None:
        if self._throttled_at is None or now - self._throttled_at >= QUIET:
            self._throttled_at = now
            self._tell("throttled", Level.WARNING, **call(notice), throttled=self._state.throttled)


def call(notice: CallAnswered) -> dict[str, Any]:
    """What is told of one call."""
    lane = notice.lane
    return {
        "api": notice.api,
        "account_id": lane.account_id,
        "region": lane.region,
        "code": notice.code,
        "seconds": round(notice.seconds, 3),
        "request_id": notice.request_id,
    }


def _row(row: PlannedRow, state: RowState) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "instance_id": row.instance_id,
        "account_id": row.account_id,
        "region": row.region,
        "account": row.account,
        "change": row.kind,
        "wave": row.wave,
        "outcome": state.outcome,
        "proof": state.proof if state.outcome is Outcome.CHANGED else None,
        "attempts": state.attempts,
        "code": state.code,
        "message": state.message,
        "detail": state.detail,
        "request_id": state.request_id,
        "seconds": seconds_of(state),
    }


def _event(notice: Notice) -> tuple[str, Level, dict[str, Any]]:
    match notice:
        case RunOpened():
            fields = {
                "run_id": notice.run_id,
                "name": notice.name,
                "resumed": notice.resumed,
                "rows": notice.rows,
                "to_send": notice.to_send,
                "max_failures": notice.max_failures,
            }
            return "run_opened", Level.INFO, fields
        case AccountStopped(account=account, reason=reason):
            return "account_stopped", Level.ERROR, {"account": account, "reason": reason}
        case RunStopping(stopped_by=stopped_by):
            return "stopping", Level.WARNING, {"stopped_by": stopped_by}
        case WaveOpened(wave=wave, waves=waves, instances=instances):
            return "wave_opened", Level.INFO, {"wave": wave, "waves": waves, "instances": instances}
        case WaveEnded(wave=wave, pause=pause):
            return "wave_ended", Level.INFO, {"wave": wave, "pause": pause}
        case CheckEnded(wave=wave, passed=passed, text=text):
            level = Level.INFO if passed else Level.ERROR
            return "check_ended", level, {"wave": wave, "passed": passed, "text": text}
        case ConsumerEnded(wave=wave, passed=passed, text=text):
            level = Level.INFO if passed else Level.ERROR
            return "consumer_ended", level, {"wave": wave, "passed": passed, "text": text}
        case Controlled(text=text):
            return "controlled", Level.INFO, {"text": text}
        case _:
            raise AssertionError(notice)
