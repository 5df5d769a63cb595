"""A run for those who follow it on a page: all of it, and what is new since they were told. No network.

Every move of a row has a number; who says which was the last that it heard of is told the rows that moved since, each
once and as it stands now. So nobody's news have to be kept, however slowly they are read.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from batchmod.model.events import TERMINAL, Outcome, Phase, outcome_of
from batchmod.model.notices import (
    AccountStopped,
    CheckEnded,
    Controlled,
    Notice,
    RowMoved,
    RunOpened,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.beside import NOTHING, Beside
from batchmod.report.board_state import BoardState
from batchmod.report.history import History
from batchmod.report.html import SCHEMA, SHOWN
from batchmod.report.layout import moment
from batchmod.report.rows import report_row
from batchmod.report.sheets import run_document

AT_ONCE: Final = 500  # rows that are made into text at a stretch: some milliseconds
TAKING_UP: Final = "taking up"
_CODE: Final = SHOWN.index("error_code")
_OUTCOME: Final = SHOWN.index("outcome")

as_json: Final = json.JSONEncoder(separators=(",", ":")).encode  # ASCII: whatever stands in a name is text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a page shows of a run that is open. `states` is in the plan's order, like the report."""

    states: Iterable[tuple[PlannedRow, RowState]]
    store: str = "embedded"
    beside: Beside = NOTHING


class Live:
    """An observer. Until the run opens it is one that is being planned, or taken up; `end` has the last word."""

    def __init__(self, run: Callable[[], Run], *, wall: Callable[[], float], now: Callable[[], float]) -> None:
        """`run` is the run as it is known at the moment; `wall` in seconds since the epoch, `now` goes forward."""
        self._run, self._wall, self.now = run, wall, now
        self._board = BoardState.start((), now=now())
        self._history = History(begun=wall())
        self._advice, self._store = NOTHING.advice, ""
        self._planned: list[PlannedRow] = []
        self._states: list[RowState] = []
        self._moved: dict[int, int] = {}  # the number of each row's last move, the latest last
        self._opening: tuple[Callable[[], Run], Callable[[], Rows]] = run, lambda: Rows(states=())
        self._is_open = self._is_taken_up = False
        self.number = 0  # of the last move
        self.edition = secrets.token_hex(4)  # another one has nothing in common with this one
        self.ended = False

    def expect(self, run: Callable[[], Run], rows: Callable[[], Rows]) -> None:
        """When the run opens, these are its rows."""
        self._opening = run, rows

    def take_up(self) -> None:
        """The rows are those of an earlier process, as it left them; what was under way then is in doubt."""
        self._read()
        self._is_taken_up = True

    def _read(self) -> None:
        """The rows are known: who followed what was before has to begin anew."""
        self._run, rows = self._opening[0], self._opening[1]()
        states = list(rows.states)
        self._planned, self._states = [row for row, _ in states], [state for _, state in states]
        self._board = BoardState.start(states, now=self.now())
        self._history, self._advice, self._store = rows.beside.history(), rows.beside.advice, rows.store
        self.edition = secrets.token_hex(4)

    def notify(self, notice: Notice) -> None:
        if isinstance(notice, RunOpened):
            self._read()
            self._is_open = True
        self._board.fold(notice, self.now())
        if isinstance(notice, RowMoved):
            row, state = notice
            self._states[row.seq] = state
            self._history.count(self._wall(), state.phase, state.code)
            self._move(row.seq)
        elif text := _told(notice):
            self._history.tell(self._wall(), text)

    def end(self, run: Run) -> None:
        """The run as its report has it, with its exit code; open rows say why they are."""
        self._run = lambda: run
        self.close()

    def close(self) -> None:
        """Nothing more will be told."""
        if not self.ended:
            self.ended = True
            for seq, state in enumerate(self._states):
                if state.is_open:
                    self._move(seq)

    def document(self) -> Iterator[str]:
        """All of it as JSON, in pieces, each row as it stands when its piece is made."""
        phases: list[Phase] = []
        advice: dict[str, str] = {}
        known = f"{self.edition}.{self.number}"  # what moves while the pieces are made is told again
        yield f'{{"schema":"{SCHEMA}","run":{as_json(self.run())},"columns":{as_json(SHOWN)},"rows":['
        for first in range(0, len(self._states), AT_ONCE):
            piece = []
            for seq in range(first, min(first + AT_ONCE, len(self._states))):
                values = self._values(seq)
                piece.append(as_json(values))
                phases.append(self._states[seq].phase)
                advice |= self._advised(values)
            yield ("," if first else "") + ",".join(piece)
        live = {"phases": phases, "state": self.state(), "known": known}
        yield f'],"history":{as_json(self._history.document())},"advice":{as_json(advice)},"live":{as_json(live)}}}\n'

    def run(self) -> dict[str, Any]:
        """The run as the JSON report has it now, and how many rows may end badly; open rows count once it has ended."""
        counts: Counter[Outcome] = Counter()
        for phase, rows in self._board.phases.items():
            if self.ended or phase in TERMINAL:
                counts[outcome_of(phase)] += rows
        run, opened = self._run(), self._board.opened
        return {
            **run_document(run, counts),
            "max_failures": opened.max_failures if opened else None,
            "given_up": self.ended and run.closed and any(state.is_open for state in self._states),
        }

    def state(self) -> dict[str, Any]:
        """Where the run stands, and how fast it is."""
        board, now = self._board, self.now()
        wave, limit, phase = board.wave, board.budget_limit, self._phase()
        under_way = board.in_change
        left = under_way if phase == TAKING_UP else 0  # nobody knows any more
        return {
            "phase": phase,
            "calls_per_second": round(board.rate(now), 1),
            "throttled": board.throttled,
            "in_change": under_way - left,
            "in_doubt": board.in_doubt + left,
            "waiting": board.waiting,
            "to_come": board.untouched,
            "budget": None if limit is None else {"used": board.budget_used, "limit": limit},
            "wave": wave and {"wave": wave.wave, "waves": wave.waves, "instances": wave.instances},
            "pacing": [pace.document() for pace in board.pacing(now)],
            "paused": board.paused,
            "at": moment(self._wall()),
        }

    def moved_since(self, number: int) -> list[tuple[int, int]]:
        """The rows that moved after that, and the number of the last move of each, the earliest first."""
        return list(takewhile(lambda move: move[1] > number, reversed(self._moved.items())))[::-1]

    def update(self, moves: list[tuple[int, int]]) -> dict[str, Any]:
        """What is to be told of these rows as they stand, and what to do about their errors."""
        rows: list[tuple[int, tuple[Any, ...], Phase]] = []
        advice: dict[str, str] = {}
        for seq, _ in moves:
            values = self._values(seq)
            rows.append((seq, values, self._states[seq].phase))
            advice |= self._advised(values)
        return {"rows": rows, "advice": advice} if rows else {}

    def history(self) -> dict[str, Any]:
        return self._history.document()

    def _move(self, seq: int) -> None:
        self.number += 1
        self._moved.pop(seq, None)
        self._moved[seq] = self.number

    def _values(self, seq: int) -> tuple[Any, ...]:
        state = self._states[seq]
        values = report_row(self._run(), self._planned[seq], state, store=self._store)[1:]
        if state.is_open and not self.ended:  # what a report would say of it now is not how it ends
            return *values[:_OUTCOME], None, *values[_OUTCOME + 1 :]
        return values

    def _advised(self, values: tuple[Any, ...]) -> dict[str, str]:
        code = values[_CODE]
        text = self._advice(code) if code else None
        return {code: text} if text else {}

    def _phase(self) -> str:
        if self.ended:
            return "ended"
        if self._board.stopping is not None:
            return "stopping"
        if self._is_open:
            return "running"
        return TAKING_UP if self._is_taken_up else "planning"


def _told(notice: Notice) -> str | None:
    """What happened to the run as a whole, for its history."""
    match notice:
        case WaveOpened(wave=wave):
            return f"wave {wave} opened"
        case WaveEnded(wave=wave):
            return f"wave {wave} ended"
        case CheckEnded(wave=wave, passed=passed):
            return f"check after wave {wave} {'passed' if passed else 'failed'}"
        case AccountStopped(account=account):
            return f"account {account} stopped"
        case RunStopping(stopped_by=stopped_by):
            return f"stopped by {stopped_by}"
        case Controlled(text=text):
            return f"control: {text}"
        case _:
            return None
