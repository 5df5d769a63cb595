"""What observers are told while a run goes on. Frozen values; no secret among them."""

from dataclasses import dataclass

from batchmod.model.events import StoppedBy
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import RowState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOpened:
    run_id: str
    name: str
    resumed: bool
    rows: int  # all rows of the plan
    to_send: int  # rows still to be done when the run (or its resume) began
    max_failures: int | None  # rows that may end failed or unresolved


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMoved:
    """A row entered a phase; told after the journal has it."""

    row: PlannedRow
    state: RowState


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered:
    """One API call ended. `code` is None for success."""

    lane: Lane
    api: str
    code: str | None
    throttled: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStopped:
    account: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopping:
    """Nothing new is sent from here on."""

    stopped_by: StoppedBy


Notice = RunOpened | RowMoved | CallAnswered | AccountStopped | RunStopping
