"""What there is to do, by wave and lane, and what waits for what: kept as rows move, O(1) for each. No clock."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from batchmod.model.events import Kind
from batchmod.model.plan import PlannedRow

WRITES: Final = {
    Kind.ATTRIBUTES: "ModifyInstanceAttribute",
    Kind.PASSWORD: "ModifyInstanceAttribute",
    Kind.TDE: "ModifyInstanceTDE",
}
HELD_BACK: Final = "held back"  # of a row that waits for no code's sake

Lot = tuple[int, str, str, Kind]  # wave, account id, region, change: rows that wait for the same quota


class WaveRows(NamedTuple):
    """How far a wave, or some in a row, have come."""

    first: int
    last: int
    done: int
    rows: int


@dataclass(slots=True)
class Work:
    """Told of every row once by `meet`, and then of what becomes of it."""

    to_come: Counter[Lot] = field(default_factory=Counter)  # open rows of which nothing was sent
    waits: dict[str, dict[int, str]] = field(default_factory=dict)  # by code: instance ids by seq
    accounts: dict[str, str] = field(default_factory=dict)  # names by id
    _waits_as: dict[int, str] = field(default_factory=dict)
    _rows: Counter[int] = field(default_factory=Counter)  # by wave
    _done: Counter[int] = field(default_factory=Counter)

    def meet(self, row: PlannedRow) -> None:
        self.accounts[row.account_id] = row.account
        if row.wave is not None:
            self._rows[row.wave] += 1

    def end(self, row: PlannedRow, by: int) -> None:
        """The row has ended (`by` 1), or is open again (-1)."""
        if row.wave is not None:
            self._done[row.wave] += by

    def queue(self, row: PlannedRow, by: int) -> None:
        """The row is still to come (`by` 1), or its first attempt goes out (-1)."""
        self.to_come[row.wave or 1, row.account_id, row.region, row.kind] += by

    def wait(self, row: PlannedRow, code: str | None) -> None:
        """The row waits because of this code."""
        self.go_on(row.seq)
        self._waits_as[row.seq] = code = code or HELD_BACK
        self.waits.setdefault(code, {})[row.seq] = row.instance_id

    def go_on(self, seq: int) -> None:
        """The row does not wait any more, if it did."""
        code = self._waits_as.pop(seq, None)
        if code is not None:
            waiting = self.waits[code]
            del waiting[seq]
            if not waiting:
                del self.waits[code]

    @property
    def waves(self) -> int:
        return max(self._rows, default=0)

    def by_wave(self) -> list[WaveRows]:
        """Every wave of the plan, in order."""
        return [WaveRows(wave, wave, self._done[wave], self._rows[wave]) for wave in sorted(self._rows)]

    def by_lane(self) -> Counter[tuple[str, str]]:
        """Rows to come, by account id and region."""
        lanes: Counter[tuple[str, str]] = Counter()
        for (_, account_id, region, _), rows in self.to_come.items():
            lanes[account_id, region] += rows
        return lanes
