"""A password is in the store, read back and compared, before the request that carries it can exist."""

from batchmod.engine.context import Context
from batchmod.engine.leftovers import held_by
from batchmod.engine.machine import Seen
from batchmod.engine.observed import observed_again
from batchmod.engine.sending import not_normal, preflight, send
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import NoPlaceError, StoreConflict
from batchmod.model.events import TERMINAL, Kind, Phase
from batchmod.model.secret import Generation

OLDER = "a password of an earlier run is in doubt, and only a Normal instance can tell"


async def planned(context: Context, walk: Walk) -> Learnt | None:
    """What is done first with a row: a password is escrowed, anything else goes out."""
    stopped = context.accounts.stopped(walk.row.account_id)
    if stopped is not None:
        return Learnt.stopped(stopped)
    if walk.row.kind is Kind.PASSWORD:
        return await _escrow(context, walk)
    return not_normal(context, walk) or await send(context, walk)


async def escrowed(context: Context, walk: Walk) -> Learnt | None:
    """The escrowed value goes out: after a resume too, never the environment's."""
    assert walk.state.generation is not None
    context.halt.check()
    if walk.secret is None:
        walk.secret = await context.store.reveal(walk.row.key, walk.state.generation)
    return not_normal(context, walk) or await send(context, walk)


async def _escrow(context: Context, walk: Walk) -> Learnt:
    """Nothing is escrowed for an instance that cannot be proved, if that can be told yet."""
    context.halt.check()
    context.opening.check(walk.row.kind, in_doubt=False)
    gone = await observed_again(context, walk)
    if gone is not None:
        return gone
    unprovable = await preflight(context, walk) if walk.row.status is None else None
    if unprovable is not None:
        return unprovable
    try:
        return await _stored(context, walk)
    except NoPlaceError as error:  # of this instance alone: nothing of it was sent
        return Learnt(seen=Seen.INELIGIBLE, detail=str(error))


async def _stored(context: Context, walk: Walk) -> Learnt:
    if (walk.row.key, Kind.PASSWORD) not in context.leftovers:
        try:
            return await _due(context, walk) or await _new(context, walk)
        except StoreConflict:
            pass  # another one is pending: it is settled first, if it can be
    return await _after_leftover(context, walk)


async def _after_leftover(context: Context, walk: Walk) -> Learnt:
    held = await _settle_leftover(context, walk)
    young = await _due(context, walk)  # the leftover may have become current just now
    stays = young or held
    if stays is not None:
        return stays
    pending = await context.store.pending(walk.row.key)
    if pending is not None:  # of this run: the process ended between store and journal
        walk.secret = await context.store.reveal(walk.row.key, pending.generation)
        return Learnt(seen=Seen.ESCROWED, generation=pending.generation)
    try:
        return await _new(context, walk)
    except StoreConflict as conflict:
        return Learnt(seen=Seen.INELIGIBLE, detail=f"held by run {conflict.holder}")


async def _due(context: Context, walk: Walk) -> Learnt | None:
    """None when the password may be changed; else how young it is."""
    young = await context.is_young(walk.row.key)
    return None if young is None else Learnt(seen=Seen.ALREADY, detail=young)


async def _new(context: Context, walk: Walk) -> Learnt:
    """A new password is pending. Raises StoreConflict when one is already."""
    secret = context.new_password()
    pending = await context.store.escrow(walk.row.key, login=walk.row.login, secret=secret, run_id=context.run_id)
    walk.secret = secret
    return Learnt(seen=Seen.ESCROWED, generation=pending.generation)


async def _settle_leftover(context: Context, walk: Walk) -> Learnt | None:
    """None when no other run's pending password stands in the way any more; else why the row is skipped.

    A password of this very run is adopted: the process ended between store and journal.
    """
    pending = await context.store.pending(walk.row.key)
    if pending is not None and pending.run_id == context.run_id:
        return None
    older = context.leftovers.get((walk.row.key, Kind.PASSWORD))
    if pending is None:
        held = held_by(older, walk.row, now=context.clock.wall(), fence=context.limits.fence) if older else None
        return None if held is None else Learnt(seen=Seen.INELIGIBLE, detail=held)
    if older is not None and walk.row.status is not None:
        return Learnt(seen=Seen.INELIGIBLE, detail=f"{OLDER}: the instance is {walk.row.status}, run again later")
    if older is None or older.run_id != pending.run_id:
        return await _undoubted(context, walk, pending)
    held = held_by(older, walk.row, now=context.clock.wall(), fence=context.limits.fence)
    if older.over and context.prover is not None:
        secret = await context.store.reveal(walk.row.key, pending.generation)
        if await context.prover.prove(walk.row, secret) is None:
            await context.store.promote(walk.row.key, pending.generation)
            return None if held is None else Learnt(seen=Seen.INELIGIBLE, detail=held)
    if held is not None:
        return Learnt(seen=Seen.INELIGIBLE, detail=held)
    await context.store.demote(walk.row.key, pending.generation)
    return None


async def _undoubted(context: Context, walk: Walk, pending: Generation) -> Learnt | None:
    """A pending password that the journal does not call doubtful: free if its row is known to have ended, else held."""
    if not context.ended(pending.run_id, walk.row.key):
        return Learnt(seen=Seen.INELIGIBLE, detail=f"held by run {pending.run_id}")
    await context.store.demote(walk.row.key, pending.generation)
    return None


async def let_go(context: Context, walk: Walk) -> None:
    """A password that provably never took effect is no longer pending; nothing of it is deleted."""
    ended = walk.state.phase in TERMINAL - {Phase.CHANGED, Phase.UNRESOLVED}
    if ended and walk.row.kind is Kind.PASSWORD and walk.state.generation is not None:
        await context.ledger.flush()  # who does not know that the row has ended would send the value again
        await context.store.demote(walk.row.key, walk.state.generation)
