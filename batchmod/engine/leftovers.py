"""What earlier runs left in doubt on the instances of this one. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from batchmod.model.events import Kind
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Run
from batchmod.model.secret import InstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A row of an earlier run that may or may not have been applied."""

    run_id: str
    closed: bool  # no process will take the row up again
    row: PlannedRow
    state: RowState


Leftovers = Mapping[tuple[InstanceKey, Kind], Leftover]


def leftovers_of(doubtful: Iterable[tuple[Run, PlannedRow, RowState]], *, this_run: str) -> Leftovers:
    """The youngest doubtful row of each instance and kind, this run's own left out."""
    found: dict[tuple[InstanceKey, Kind], Leftover] = {}
    for run, row, state in doubtful:
        if run.id == this_run:
            continue
        place = (row.key, row.kind)
        known = found.get(place)
        if known is None or (known.state.last_armed or 0.0) <= (state.last_armed or 0.0):
            found[place] = Leftover(run_id=run.id, closed=run.closed, row=row, state=state)
    return found


def fence_end(leftover: Leftover, fence: float) -> float:
    """Seconds since the epoch from which nothing of the leftover can land any more."""
    return (leftover.state.last_armed or 0.0) + fence


def fence_notice(until: float) -> str:
    """Why a row is skipped: an older change may still land."""
    return f"fence until {datetime.fromtimestamp(until, UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}"
