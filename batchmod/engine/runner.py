"""Walks all rows: every lane on its own, one change at a time on each instance, as many instances as the quota lets."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import groupby
from math import ceil

from batchmod.engine.context import Context
from batchmod.engine.driver import drive
from batchmod.engine.machine import Seen
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import JournalError
from batchmod.model.events import NO_DOUBT, Phase, StoppedBy
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import RowState

LEAST = 32  # instances of a lane on the move, however many lanes there are: so many may wait to be looked at together
Known = tuple[PlannedRow, RowState]
BLOCKS = frozenset({Phase.FAILED, Phase.UNRESOLVED})  # the later kinds on that instance are not started


async def run_all(
    context: Context,
    rows: Iterable[Known],
    *,
    ahead: int,
    watchers: Sequence[Callable[[], Coroutine[None, None, None]]],
) -> None:
    """Returns when every row has ended or was left open by a stop, and the journal has it all. `ahead`: instances that may
    be on the move at once, those that wait left out. `watchers` run as long as the rows do.
    """
    lanes: dict[Lane, list[list[Known]]] = {}
    for _, group in groupby(rows, key=lambda known: known[0].key):
        instance = list(group)
        if any(state.is_open for _, state in instance):
            lanes.setdefault(instance[0][0].lane, []).append(instance)
    async with asyncio.TaskGroup() as outer:
        background = [outer.create_task(watch()) for watch in watchers]
        places = Places(ahead, lanes)
        async with asyncio.TaskGroup() as inner:
            for lane, instances in lanes.items():
                inner.create_task(_run_lane(context, lane, sorted(instances, key=_holds_nothing), places))
        for task in background:
            task.cancel()
    await _flush(context)


async def _flush(context: Context) -> None:
    try:
        await context.ledger.flush()
    except JournalError as error:
        context.trouble(error)
        context.halt.stop(StoppedBy.STORE)


def _holds_nothing(instance: Sequence[Known]) -> bool:
    """What was in change or in doubt when a process died comes first: others wait for the slots that it holds."""
    return not any(state.is_open and state.phase not in NO_DOUBT for _, state in instance)


class Places:
    """How many instances each lane may have on the move: an equal share, which grows as lanes have none left to begin.

    More than the connections can take would only wait for each other, and a lane that hangs holds no more than its share.
    """

    def __init__(self, total: int, lanes: Iterable[Lane]) -> None:
        self._total = total
        self._lanes = {lane: asyncio.Semaphore(0) for lane in lanes}
        self._share = 0
        self._share_out()

    def of(self, lane: Lane) -> asyncio.Semaphore:
        return self._lanes[lane]

    def begun(self, lane: Lane) -> None:
        """All instances of the lane are on their way."""
        del self._lanes[lane]
        self._share_out()

    def _share_out(self) -> None:
        before, self._share = self._share, max(min(LEAST, self._total), ceil(self._total / max(1, len(self._lanes))))
        for lane in self._lanes.values():
            for _ in range(self._share - before):
                lane.release()


async def _run_lane(context: Context, lane: Lane, instances: Iterable[list[Known]], places: Places) -> None:
    on_the_move = places.of(lane)
    async with asyncio.TaskGroup() as group:
        for instance in instances:
            await on_the_move.acquire()
            group.create_task(_run_instance(context, instance, on_the_move))
        places.begun(lane)


async def _run_instance(context: Context, rows: Sequence[Known], on_the_move: asyncio.Semaphore) -> None:
    """The kinds of one instance in order; after one that ended badly the later ones are not started."""
    waiting = False

    def parked() -> None:
        nonlocal waiting
        if not waiting:
            waiting = True
            on_the_move.release()

    try:
        blocked: PlannedRow | None = None
        for row, state in rows:
            if blocked is not None and state.is_open:
                await _precede(context, row, state, blocked)
                continue
            after = await drive(context, row, state, parked=parked) if state.is_open else state
            if after.is_open:
                return
            blocked = row if after.phase in BLOCKS else blocked
    finally:
        parked()


async def _precede(context: Context, row: PlannedRow, state: RowState, blocked: PlannedRow) -> None:
    learnt = Learnt(seen=Seen.PRECEDED, detail=f"{blocked.kind.value} did not end well on this instance")
    try:
        await context.take(Walk(row=row, state=state, parked=lambda: None), learnt)
    except JournalError as error:
        context.trouble(error)
