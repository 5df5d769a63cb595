"""What happened to a run as a whole: the journal's marks, and the fold that makes the run of them. Pure; no clock, no I/O.

All times are seconds since the epoch, UTC.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from batchmod.model.events import StoppedBy
from batchmod.model.exits import REPORT, RESUMABLE
from batchmod.model.pace import Pace, added

LEFT = frozenset({RESUMABLE, REPORT})  # exit codes of a run that has not ended, unless it is closed


class MarkType(StrEnum):
    """What happened to a run as a whole."""

    RESUMED = "resumed"
    STOPPED = "stopped"  # nothing new is sent from here on; `stopped_by` says why
    ACCOUNT_FAILED = "account failed"  # `account` was stopped for `reason`
    FINISHED = "finished"  # the process ended in good order with `exit_code`; rows may still be open
    BUDGET_RESET = "budget reset"  # failures from before do not count any more
    CLOSED = "closed"  # no row of it will be taken up again: all ended, or the run was abandoned
    WAVE_ENDED = "wave ended"  # every row of `wave`, and of those before it, has its final outcome
    PAUSE_OVER = "pause over"  # what had to pass after `wave` has passed: the time, or an operator has looked
    CHECKED = "checked"  # the check after `wave` ended with `exit_code` (None: with none) and said `reason`
    CONSUMED = (
        "consumed"  # `consumer`, one of those per wave, was run for `wave` and ended with `exit_code`; `reason` says
    )
    # what was wrong; it is to be run again when `stopped_by` is there
    WAVE_OPENED = "wave opened"  # rows of `wave` may be sent
    PACED = "paced"  # this process has made so much of each API's quota, and found it so: `paces`
    CONTROLLED = "controlled"  # an operator changed how the run goes on; `reason` is what was said
    NOTIFIED = "notified"  # `notify` was told how the process ended; `reason` is a digest of the words
    NOTIFIER_FAILED = "notifier failed"  # `notifier` could not be told of it, for `reason`


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    type: MarkType
    at: float
    stopped_by: StoppedBy | None = None
    account: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    wave: int | None = None
    paces: tuple[Pace, ...] | None = None
    consumer: int | None = None  # from 0, among those per wave
    notifier: int | None = None  # from 1, as the manifest's `notify` has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as the journal knows it. `manifest` is the normalised manifest as JSON: it names secrets, holds none."""

    id: str  # 20260304T050607Z-1a2b
    name: str
    manifest_digest: str
    manifest: str
    directory: str  # what relative paths in the manifest start from
    started_at: float
    password_hmac: str | None = None  # of a chosen password, under a key derived from the age key
    finished_at: float | None = None
    stopped_by: StoppedBy | None = None
    exit_code: int | None = None
    accounts_failed: tuple[tuple[str, str], ...] = ()  # (account, reason)
    budget_reset_at: float | None = None
    closed: bool = False
    observed_at: float | None = None  # when the plan read the fleet
    plan_seal: str | None = None  # of the plan file that is applied
    resumed_at: tuple[float, ...] = ()
    wave_ended_at: float | None = None  # the latest of `waves_ended`
    waves_ended: int = 0  # every row of the waves up to this one has its final outcome
    pauses_over: int = 0  # the pause after this wave, and those before it, are over
    paces: tuple[Pace, ...] = ()  # of all its processes
    paced_at: float = 0.0  # the latest of these
    opened: int = 1  # the latest wave of which rows may be sent
    command: str | None = None  # what made it, when it was no run: such a one is in no journal
    consumed: tuple[int, int] = (0, 0)  # a wave, and how many of the consumers per wave have been told of it
    consumers_failed: tuple[tuple[int, int, str], ...] = ()  # (wave, consumer, what was wrong)
    notified: str | None = None  # a digest of what `notify` was told last
    notifiers_failed: tuple[tuple[int, str], ...] = ()  # (notifier, reason): of that

    def began_before(self, at: float) -> float:
        """When the process began that worked on the run at this time."""
        return max((start for start in self.resumed_at if start <= at), default=self.started_at)

    @property
    def is_left(self) -> bool:
        """Something may be left to do, by what is known without its rows."""
        return not self.closed or self.finished_at is None

    def is_unfinished(self, open_rows: int) -> bool:
        """Something is left to do, and `resume` would do it; `open_rows` are those of the run.

        Also when every row has ended: a consumer may be waiting to be run, or run again.
        """
        return self.finished_at is None or (not self.closed and (bool(open_rows) or self.exit_code in LEFT))

    def after(self, mark: Mark) -> "Run":
        """The run once this happened to it. A resumed run is not finished and not stopped any more."""
        return replace(self, **self._news(mark))

    def _news(self, mark: Mark) -> dict[str, Any]:
        known = {account for account, _ in self.accounts_failed}
        match mark.type:
            case MarkType.RESUMED:
                resumed = (*self.resumed_at, mark.at)
                return {"finished_at": None, "stopped_by": None, "exit_code": None, "resumed_at": resumed}
            case MarkType.STOPPED:
                return {"stopped_by": self.stopped_by or mark.stopped_by}
            case MarkType.ACCOUNT_FAILED if mark.account not in known:
                return {"accounts_failed": (*self.accounts_failed, (mark.account or "", mark.reason or ""))}
            case MarkType.FINISHED:
                return {"finished_at": mark.at, "exit_code": mark.exit_code}
            case MarkType.BUDGET_RESET:
                return {"budget_reset_at": mark.at}
            case MarkType.CLOSED:
                return {"closed": True}
            case MarkType.NOTIFIED | MarkType.NOTIFIER_FAILED:
                return _of_notifiers(self, mark)
            case _:
                return _of_wave(self, mark)


def _of_notifiers(run: Run, mark: Mark) -> dict[str, Any]:
    """What failed before does not count once they are told of something else."""
    if mark.type is MarkType.NOTIFIED:
        return {"notified": mark.reason, "notifiers_failed": ()}
    return {"notifiers_failed": (*run.notifiers_failed, (mark.notifier or 0, mark.reason or ""))}


def _of_wave(run: Run, mark: Mark) -> dict[str, Any]:
    match mark.type:
        case MarkType.WAVE_ENDED:
            return {"waves_ended": mark.wave, "wave_ended_at": mark.at}
        case MarkType.PAUSE_OVER:
            return {"pauses_over": mark.wave}
        case MarkType.WAVE_OPENED:
            return {"opened": mark.wave}
        case MarkType.PACED:
            return {"paces": added(run.paces, mark.paces or ()), "paced_at": mark.at}
        case MarkType.CONSUMED:
            return _of_consumer(run, mark)
        case MarkType.CHECKED if mark.exit_code != 0:
            return {"stopped_by": StoppedBy.CHECK}
        case _:
            return {}


def _of_consumer(run: Run, mark: Mark) -> dict[str, Any]:
    """What it failed with before does not count once it is run again."""
    wave, consumer = mark.wave or 0, mark.consumer or 0
    failed = tuple(one for one in run.consumers_failed if one[:2] != (wave, consumer))
    if mark.reason is not None:
        failed = (*failed, (wave, consumer, mark.reason))
    if mark.stopped_by is not None:
        return {"consumers_failed": failed, "stopped_by": run.stopped_by or mark.stopped_by}
    return {"consumers_failed": failed, "consumed": (wave, consumer + 1)}
