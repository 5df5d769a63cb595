"""What earlier runs left in doubt on the instances of this one. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.model.secret import InstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A row of an earlier run that may or may not have been applied, or of which a copy may still land."""

    run_id: str
    over: bool  # no process will take the row up again
    row: PlannedRow
    state: RowState

    @property
    def sent_at(self) -> float:
        """When the last attempt went out that may still land."""
        at = self.state.doubted if self.state.phase is Phase.CHANGED else self.state.last_armed
        return at or 0.0


Leftovers = Mapping[tuple[InstanceKey, Kind], Leftover]


def leftovers_of(
    doubtful: Iterable[tuple[Run, PlannedRow, RowState]], *, this_run: str, unfinished: Collection[str]
) -> Leftovers:
    """The youngest doubtful row of each instance and kind, this run's own left out; `unfinished` are ids of runs."""
    found: dict[tuple[InstanceKey, Kind], Leftover] = {}
    for run, row, state in doubtful:
        if run.id == this_run:
            continue
        place = (row.key, row.kind)
        known = found.get(place)
        over = run.id not in unfinished or state.phase is Phase.CHANGED
        one = Leftover(run_id=run.id, over=over, row=row, state=state)
        if known is None or known.sent_at <= one.sent_at:
            found[place] = one
    return found


def held_by(older: Leftover, row: PlannedRow, *, now: float, fence: float) -> str | None:
    """Why an older change stands in the way of this row, None when it does not any more.

    An attempt of the older one may still land until `fence` seconds after it was armed. The same name or protection
    twice harms nobody; a password is never the same, and TDE is not sent twice while the first may land.
    """
    if not older.over:
        return f"held by run {older.run_id}"
    until = older.sent_at + fence
    if now >= until or (row.kind is Kind.ATTRIBUTES and dict(older.row.after) == dict(row.after)):
        return None
    return fence_until(until)


def fence_until(until: float) -> str:
    """As a detail says it; `until` is seconds since the epoch."""
    return f"fence until {datetime.fromtimestamp(until, UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}"
