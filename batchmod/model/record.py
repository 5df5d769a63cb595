"""What was done: the journal's records, and the fold that makes one row's state of them. Pure; no clock, no I/O.

All times are seconds since the epoch, UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from batchmod.model.events import TERMINAL, Outcome, Phase, Proof, StoppedBy, outcome_of
from batchmod.model.exits import REPORT, RESUMABLE
from batchmod.model.pace import Pace, added
from batchmod.model.plan import PlannedRow

LEFT = frozenset({RESUMABLE, REPORT})  # exit codes of a run that has not ended, unless it is closed
_ARMED = frozenset({Phase.ARMED, Phase.REARMED})
_ANSWERED = frozenset({Phase.ARMED, Phase.WAITING, Phase.SETTLING, Phase.FAILED, Phase.NOT_STARTED})  # what an armed
# attempt becomes with an answer; a refusal in the second of these two phases is taken for none, to be on the safe side
_GOOD = frozenset({Phase.CHANGED, Phase.UNCHANGED, Phase.SKIPPED})  # what was before is no error of such a row


class Step(NamedTuple):
    """One row entered a phase. Written before what the phase does is done."""

    seq: int
    phase: Phase
    at: float
    code: str | None = None  # the service's error code, or ours
    message: str | None = None  # never holds a parameter
    request_id: str | None = None
    detail: str | None = None  # what a person should know; never a password
    proof: Proof | None = None
    generation: int | None = None  # of the secret store, for a password


class RowState(NamedTuple):
    """What is known of one row after all its steps."""

    phase: Phase
    attempts: int = 0  # armed so far: an attempt that may have left this machine
    last_armed: float | None = (
        None  # the fence of an attempt in doubt runs from here: the latest, if the clock was set back
    )
    doubted: float | None = None  # when the last attempt was armed that nobody saw answered: proof of another one's
    # success does not keep it from landing
    started_at: float | None = None  # of the first attempt
    finished_at: float | None = None  # of the terminal phase
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    detail: str | None = None
    proof: Proof | None = None
    generation: int | None = None

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.phase)

    @property
    def is_open(self) -> bool:
        return self.phase not in TERMINAL

    @property
    def took(self) -> float | None:
        """Seconds from the attempt that was accepted to the end of a changed row: what was waited before it is no part.

        None for a row that was never sent, and for one with a reply that was lost: that took as long as the doubt.
        """
        if self.phase is not Phase.CHANGED or self.last_armed is None or self.finished_at is None:
            return None
        return None if self.doubted is not None else round(self.finished_at - self.last_armed, 3)

    @property
    def is_armed(self) -> bool:
        """An attempt goes out, or went out and nobody wrote down what came of it."""
        return self.phase in _ARMED

    def after(self, step: Step) -> "RowState":
        """The state once this step is taken."""
        return fold(self, (step,))


def first_state(row: PlannedRow) -> RowState:
    """What is known of a row before its first step: what the plan said."""
    return _first(row.verdict, row.reason, row.error_code)


@lru_cache
def _first(verdict: Phase, reason: str | None, code: str | None) -> RowState:
    """One for all the rows of which the same is known."""
    return RowState(phase=verdict, detail=reason, code=code)


def first_states(rows: Iterable[PlannedRow]) -> list[tuple[PlannedRow, RowState]]:
    """What the journal tells of a run that was opened with these rows, before its first step."""
    return [(row, first_state(row)) for row in rows]


def fold(first: RowState, steps: Iterable[Step]) -> RowState:
    """The state after all steps, in order. What a later step leaves unsaid stays as it was, but for the error: a row
    that ends without one has none.
    """
    phase, attempts, started_at, finished_at = first.phase, first.attempts, first.started_at, first.finished_at
    last_armed, doubted, code, message = first.last_armed, first.doubted, first.code, first.message
    request_id, detail, proof, generation = first.request_id, first.detail, first.proof, first.generation
    for step in steps:  # in one place of names: a value for each step takes five times the time, and a journal has many
        before, phase, at = phase, step.phase, step.at
        if before in _ARMED and phase not in _ANSWERED:
            doubted = last_armed
        if phase in _ARMED:
            attempts += 1
            last_armed = at if last_armed is None else max(at, last_armed)
            started_at = at if started_at is None else started_at
        finished_at = at if phase in TERMINAL else None
        if step.code or phase in _GOOD:
            code, message = step.code, step.message
        request_id = step.request_id or request_id
        detail = step.detail or detail
        proof = step.proof or proof
        generation = generation if step.generation is None else step.generation
    return RowState(
        phase,
        attempts,
        last_armed,
        doubted,
        started_at,
        finished_at,
        code,
        message,
        request_id,
        detail,
        proof,
        generation,
    )


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
