"""A run in plain lines, for a log file or a pipe. Bounded: a large fleet in trouble does not fill a disk."""

from collections.abc import Callable
from typing import Final

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
from batchmod.model.pace import Pace
from batchmod.report.board_state import BAD, BoardState, RowError, row_error
from batchmod.report.layout import about, cut, duration, printable
from batchmod.report.remaining import of_run

EVERY: Final = 10.0  # seconds between two lines of progress, if anything happens at all
SHARE: Final = 20  # or each twentieth of the rows
ERRORS: Final = 50  # rows whose error is shown; the others are in the report
QUIET: Final = 60.0  # seconds until throttling is spoken of again
LINE: Final = 300  # columns of a line with somebody else's text

Between = WaveOpened | WaveEnded | CheckEnded | ConsumerEnded | Controlled


class Lines:
    """An observer that writes what it is told; the state is folded here and nowhere else."""

    def __init__(self, write: Callable[[str], None], state: BoardState, *, clock: Callable[[], float]) -> None:
        """`write` takes one line without its end; `clock` is that of `state`."""
        self._write = write
        self._state = state
        self._clock = clock
        self._said_at = state.began
        self._wait_for_more()
        self._errors = 0
        self._throttled_at: float | None = None

    def notify(self, notice: Notice) -> None:
        now = self._clock()
        self._state.fold(notice, now)
        if isinstance(notice, RowMoved):  # the two that come by the thousand first
            if notice.state.phase in BAD:
                self._complain(row_error(notice.row, notice.state))
        elif isinstance(notice, CallAnswered):
            if notice.throttled:
                self._throttling(notice, now)
        else:
            self._say_rare(notice)
            return
        if now - self._said_at >= EVERY or self._state.done >= self._next_done:
            self._say(now)

    def _say_rare(self, notice: RunOpened | Paced | AccountStopped | RunStopping | Between) -> None:
        match notice:
            case RunOpened():
                self._write(opening(notice))
                self._wait_for_more()
            case Paced():
                pass  # a part of the next line of progress
            case AccountStopped(account=account, reason=reason):
                self._write(
                    cut(f"account {printable(account)} stopped: {printable(reason)}; nothing more is sent for it", LINE)
                )
            case RunStopping(stopped_by=stopped_by):
                self._write(f"stopping ({stopped_by}): nothing new is sent, open replies are waited for")
            case _:
                self._write(cut(printable(between(notice)), LINE))

    def tick(self) -> None:
        """Time goes on: whoever reads hears of the run also while nothing happens."""
        if (now := self._clock()) - self._said_at >= EVERY:
            self._say(now)

    def _say(self, now: float) -> None:
        self._said_at = now
        self._wait_for_more()
        self._write(progress(self._state, now))

    def _wait_for_more(self) -> None:
        self._next_done = self._state.done + max(1, self._state.rows // SHARE)

    def _complain(self, error: RowError) -> None:
        self._errors += 1
        if self._errors <= ERRORS:
            self._write(cut(complaint(error), LINE))
        if self._errors == ERRORS:
            self._write("further errors are in the report")

    def _throttling(self, call: CallAnswered, now: float) -> None:
        if self._throttled_at is not None and now - self._throttled_at < QUIET:
            return
        self._throttled_at = now
        lane = f"{call.lane.account_id}/{call.lane.region}"
        self._write(
            f"throttled: {call.api} in {lane} ({call.code}), {self._state.throttled} calls so far; slowing down"
        )


def opening(run: RunOpened) -> str:
    budget = "" if run.max_failures is None else f"; stops at {run.max_failures} failed or unresolved"
    verb = "resumed" if run.resumed else "started"
    return f"{run.name} {run.run_id} {verb}: {run.to_send} of {run.rows} rows to do{budget}"


def between(notice: Between) -> str:
    """One line of a wave, of what comes between two, or of what an operator said."""
    match notice:
        case WaveOpened(wave=wave, waves=waves, instances=instances):
            return f"wave {wave} of {waves}: {instances} instances"
        case WaveEnded(wave=wave, pause=None):
            return f"wave {wave} ended; an operator opens the next one"
        case WaveEnded(wave=wave, pause=pause):
            return f"wave {wave} ended" + (f"; the next one in {duration(pause)}" if pause else "")
        case CheckEnded(wave=wave, passed=passed, text=text):
            return f"check after wave {wave} {'passed' if passed else 'FAILED'}: {text}"
        case ConsumerEnded(wave=wave, passed=passed, text=text):
            return f"after wave {wave}: {text}" if passed else f"wave {wave}: FAILED: {text}"
        case Controlled(text=text):
            return f"control: {text}"


def progress(state: BoardState, now: float) -> str:
    """One line of where the run stands."""
    ended = [f"{rows} {outcome}" for outcome, rows in state.outcomes().items() if rows]
    live = [
        f"{rows} {what}"
        for rows, what in ((state.in_change, "in change"), (state.in_doubt, "in doubt"), (state.waiting, "waiting"))
        if rows
    ]
    calls = [f"{state.rate(now):.1f} calls/s" + (f", {state.throttled} throttled" if state.throttled else "")]
    paces = [pace_text(pace) for pace in state.pacing(now)[:1]]
    seconds = of_run(state, now)
    left = [] if seconds is None else [f"≈ {about(seconds)} left"]
    parts = [
        f"{state.done}/{state.rows} rows",
        *ended,
        *live,
        *(calls if state.hears_calls else []),
        *paces,
        duration(now - state.began),
        *left,
    ]
    return " · ".join(parts)


def pace_text(pace: Pace) -> str:
    """How much of a quota was used, and where: read at 60 columns."""
    found = " found" if pace.found else ""
    used = "" if pace.used is None else f"{pace.used:.0%} of "
    return f"{used}{pace.rate}{found} {pace.api} {pace.region}"


def complaint(error: RowError) -> str:
    """One line of a row that did not end well."""
    return printable(f"{error.outcome}: {error.instance_id} ({error.region}) {error.kind}: {error.text}")
