"""What a run looks like at a moment: the fold of its notices. No terminal and no clock; `now` comes from the caller,
any clock in seconds that goes forward.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from batchmod.model.events import TERMINAL, UNSENT, Kind, Outcome, Phase, StoppedBy
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
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.report.quotas import WINDOW, Quotas
from batchmod.report.work import Work

ERRORS: Final = 3  # the last ones are shown

IN_CHANGE: Final = frozenset({Phase.ARMED, Phase.SETTLING, Phase.PROVING, Phase.PROVED})
BAD: Final = frozenset({Phase.FAILED, Phase.UNRESOLVED})
IN_DOUBT: Final = frozenset({Phase.IN_DOUBT, Phase.REARMED, Phase.WATCHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """A row that ended failed or unresolved."""

    instance_id: str
    region: str
    kind: Kind
    outcome: Outcome
    text: str  # code and message, or the detail; as the service sent it


@dataclass(slots=True, kw_only=True)
class BoardState:
    """Changed by `fold` only. `rows` of the plan are all counted: those that nobody spoke of are planned."""

    began: float
    opened: RunOpened | None = None
    phases: Counter[Phase] = field(default_factory=Counter)
    done: int = 0  # rows in a phase that ends them
    calls: int = 0
    throttled: int = 0
    errors: tuple[RowError, ...] = ()
    accounts: tuple[AccountStopped, ...] = ()
    stopping: StoppedBy | None = None
    wave: WaveOpened | None = None  # the latest
    ended: WaveEnded | None = None  # the latest, as long as the next one is not open
    opens_at: float | None = None  # when the next one may be, on the clock of `now`
    checked: CheckEnded | None = None  # after the wave that ended
    paused: bool = False
    quotas: Quotas = field(default_factory=Quotas)
    work: Work = field(default_factory=Work)
    _where: dict[int, Phase] = field(default_factory=dict)  # of each row, by seq
    _seconds: deque[tuple[int, int]] = field(default_factory=deque)  # (second, calls in it), within the window
    _failed_by_plan: int = 0  # outside the failure budget
    _before: int = 0  # rows that ended badly before this wave, or in an earlier one
    _since: float | None = None  # when the first row ended at this pace; None: none did
    _base: int = 0  # rows that had ended by then

    @classmethod
    def start(cls, states: Iterable[tuple[PlannedRow, RowState]], *, now: float) -> "BoardState":
        """The rows as the plan, or the journal of a run taken up again, has them."""
        board = cls(began=now)
        for row, state in states:
            board._move(row, state, now)
            board._failed_by_plan += row.verdict is Phase.FAILED
        board._since = None
        return board

    @property
    def rows(self) -> int:
        return max(len(self._where), self.opened.rows if self.opened else 0)

    @property
    def hears_calls(self) -> bool:
        """Whether calls that are made are told here."""
        return self.opened is None or not self.opened.elsewhere

    @property
    def in_change(self) -> int:
        return sum(self.phases[phase] for phase in IN_CHANGE)

    @property
    def in_doubt(self) -> int:
        return sum(self.phases[phase] for phase in IN_DOUBT)

    @property
    def waiting(self) -> int:
        return self.phases[Phase.WAITING]

    @property
    def untouched(self) -> int:
        """Open rows of which nothing was sent."""
        return self.rows - self.done - self.in_change - self.in_doubt - self.waiting

    @property
    def budget_limit(self) -> int | None:
        """Rows that may end badly: of the wave, if there are several, else of the run."""
        if self.wave is not None and self.wave.waves > 1:
            return self.wave.max_failures
        return None if self.opened is None else self.opened.max_failures

    @property
    def budget_used(self) -> int:
        """Slots of that budget that are spent or held by what is not certain yet."""
        return self._ended_badly - self._before + self.in_change + self.in_doubt

    @property
    def _ended_badly(self) -> int:
        return self.phases[Phase.FAILED] - self._failed_by_plan + self.phases[Phase.UNRESOLVED]

    @property
    def waves(self) -> int:
        """Of the whole run."""
        return max(self.work.waves, self.wave.waves if self.wave is not None else 0)

    @property
    def current_wave(self) -> int | None:
        """The wave that is open, or has ended last; None where there is but one, and before any."""
        if self.waves < 2:  # noqa: PLR2004  one is no wave
            return None
        if self.ended is not None:
            return self.ended.wave
        return None if self.wave is None else self.wave.wave

    @property
    def ended_since(self) -> tuple[int, float | None]:
        """Rows that ended by what was done to them at the present pace, after the first one, and when that one did."""
        return self._ended_by_work - self._base, self._since

    @property
    def _ended_by_work(self) -> int:
        return self.done - self.phases[Phase.NOT_STARTED]

    def outcomes(self) -> Mapping[Outcome, int]:
        """Rows that ended, by outcome, every outcome named."""
        return {outcome: self.phases[Phase(outcome.value)] for outcome in Outcome}

    def rate(self, now: float) -> float:
        """Calls a second over the last ten, or over the whole run if it is younger."""
        recent = sum(calls for second, calls in self._seconds if second > int(now) - WINDOW)
        return recent / min(WINDOW, max(1.0, now - self.began))

    def pacing(self, now: float) -> list[Pace]:
        """The APIs that were called in the last ten seconds, those first that use the most of their quota."""
        return self.quotas.recent(now)

    def fold(self, notice: Notice, now: float) -> None:
        if isinstance(notice, RowMoved):  # the two that come by the thousand first
            self._move(notice.row, notice.state, now)
            if notice.state.phase in BAD:
                self.errors = (*self.errors, row_error(notice.row, notice.state))[-ERRORS:]
        elif isinstance(notice, CallAnswered):
            self.calls += 1
            self.throttled += notice.throttled
            self._count(int(now))
        else:
            self._fold_rare(notice, now)

    def _fold_rare(self, notice: Notice, now: float) -> None:
        match notice:
            case Paced(pace=pace):
                self.quotas.tell(pace, now)
            case RunOpened():
                self.opened = notice
            case AccountStopped():
                self.accounts = (*self.accounts, notice)
            case RunStopping(stopped_by=stopped_by):
                self.stopping, self.paused = stopped_by, False
            case WaveOpened():
                self.wave, self.ended, self.opens_at, self.checked, self._since = notice, None, None, None, None
                self._before = self._ended_badly - notice.spent
            case WaveEnded(pause=pause):
                self.ended, self.opens_at = notice, None if pause is None else now + pause
            case CheckEnded():
                self.checked = notice
            case Controlled(text=text):
                self.paused = self.stopping is None and (text == "pause" or (self.paused and text != "continue"))
                self._since = None  # what was measured before is another pace
            case _:  # of a consumer the last words tell
                pass

    def _move(self, row: PlannedRow, state: RowState, now: float) -> None:
        seq, phase = row.seq, state.phase
        before = self._where.get(seq)
        self._where[seq] = phase
        self.phases[phase] += 1
        if before is None:
            self.work.meet(row)
        else:
            self.phases[before] -= 1
        ends, sends = phase in TERMINAL, phase in UNSENT
        if ends is not (before in TERMINAL):
            self._end(row, 1 if ends else -1, now)
        if sends is not (before in UNSENT):
            self.work.queue(row, 1 if sends else -1)
        if phase is Phase.WAITING:
            self.work.wait(row, state.code)
        elif before is Phase.WAITING:
            self.work.go_on(seq)

    def _end(self, row: PlannedRow, by: int, now: float) -> None:
        self.done += by
        self.work.end(row, by)
        if self._since is None:
            self._since, self._base = now, self._ended_by_work

    def _count(self, second: int) -> None:
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
            return
        self._seconds.append((second, 1))
        while self._seconds[0][0] <= second - WINDOW:
            self._seconds.popleft()


def row_error(row: PlannedRow, state: RowState) -> RowError:
    """What is to be said of a row that did not end well."""
    said = ": ".join(part for part in (state.code, state.message) if part)
    return RowError(
        instance_id=row.instance_id,
        region=row.region,
        kind=row.kind,
        outcome=state.outcome,
        text=said or state.detail or "no reason known",
    )
