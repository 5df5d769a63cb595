"""What a run looks like to who follows it, told from what its journal and its campaign say of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from batchmod.app.announcing import run_opened, wave_opened
from batchmod.app.context import share_of_wave
from batchmod.app.watching import Watching
from batchmod.cluster.news import News
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.notices import (
    AccountStopped,
    CheckEnded,
    ConsumerEnded,
    Controlled,
    Notice,
    RowMoved,
    RunStopping,
    WaveEnded,
)
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Mark, MarkType, Run

LATE: Final = 10_000  # a step may be committed after so many with greater numbers, and is seen in time all the same


@dataclass(kw_only=True)
class Shown:
    """One run, and what was told of it so far. Each of its methods may raise JournalError."""

    run: Run
    manifest: Manifest
    journal: PostgresJournal
    watching: Watching
    known: dict[int, tuple[PlannedRow, RowState]] = field(default_factory=dict)  # by seq, as they were told
    _told: list[Mark] = field(default_factory=list)
    _stopping: StoppedBy | None = None
    _steps: dict[int, int] = field(default_factory=dict)  # by seq: the last step that is told
    _last: int = 0  # step of all

    def open(self, last: int, *, resumed: bool) -> None:
        """The run is shown from the state that it is in; `last`: the last step that was there before it was read."""
        marks, states = self.journal.marks(self.run.id), list(self.journal.states(self.run.id))
        self._told, self._last = marks, last
        self.known = {row.seq: (row, state) for row, state in states}
        for mark in marks:
            self.run = self.run.after(mark)
        self.watching.open(run_opened(self.run, self.manifest, states, resumed=resumed, elsewhere=True), states)
        self._open_wave(self.run.opened)

    @property
    def after(self) -> int:
        """The number of a step from which on it is to be looked for news."""
        return max(0, self._last - LATE)

    def tell(self, news: News) -> None:
        """All of it was told, once; also that the run stops, which the campaign knows first."""
        if news.marks != len(self._told):
            self._mark(self.journal.marks(self.run.id))
        if news.campaign is not None and news.campaign.stopping is not None:
            self._stop(news.campaign.stopping)
        moved = {seq: n for seq, n in news.moved.items() if self._steps.get(seq) != n}
        if moved:
            for row, state in self.journal.states_of(self.run.id, sorted(moved)):
                self._move(row, state)
            self._last = max(self._last, *moved.values())
            self._steps |= moved

    def tell_end(self) -> None:
        """The run is shown as the journal has it."""
        self._mark(self.journal.marks(self.run.id))
        for row, state in self.journal.states(self.run.id):
            self._move(row, state)
        self.run = self.journal.run(self.run.id) or self.run

    def _move(self, row: PlannedRow, state: RowState) -> None:
        if self.known[row.seq][1] != state:
            self.known[row.seq] = row, state
            self.watching.notify(RowMoved(row, state))

    def _mark(self, marks: Sequence[Mark]) -> None:
        for mark in (mark for mark in marks if mark not in self._told):
            self.run = self.run.after(mark)
            if mark.type is MarkType.WAVE_OPENED and mark.wave is not None:
                self._open_wave(mark.wave)
            elif mark.type is MarkType.STOPPED and mark.stopped_by is not None:
                self._stop(mark.stopped_by)
            elif (notice := notice_of(mark, self.manifest)) is not None:
                self.watching.notify(notice)
        self._told = list(marks)

    def _stop(self, reason: StoppedBy) -> None:
        if self._stopping is None:
            self._stopping = reason
            self.watching.notify(RunStopping(stopped_by=reason))

    def _open_wave(self, wave: int) -> None:
        known = list(self.known.values())
        limit, spent = share_of_wave(self.manifest, self.run, known, wave)
        opened = wave_opened(self.manifest, known, wave, limit=limit, spent=spent)
        if opened is not None:
            self.watching.notify(opened)


def notice_of(mark: Mark, manifest: Manifest) -> Notice | None:
    """What is told of a mark that needs nothing else to be understood."""
    wave, reason = mark.wave or 0, mark.reason or ""
    match mark.type:
        case MarkType.ACCOUNT_FAILED:
            return AccountStopped(account=mark.account or "", reason=reason)
        case MarkType.CONTROLLED:
            return Controlled(text=reason)
        case MarkType.WAVE_ENDED:
            pause = manifest.rollout.pause
            return WaveEnded(wave=wave, pause=None if isinstance(pause, str) else pause)
        case MarkType.CHECKED:
            return CheckEnded(wave=wave, passed=mark.exit_code == 0, text=reason)
        case MarkType.CONSUMED:
            return ConsumerEnded(
                wave=wave, passed=mark.reason is None, text=reason or f"consumer {mark.consumer} passed"
            )
        case _:
            return None
