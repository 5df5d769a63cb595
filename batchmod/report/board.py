"""A run on a terminal: a few lines that are drawn again in their place. The Board owns the screen."""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from batchmod.model.notices import Notice
from batchmod.report.board_lines import render
from batchmod.report.board_state import BoardState
from batchmod.report.layout import cells

_STYLES: Final = {  # patterns for what deserves a colour; without colours they change nothing
    r"█+": "cyan",
    r"≈ \S+( \S+)? left\b": "bold",
    r"\b[1-9]\d* (failed|unresolved|throttled)\b": "bold red",
    r"\b[1-9]\d* changed\b": "green",
    r"\b[1-9]\d* (in doubt|waiting|wait)\b": "yellow",
    r"^(stopping|account|budget:.* pace|.*paused: ).*$": "bold yellow",
}
STYLES: Final = [(re.compile(pattern, re.MULTILINE), style) for pattern, style in _STYLES.items()]


class Board:
    """An observer that is drawn between `with` and its end; its last state stays on the screen.

    It is redrawn on a thread of its own, so it needs no notice for time to go on.
    """

    def __init__(self, console: Console, state: BoardState, *, clock: Callable[[], float]) -> None:
        """`clock` is that of `state`. The console decides on colours, and so heeds NO_COLOR."""
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()  # notices and drawing come from two threads
        self._screen = Screen(console, self._lines)

    @classmethod
    def on_stderr(cls, state: BoardState, *, clock: Callable[[], float]) -> Self:
        """The board of this process's terminal."""
        return cls(Console(stderr=True), state, clock=clock)

    def __enter__(self) -> Self:
        self._screen.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal has gone; the run's own end counts
            self._screen.stop()

    def notify(self, notice: Notice) -> None:
        with self._lock:
            self._state.fold(notice, self._clock())

    def _lines(self, width: int, height: int) -> list[str]:
        with self._lock:
            return render(self._state, self._clock(), width, height)


class Screen(Live):
    """rich's Live, for a terminal that wraps the lines on it anew when it becomes narrower."""

    def __init__(self, console: Console, lines: Callable[[int, int], list[str]]) -> None:
        """`lines` are those to show in so many columns and rows."""
        self._lines = lines
        self._drawn: Sequence[int] = ()  # columns of each line that was drawn last
        self._shown: Sequence[int] = ()  # of each that is on the screen
        super().__init__(console=console, get_renderable=self._draw, refresh_per_second=4, redirect_stdout=False)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is on the screen is erased and drawn anew: also the rows that its lines have come to take."""
        width = self.console.width
        up = (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)
        more = Control(ControlType.CARRIAGE_RETURN, *(up * wrapped(self._shown, width)))
        self._shown = [min(columns, width) for columns in self._drawn]
        return [more, *super().process_renderables(renderables)]

    def _draw(self) -> Text:
        width, height = self.console.size
        lines = self._lines(width, max(1, height - 1))  # one row stays for what is said after it
        self._drawn = [cells(line) for line in lines]
        text = Text("\n".join(lines), no_wrap=True, overflow="crop")
        for pattern, style in STYLES:
            text.highlight_regex(pattern, style)
        return text


def wrapped(lines: Iterable[int], width: int) -> int:
    """How many rows of a terminal lines of so many columns take beyond one each."""
    return sum(max(0, columns - 1) // width for columns in lines)
