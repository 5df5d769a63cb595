"""A process takes up rows that another one may have left: their places are what the journal says of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from psycopg import Cursor

from batchmod.cluster import places
from batchmod.cluster.places import CHANGING, FAILURES, Caps, Pool, group_pool
from batchmod.cluster.slots import Fenced
from batchmod.engine.context import SPENDS
from batchmod.model.events import NO_DOUBT
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.pg.link import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """The rows in change or in doubt, whose places are theirs, and whether the failure budget is spent."""

    held: Sequence[PlannedRow]
    exhausted: bool


async def take_up(
    journal: Fenced,
    run_id: str,
    known: Iterable[tuple[PlannedRow, RowState]],
    *,
    wave: int,
    failures: Caps,
    reset_at: float = 0.0,
) -> TakenUp:
    """The places of these rows, all of one wave, agree with how they stand, whatever a process that died left of them.

    What is in change or in doubt has its places, even beyond a limit; what ended badly after `reset_at` has spent one of
    the budget for `failures`; nothing else has any. Raises JournalError, StaleError with nothing done.
    """
    rows = list(known)
    held = [row for row, state in rows if state.is_open and state.phase not in NO_DOUBT]
    spent = [
        row.seq
        for row, state in rows
        if row.will_send and state.phase in SPENDS and (state.finished_at or 0.0) > reset_at
    ]
    pool = Pool(run=run_id, name=FAILURES, wave=wave, caps=failures)

    def work(cursor: Cursor[Row]) -> bool:
        places.take_turn(cursor)
        places.clear(cursor, run_id, [row.seq for row, _ in rows])
        for name, seqs in _pools_of(held).items():
            places.put(cursor, replace(pool, name=name), seqs)
        if failures.least is None:
            return False
        places.put(cursor, pool, [row.seq for row in held])
        places.put(cursor, pool, spent, spent=True)
        return places.stop_if_spent(cursor, pool)

    return TakenUp(held=held, exhausted=await journal.transact(work))


def _pools_of(held: Iterable[PlannedRow]) -> dict[str, list[int]]:
    """The places that rows in change have beside those of the failure budget."""
    pools: dict[str, list[int]] = {}
    for row in held:
        pools.setdefault(CHANGING, []).append(row.seq)
        if row.group is not None:
            pools.setdefault(group_pool(row.group), []).append(row.seq)
    return pools
