"""Instances that stand in for each other, in all processes: see engine/ports.Turns."""

from batchmod.cluster.places import Caps, group_pool
from batchmod.cluster.slots import Fenced, SharedSlots
from batchmod.model.plan import PlannedRow


class SharedGroups:
    """Of the rows of one group one is in change or in doubt at a time, in all processes; rows without a group are free."""

    def __init__(self, journal: Fenced, run_id: str, *, wave: int) -> None:
        self._journal = journal
        self._run_id = run_id
        self._wave = wave
        self._turns: dict[str, SharedSlots] = {}
        self._closed = False

    def of(self, row: PlannedRow) -> SharedSlots | None:
        """Of one place; None for a row that belongs to no group."""
        if row.group is None:
            return None
        if row.group not in self._turns:
            self._turns[row.group] = turn = SharedSlots(
                self._journal,
                self._run_id,
                group_pool(row.group),
                wave=self._wave,
                caps=Caps(run=1),
            )
            if self._closed:
                turn.close()
        return self._turns[row.group]

    def close(self) -> None:
        """Nobody gets a turn by waiting any more."""
        self._closed = True
        for turn in self._turns.values():
            turn.close()
