"""Walks all rows: every lane on its own, one change at a time on each instance, as many instances as the quota lets."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import groupby

from batchmod.engine.context import Context
from batchmod.engine.driver import drive
from batchmod.engine.machine import Seen
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import JournalError
from batchmod.model.events import NO_DOUBT, Phase, StoppedBy
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import RowState

Known = tuple[PlannedRow, RowState]
BLOCKS = frozenset({Phase.FAILED, Phase.UNRESOLVED})  # the later kinds on that instance are not started


async def run_all(
    context: Context,
    rows: Iterable[Known],
    *,
    ahead: int,
    watchers: Sequence[Callable[[], Coroutine[None, None, None]]],
) -> None:
    """Returns when every row has ended or was left open by a stop, and the journal has it all. `ahead`: instances a lane that may be on the move
    at once, those that wait left out. `watchers` run as long as the rows do.
    """
    lanes: dict[Lane, list[list[Known]]] = {}
    for _, group in groupby(rows, key=lambda known: known[0].key):
        instance = list(group)
        if any(state.is_open for _, state in instance):
            lanes.setdefault(instance[0][0].lane, []).append(instance)
    async with asyncio.TaskGroup() as outer:
        background = [outer.create_task(watch()) for watch in watchers]
        async with asyncio.TaskGroup() as inner:
            for instances in lanes.values():
                inner.create_task(_run_lane(context, sorted(instances, key=_holds_nothing), ahead=ahead))
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


async def _run_lane(context: Context, instances: Iterable[list[Known]], *, ahead: int) -> None:
    on_the_move = asyncio.Semaphore(ahead)
    async with asyncio.TaskGroup() as group:
        for instance in instances:
            await on_the_move.acquire()
            group.create_task(_run_instance(context, instance, on_the_move))


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
