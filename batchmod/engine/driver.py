"""Walks one row through the machine: does what its phase asks for, writes down what it saw, and again."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from batchmod.engine.context import Context
from batchmod.engine.escrow import escrowed, let_go, planned
from batchmod.engine.halt import HaltedError
from batchmod.engine.machine import Seen, resume_phase
from batchmod.engine.sending import waiting
from batchmod.engine.settling import in_doubt, proved, settling, watching
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import JournalError, NoPlaceError, StoreError
from batchmod.model.events import NO_DOUBT, Kind, Phase, StoppedBy
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState

Handler = Callable[[Context, Walk], Awaitable[Learnt | None]]
HANDLERS: Final[Mapping[Phase, Handler]] = {
    Phase.PLANNED: planned,
    Phase.ESCROWED: escrowed,
    Phase.WAITING: waiting,
    Phase.IN_DOUBT: in_doubt,
    Phase.WATCHING: watching,
    Phase.SETTLING: settling,
    Phase.PROVED: proved,
}


async def drive(context: Context, row: PlannedRow, state: RowState, *, parked: Callable[[], None]) -> RowState:
    """The row's state when it has ended, or when a stop left it open. `parked` is told when others may start.

    A journal or store that fails stops the run; the row is left open and the journal says the truth of it.
    """
    walk = Walk(row=row, state=_taken_up(state), parked=parked)
    try:
        await _take_up(context, walk)
        while walk.state.is_open:
            learnt = await HANDLERS[walk.state.phase](context, walk)
            if learnt is not None:
                await context.take(walk, learnt)
        await let_go(context, walk)
    except HaltedError:
        context.put_down(walk)  # the row stays open: the journal has its last phase
    except NoPlaceError as error:  # of this instance alone: its row waits for whoever mends that, the others go on
        context.trouble(error)
        context.put_down(walk)
    except (JournalError, StoreError) as error:
        context.trouble(error)
        context.halt.stop(StoppedBy.STORE)
        if isinstance(error, JournalError):
            context.halt.leave()  # nothing that is learnt could be kept
    return walk.state


def _taken_up(state: RowState) -> RowState:
    """What a new process believes of the state that the old one left."""
    phase = resume_phase(state.phase)
    if phase is state.phase:
        return state
    return state._replace(phase=phase, doubted=state.last_armed if state.is_armed else state.doubted)


async def _take_up(context: Context, walk: Walk) -> None:
    """A row that was interrupted holds what it held: its slots, and its escrowed value."""
    state = walk.state
    walk.resumed = bool(state.attempts)
    if state.is_open and state.phase not in NO_DOUBT:
        walk.holds_slot = walk.holds_change = True  # the budgets were made with them
        walk.holds_turn = walk.row.group is not None
    if state.is_open and walk.row.kind is Kind.PASSWORD and state.generation is not None:
        walk.secret = await context.store.reveal(walk.row.key, state.generation)


async def give_up(context: Context, row: PlannedRow, state: RowState) -> None:
    """A row that is in doubt when its run is abandoned has its last word: unresolved."""
    if state.is_open and state.phase not in NO_DOUBT:
        walk = Walk(row=row, state=_taken_up(state), parked=lambda: None)
        walk.holds_slot = True
        await context.take(walk, Learnt(seen=Seen.TIMED_OUT, detail="abandoned; it may or may not have been applied"))


async def set_free(context: Context, row: PlannedRow, state: RowState) -> None:
    """A password of an abandoned run that was never sent is not pending any more."""
    if state.is_open and row.kind is Kind.PASSWORD and state.generation is not None:
        await context.store.demote(row.key, state.generation)
