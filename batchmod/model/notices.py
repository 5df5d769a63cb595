"""What observers are told while a run goes on. Frozen values; no secret among them."""

from dataclasses import dataclass
from typing import NamedTuple

from batchmod.model.events import StoppedBy
from batchmod.model.pace import Pace
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
    elsewhere: bool = False  # other processes make its calls, and nobody hears of them here


class RowMoved(NamedTuple):
    """A row entered a phase; told after the journal has it."""

    row: PlannedRow
    state: RowState


class CallAnswered(NamedTuple):
    """One API call ended. `code` is None for success."""

    lane: Lane
    api: str
    code: str | None
    throttled: bool
    seconds: float
    request_id: str | None = None  # as the service calls it, when it answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """How an API is paced now, at most once a second while it is called."""

    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStopped:
    account: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopping:
    """Nothing new is sent from here on."""

    stopped_by: StoppedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveOpened:
    """Rows of this wave may be sent."""

    wave: int  # from 1
    waves: int
    instances: int  # of this wave that are still to be done
    max_failures: int | None = None  # rows that may end failed or unresolved before the run stops in it
    spent: int = 0  # of those, in an earlier process
    pause: float | None = 0.0  # seconds after each wave; None: an operator has to open the next one


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveEnded:
    """Every row of this wave has its final outcome, and the next may not begin yet."""

    wave: int
    pause: float | None  # seconds until it may; None: an operator has to open the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEnded:
    """The command between two waves has ended."""

    wave: int  # that ended before it
    passed: bool
    text: str  # how it ended, and the last of what it said; no secret is known to it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerEnded:
    """A consumer that was told of a wave has ended, or one that was told of a target stops the run."""

    wave: int
    passed: bool
    text: str  # who, of what, and how it ended; no password is in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """An operator changed how the run goes on."""

    text: str  # pause, continue, stop, rate=100/60s, changing=20


Notice = (
    RunOpened
    | RowMoved
    | CallAnswered
    | Paced
    | AccountStopped
    | RunStopping
    | WaveOpened
    | WaveEnded
    | CheckEnded
    | ConsumerEnded
    | Controlled
)
