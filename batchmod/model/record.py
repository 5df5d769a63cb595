"""What was done: the steps of a row, and the fold that makes its state of them. Pure; no clock, no I/O.

All times are seconds since the epoch, UTC.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from batchmod.model.events import TERMINAL, Outcome, Phase, Proof, outcome_of
from batchmod.model.plan import PlannedRow

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
