"""Instances that stand in for each other are not in change at the same time."""

from collections.abc import Iterable

from batchmod.engine.budget import Budget
from batchmod.model.plan import PlannedRow


class Groups:
    """Of the rows of one group one is in change or in doubt at a time; rows without a group are free.

    `held`: the rows that were in change or in doubt when the run was interrupted.
    """

    def __init__(self, held: Iterable[PlannedRow] = ()) -> None:
        self._turns: dict[str, Budget] = {}
        self._closed = False
        for row in held:
            if row.group is not None:
                self._turn(row.group).held += 1

    def of(self, row: PlannedRow) -> Budget | None:
        """Of one slot; None for a row that belongs to no group."""
        return None if row.group is None else self._turn(row.group)

    def close(self) -> None:
        """Nobody gets a turn by waiting any more."""
        self._closed = True
        for turn in self._turns.values():
            turn.close()

    def _turn(self, group: str) -> Budget:
        if group not in self._turns:
            self._turns[group] = Budget(1)
            if self._closed:
                self._turns[group].close()
        return self._turns[group]
