"""One row on its way: what is known of it in this process only. The journal knows the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from batchmod.engine.machine import Seen
from batchmod.errors import CallError
from batchmod.model.events import Proof
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.secret import Secret


class Learnt(NamedTuple):
    """What was seen of a row, and what the journal should keep of it: all but `seen` is what a Step has behind row, phase
    and time, in its order.
    """

    seen: Seen
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    detail: str | None = None
    proof: Proof | None = None
    generation: int | None = None

    @classmethod
    def of(cls, seen: Seen, error: CallError) -> "Learnt":
        return cls(seen=seen, code=error.code, message=error.message, request_id=error.request_id)

    @classmethod
    def stopped(cls, error: CallError) -> "Learnt":
        """The account was stopped, by an answer that was another row's."""
        return cls(seen=Seen.ACCOUNT_STOPPED, code=error.code, message=error.message)


@dataclass(slots=True, kw_only=True)
class Walk:
    """Times are monotonic seconds. Deadlines begin anew with each process, so they are not in the journal."""

    row: PlannedRow
    state: RowState
    parked: Callable[[], None]  # told once the row waits and another instance may start
    secret: Secret | None = None
    looked: bool = False  # a status that the plan saw was waited out
    routed: bool = False  # the login proof's route and control were tried
    tries: int = 0  # attempts that were lost or provably not sent
    waits: int = 0  # times in a row that an attempt was held back or busy
    error: CallError | None = None  # of the last attempt
    busy_since: float | None = None
    open_since: float | None = None  # accepted or in doubt since
    quiet_since: float | None = None  # Normal at every look since
    was_abnormal: bool = False  # seen not Normal since it was accepted
    look_due: float = 0.0  # when the last look was to be, in seconds after the acceptance or doubt
    note: str | None = None  # why the last proof failed
    is_live: bool = False  # the new password logged in once
    holds_slot: bool = False  # of the failure budget
    holds_change: bool = False  # of the disruption budget
    holds_turn: bool = False  # of its group
    observed_at: float = 0.0  # when it was last read again, in seconds since the epoch
    resumed: bool = False  # another process began with it

    def put_off(self, seconds: float) -> None:
        """Deadlines are so much later."""
        self.busy_since = None if self.busy_since is None else self.busy_since + seconds
        self.open_since = None if self.open_since is None else self.open_since + seconds
