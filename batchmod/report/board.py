"""A run on a terminal: a few lines that are drawn again in their place. `render` is pure; the Board owns the screen."""

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from batchmod.model.notices import Notice
from batchmod.report.board_state import BoardState
from batchmod.report.console import complaint, pace_text
from batchmod.report.layout import cut, duration, printable

STOPS: Final = 3  # stopped accounts that are named, the last ones
STYLES: Final = {  # patterns for what deserves a colour; without colours they change nothing
    r"\b[1-9]\d* (failed|unresolved|throttled)\b": "bold red",
    r"\b[1-9]\d* changed\b": "green",
    r"\b[1-9]\d* (in doubt|waiting)\b": "yellow",
    r"^(stopping|account|budget:.* pace|.*paused: ).*$": "bold yellow",
}


def render(state: BoardState, now: float, width: int) -> list[str]:
    """The board's lines, none wider than `width`; readable from 60 columns up. No markup is meant by any of it."""
    shown = [
        *_head(state, now, width),
        *_counts(state),
        _calls(state, now),
        *_paces(state, now),
        *_budget(state),
        *_wave(state, now),
    ]
    shown += [f"account {stop.account} stopped: {stop.reason}" for stop in state.accounts[-STOPS:]]
    shown += [complaint(error) for error in state.errors]
    if state.stopping:
        shown.append(f"stopping ({state.stopping}): nothing new is sent, open replies are waited for")
    return [cut(printable(line), width) for line in shown]


class Board:
    """An observer that is drawn between `with` and its end; its last state stays on the screen.

    It is redrawn on a thread of its own, so it needs no notice for time to go on.
    """

    def __init__(self, console: Console, state: BoardState, *, clock: Callable[[], float]) -> None:
        """`clock` is that of `state`. The console decides on colours, and so heeds NO_COLOR."""
        self._console = console
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()  # notices and drawing come from two threads
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4, redirect_stdout=False)

    @classmethod
    def on_stderr(cls, state: BoardState, *, clock: Callable[[], float]) -> Self:
        """The board of this process's terminal."""
        return cls(Console(stderr=True), state, clock=clock)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal has gone; the run's own end counts
            self._live.stop()

    def notify(self, notice: Notice) -> None:
        with self._lock:
            self._state.fold(notice, self._clock())

    def _draw(self) -> Text:
        with self._lock:
            lines = render(self._state, self._clock(), self._console.width)
        text = Text("\n".join(lines), no_wrap=True, overflow="crop")
        for pattern, style in STYLES.items():
            text.highlight_regex(pattern, style)
        return text


def _head(state: BoardState, now: float, width: int) -> list[str]:
    name = "" if state.opened is None else f"{state.opened.name} {state.opened.run_id}"
    share = state.done / state.rows if state.rows else 1.0
    tail = f" {state.done}/{state.rows} rows {int(share * 100)}% {duration(now - state.began)}"
    room = max(0, min(60, width) - len(tail))
    full = int(room * share)
    return [name, "█" * full + "░" * (room - full) + tail]


def _counts(state: BoardState) -> list[str]:
    ended = " · ".join(f"{rows} {outcome}" for outcome, rows in state.outcomes().items() if rows) or "none yet"
    live = f"{state.in_change} in change · {state.in_doubt} in doubt · {state.waiting} waiting"
    return [f"ended: {ended}", f"live:  {live} · {state.untouched} to come"]


def _calls(state: BoardState, now: float) -> str:
    return f"calls: {state.rate(now):.1f}/s · {state.calls} answered · {state.throttled} throttled"


def _paces(state: BoardState, now: float) -> list[str]:
    """One line of the API that uses the most of its quota, and how many others are called beside it."""
    paces = state.pacing(now)
    return [f"quota: {pace_text(paces[0])}" + (f" · {len(paces) - 1} more" if len(paces) > 1 else "")] if paces else []


def _budget(state: BoardState) -> list[str]:
    limit = state.budget_limit
    if limit is None:
        return []
    pace = ", it sets the pace" if state.untouched and state.budget_used >= limit else ""
    whose = " of this wave" if state.wave is not None and state.wave.waves > 1 else ""
    return [f"budget: {state.budget_used} of {limit} failures{whose} spent or held{pace}"]


def _wave(state: BoardState, now: float) -> list[str]:
    """One line of where the run stands between its waves, and whether an operator holds it."""
    parts = []
    if state.wave is not None and state.wave.waves > 1:
        parts.append(f"wave {state.wave.wave} of {state.wave.waves}{_gate(state, now)}")
    if state.paused:
        parts.append("paused: `control … continue` goes on")
    return [" · ".join(parts)] if parts else []


def _gate(state: BoardState, now: float) -> str:
    if state.ended is None or state.stopping:
        return ""
    if state.checked is not None:
        return f" ended, check {'passed' if state.checked.passed else 'failed'}"
    left = 0.0 if state.opens_at is None else state.opens_at - now
    return f" ended, next in {duration(left)}" if left > 0 else " ended"
