"""What happened when: a run's steps and marks as counts over time. Pure; times are seconds since the epoch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from batchmod.errors import Verdict
from batchmod.model.events import Phase
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType
from batchmod.report.layout import moment

FINEST: Final = 1.0  # seconds
MOST: Final = 240  # spans of time; when there are more, each two become one


class Series(StrEnum):
    """What is counted."""

    SENT = "sent"  # writes that went out
    CHANGED = "changed"
    FAILED = "failed"
    UNRESOLVED = "unresolved"
    THROTTLED = "throttled"  # writes that a quota refused
    BUSY = "busy"  # writes that somebody else's task refused
    NOT_SENT = "not_sent"  # writes that never left this machine
    LOST = "lost"  # writes without an answer


_OF_PHASE: Final = {
    Phase.ARMED: Series.SENT,
    Phase.REARMED: Series.SENT,
    Phase.CHANGED: Series.CHANGED,
    Phase.FAILED: Series.FAILED,
    Phase.UNRESOLVED: Series.UNRESOLVED,
}
_HELD_BACK: Final = frozenset({Phase.WAITING, Phase.IN_DOUBT})  # entered with the code that says why
_OF_VERDICT: Final = {
    Verdict.SLOW_DOWN: Series.THROTTLED,
    Verdict.WAIT: Series.BUSY,
    Verdict.NOT_SENT: Series.NOT_SENT,
}
_SAID: Final = {
    MarkType.RESUMED: "resumed",
    MarkType.STOPPED: "stopped by {0.stopped_by}",
    MarkType.ACCOUNT_FAILED: "account {0.account} stopped",
    MarkType.BUDGET_RESET: "failures from before forgiven",
    MarkType.WAVE_OPENED: "wave {0.wave} opened",
    MarkType.WAVE_ENDED: "wave {0.wave} ended",
    MarkType.CHECKED: "check after wave {0.wave} ended with {0.exit_code}",
    MarkType.CONTROLLED: "control: {0.reason}",
    MarkType.FINISHED: "ended, exit {0.exit_code}",
}
Meaning = Callable[[str], Verdict | None]  # of an error code


def nothing_known(_: str) -> None:
    """Of no code is it known what it means."""


@dataclass(slots=True, kw_only=True)
class History:
    """Grows by `count` and `tell`; never has more than MOST spans, so it stays small however long a run lasts."""

    begun: float = 0.0
    width: float = FINEST  # seconds of one span
    counts: dict[Series, list[int]] = field(default_factory=lambda: {series: [] for series in Series})
    verdict: Meaning = nothing_known
    told: list[tuple[float, str]] = field(default_factory=list)  # when, and what happened to the run as a whole

    def count(self, at: float, phase: Phase, code: str | None) -> None:
        """One row entered a phase."""
        series = self._held_back(phase, code) if phase in _HELD_BACK else _OF_PHASE.get(phase)
        if series is None:
            return
        place = self._place(at)
        counted = self.counts[series]
        counted += [0] * (place + 1 - len(counted))
        counted[place] += 1

    def tell(self, at: float, text: str) -> None:
        self.told.append((at, text))

    def __bool__(self) -> bool:
        """Something happened."""
        return bool(self.told) or any(self.counts.values())

    def document(self) -> dict[str, Any]:
        """As JSON has it: every series as long as the longest."""
        longest = max(map(len, self.counts.values()))
        return {
            "begun": moment(self.begun),
            "span_seconds": self.width,
            "series": {series: [*one, *[0] * (longest - len(one))] for series, one in self.counts.items()},
            "told": [{"at": moment(at), "text": text} for at, text in self.told],
        }

    def _held_back(self, phase: Phase, code: str | None) -> Series | None:
        """By the code; what no code tells of is lost only if it is in doubt."""
        verdict = self.verdict(code) if code else None
        known = None if verdict is None else _OF_VERDICT.get(verdict)
        return Series.LOST if known is None and phase is Phase.IN_DOUBT else known

    def _place(self, at: float) -> int:
        while (place := max(0, int((at - self.begun) / self.width))) >= MOST:
            self.width *= 2
            self.counts = {series: _paired(one) for series, one in self.counts.items()}
        return place


def history_of(
    begun: float, steps: Iterable[Step], marks: Iterable[Mark], *, verdict: Meaning = nothing_known
) -> History:
    """The history of a run that began then; `verdict` tells why a call was held back."""
    history = History(begun=begun, verdict=verdict)
    for step in steps:
        history.count(step.at, step.phase, step.code)
    for mark in marks:
        if mark.type in _SAID:
            history.tell(mark.at, _SAID[mark.type].format(mark))
    return history


def _paired(counts: list[int]) -> list[int]:
    return [sum(counts[place : place + 2]) for place in range(0, len(counts), 2)]
