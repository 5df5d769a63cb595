"""Who looks on while a run goes on: a board on a terminal, lines elsewhere, nobody when it is quiet."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from batchmod.app.options import Options
from batchmod.app.speech import insist, say, tell
from batchmod.model.events import Outcome
from batchmod.model.exits import RESUMABLE
from batchmod.model.notices import CallAnswered, Notice, RunOpened
from batchmod.model.plan import Plan, PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.board_state import BoardState
from batchmod.report.console import Lines
from batchmod.report.jsonline import JSON
from batchmod.report.jsonlog import JsonLog, call
from batchmod.report.observers import Observer, Observers
from batchmod.report.plan_view import plan_table
from batchmod.report.summary import steps, summary

if TYPE_CHECKING:
    from batchmod.report.board import Board


def width() -> int:
    """Of the terminal that reads; a file or a pipe gets wide lines."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stderr.isatty() and sys.stdout.isatty() else 200


def redraws(environ: Mapping[str, str]) -> bool:
    """Whether stderr is a terminal that can draw lines again in their place."""
    return sys.stderr.isatty() and environ.get("TERM", "dumb").lower() not in {"", "dumb", "unknown"}


def show_plan(plan: Plan, options: Options, pace: str | None) -> None:
    """The plan as a person reads it before saying yes."""
    if options.quiet:
        return
    say(plan_table(plan, width()))
    if pace is not None:
        say(pace)
    say("")


class Watching:
    """Takes notices from the first call on; what is told before `open` is not shown, but to those that were added."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._observers = Observers()
        self._board: Board | None = None
        self._spoken: Lines | JsonLog | None = None

    def add(self, observer: Observer) -> None:
        """One more looks on, also when it is quiet, and from the first call on."""
        self._observers.add(observer)

    def open(self, opened: RunOpened, states: Iterable[tuple[PlannedRow, RowState]]) -> None:
        """From here on the run is shown, from the state that its rows are in."""
        if not self._options.quiet:
            self._observers.add(self._display(BoardState.start(states, now=time.monotonic())))
        self.notify(opened)

    def _display(self, state: BoardState) -> Observer:
        options = self._options
        if options.log_format == JSON:
            self._spoken = JsonLog(tell, state, clock=time.monotonic)
            return self._spoken
        if redraws(options.environ) and not options.verbose:
            from batchmod.report.board import Board  # noqa: PLC0415  for a terminal only

            self._board = Board.on_stderr(state, clock=time.monotonic)
            return self._board
        self._spoken = Lines(say, state, clock=time.monotonic)
        return self._spoken

    def notify(self, notice: Notice) -> None:
        if self._options.verbose and isinstance(notice, CallAnswered):
            self._call(notice)
        self._observers.notify(notice)

    def _call(self, notice: CallAnswered) -> None:
        if self._options.log_format == JSON:
            tell("call", **call(notice))
        else:
            say(f"{notice.api} {notice.lane.region} {notice.code or 'OK'} {notice.seconds:.3f} s")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The board is on the screen, if there is one; else whoever reads hears of the run while nothing happens, too."""
        with self._board or nullcontext(), _ticking(self._spoken) if self._spoken else nullcontext():
            yield

    def summary(
        self, run: Run, counts: Mapping[Outcome, int], paths: Sequence[Path], *, resume: str | None, open_rows: int
    ) -> None:
        """The last words; `resume` is the command that takes up what is open.

        When it is quiet nothing is said of an old run that was closed for a new one: the new one's last words name it.
        """
        options = self._options
        if options.quiet and options.closing and run.exit_code != RESUMABLE:
            return
        closed = options.closed_first
        old = f"{closed.run_id} (exit {closed.exit_code})" if closed else None
        text = summary(run, counts, paths, open_rows, resume=resume, quiet=options.quiet, closed_first=old)
        insist(
            text,
            "summary",
            run_id=run.id,
            name=run.name,
            counts={outcome: counts.get(outcome, 0) for outcome in Outcome},
            exit_code=run.exit_code,
            stopped_by=run.stopped_by,
            reports=[str(path) for path in paths],
            open_rows=open_rows,
            next=steps(run, counts, open_rows, resume),
            closed_first=closed.run_id if closed else None,
            closed_first_exit_code=closed.exit_code if closed else None,
        )


@contextmanager
def _ticking(spoken: Lines | JsonLog) -> Iterator[None]:
    """Inside, in a running event loop, it is told every second that time goes on."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            spoken.tick()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
