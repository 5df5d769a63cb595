"""A password is in the store, read back and compared, before the request that carries it can exist."""

from batchmod.engine.context import Context
from batchmod.engine.leftovers import Leftover, fence_end, fence_notice
from batchmod.engine.machine import Seen
from batchmod.engine.sending import send
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import StoreConflict
from batchmod.model.events import TERMINAL, Kind, Phase
from batchmod.model.secret import Generation


async def planned(context: Context, walk: Walk) -> Learnt:
    """What is done first with a row: a password is escrowed, anything else goes out if no older value may still land."""
    stopped = context.accounts.stopped(walk.row.account_id)
    if stopped is not None:
        return Learnt.of(Seen.ACCOUNT_STOPPED, stopped)
    if walk.row.kind is Kind.PASSWORD:
        return await _escrow(context, walk)
    older = context.leftovers.get((walk.row.key, walk.row.kind))
    if older is not None and dict(older.row.after) != dict(walk.row.after):
        held = _held(context, older)
        if held is not None:
            return Learnt(seen=Seen.INELIGIBLE, detail=held)
    return await send(context, walk)


async def escrowed(context: Context, walk: Walk) -> Learnt:
    """The escrowed value goes out: after a resume too, never the environment's."""
    assert walk.state.generation is not None
    unprovable = await _preflight(context, walk)
    if unprovable is not None:
        return unprovable
    if walk.secret is None:
        walk.secret = await context.vault.reveal(walk.row.key, walk.state.generation)
    return await send(context, walk)


async def _preflight(context: Context, walk: Walk) -> Learnt | None:
    """Route and negative control of the login proof are tried before anything is escrowed or armed."""
    if context.prover is None or walk.routed:
        return None
    reason = await context.prover.preflight(walk.row)
    walk.routed = reason is None
    return None if reason is None else Learnt(seen=Seen.INELIGIBLE, detail=reason)


async def _escrow(context: Context, walk: Walk) -> Learnt:
    context.halt.check()
    unprovable = await _preflight(context, walk)
    if unprovable is not None:
        return unprovable
    held = await _settle_leftover(context, walk)
    if held is not None:
        return held
    pending = await context.vault.pending(walk.row.key)
    if pending is None:
        try:
            pending = await context.vault.escrow(
                walk.row.key, login=walk.row.login, secret=context.new_password(), run_id=context.run_id
            )
        except StoreConflict as conflict:
            return Learnt(seen=Seen.INELIGIBLE, detail=f"held by run {conflict.holder}")
    walk.secret = await context.vault.reveal(walk.row.key, pending.generation)
    return Learnt(seen=Seen.ESCROWED, generation=pending.generation)


async def _settle_leftover(context: Context, walk: Walk) -> Learnt | None:
    """None when no other run's pending password stands in the way any more; else why the row is skipped.

    A password of this very run is adopted: the process ended between store and journal.
    """
    pending = await context.vault.pending(walk.row.key)
    if pending is None or pending.run_id == context.run_id:
        return None
    older = context.leftovers.get((walk.row.key, Kind.PASSWORD))
    if older is None or older.run_id != pending.run_id:
        return await _undoubted(context, walk, pending)
    held = _held(context, older)
    if older.closed and context.prover is not None:
        secret = await context.vault.reveal(walk.row.key, pending.generation)
        if await context.prover.prove(walk.row, secret) is None:
            await context.vault.promote(walk.row.key, pending.generation)
            return None if held is None else Learnt(seen=Seen.INELIGIBLE, detail=held)
    if held is not None:
        return Learnt(seen=Seen.INELIGIBLE, detail=held)
    await context.vault.demote(walk.row.key, pending.generation)
    return None


async def _undoubted(context: Context, walk: Walk, pending: Generation) -> Learnt | None:
    """A pending password that the journal does not call doubtful: free if its row is known to have ended, else held."""
    if not context.ended(pending.run_id, walk.row.key):
        return Learnt(seen=Seen.INELIGIBLE, detail=f"held by run {pending.run_id}")
    await context.vault.demote(walk.row.key, pending.generation)
    return None


def _held(context: Context, older: Leftover) -> str | None:
    """Why an older change that may still land stands in the way, None when it does not any more."""
    if not older.closed:
        return f"held by run {older.run_id}"
    until = fence_end(older, context.limits.fence)
    return fence_notice(until) if context.clock.wall() < until else None


async def let_go(context: Context, walk: Walk) -> None:
    """A password that provably never took effect is no longer pending; nothing of it is deleted."""
    ended = walk.state.phase in TERMINAL - {Phase.CHANGED, Phase.UNRESOLVED}
    if ended and walk.row.kind is Kind.PASSWORD and walk.state.generation is not None:
        await context.vault.demote(walk.row.key, walk.state.generation)
