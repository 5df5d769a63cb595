"""An attempt goes out, or waits for its turn. Nothing is sent that the journal does not know as armed."""

from batchmod.engine.accounts import STOPS
from batchmod.engine.context import Context
from batchmod.engine.halt import HaltedError, PausedError
from batchmod.engine.judging import ENDED, NORMAL_STATUS, NOT_FOUND
from batchmod.engine.leftovers import held_by
from batchmod.engine.machine import Seen
from batchmod.engine.observed import observed_again
from batchmod.engine.retry import ASK_AGAIN, SEEN, SPENDS_A_TRY, look_again, pause_after
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import CallError, Verdict
from batchmod.model.events import Kind, Phase

ARMED = frozenset({Phase.ARMED, Phase.REARMED})
ARMING = {Phase.IN_DOUBT: Seen.CLEARED, Phase.ARMED: Seen.SAID_AGAIN, Phase.REARMED: Seen.SAID_AGAIN}  # else: ARMED
IN_DOUBT = frozenset({Phase.IN_DOUBT, Phase.REARMED})
MOMENT = 1.0  # seconds of waiting that change nothing of what was seen


async def send(context: Context, walk: Walk) -> Learnt | None:
    """What the service answered to one attempt; None, with nothing sent, when the run was paused: what was seen of the
    instance before may not be so any more. Raises HaltedError, with nothing sent, when the run stops.
    """
    if context.halt.paused:
        await _paused(context, walk)
        return None
    return await _hindered(context, walk) or await _go_out(context, walk)


async def _go_out(context: Context, walk: Walk) -> Learnt | None:
    moved = await _reserved(context, walk)
    if moved is not None:
        return moved
    try:
        request_id = await context.hands[walk.row.lane].send(walk.row, walk.secret, before=lambda: _arm(context, walk))
    except CallError as error:
        return await _refused(context, walk, error)
    except HaltedError as halted:
        stopped = context.accounts.stopped(walk.row.account_id)
        if stopped is not None:
            return Learnt.stopped(stopped)
        if walk.state.phase in ARMED:  # what was armed was refused, and its repeat never went out
            return Learnt(seen=Seen.HELD_BACK)
        if isinstance(halted, PausedError):
            return None
        raise
    context.accounts.succeeded(walk.row.account_id)
    walk.error, walk.waits, walk.busy_since = None, 0, None
    walk.open_since, walk.quiet_since, walk.was_abnormal, walk.look_due = context.clock.now(), None, False, 0.0
    walk.parked()
    return Learnt(seen=Seen.ACCEPTED, request_id=request_id)


async def _hindered(context: Context, walk: Walk) -> Learnt | None:
    """Why no attempt is made; None when one may be. Raises HaltedError when none may be made now."""
    stopped = context.accounts.stopped(walk.row.account_id)
    if stopped is not None:
        return Learnt.stopped(stopped)
    in_doubt = walk.state.phase is Phase.IN_DOUBT
    held = None if in_doubt else _held(context, walk)
    if held is not None:
        return Learnt(seen=Seen.INELIGIBLE, detail=held)
    context.opening.check(walk.row.kind, in_doubt=in_doubt)
    return await observed_again(context, walk) or await preflight(context, walk)


async def _paused(context: Context, walk: Walk) -> None:
    """Returns after the pause, which no deadline of the row counts. Raises HaltedError when the run stops."""
    began = context.clock.now()
    await context.halt.unpaused()
    walk.put_off(context.clock.now() - began)


def not_normal(context: Context, walk: Walk) -> Learnt | None:
    """A status that the plan saw and that refuses changes is waited out as if the service had said so, and nothing is
    sent; None when there is none, or not any more.
    """
    if walk.row.status is None or walk.looked or walk.state.attempts:
        return None
    walk.looked = True
    walk.busy_since = context.clock.now()
    message = f"the plan found the instance {walk.row.status}"
    walk.error = CallError(Verdict.WAIT, code="InstanceNotNormal", message=message)
    return Learnt.of(Seen.BUSY, walk.error)


async def preflight(context: Context, walk: Walk) -> Learnt | None:
    """Route and negative control of the login proof are tried before anything of a password is armed; None: all is well."""
    if context.prover is None or walk.row.kind is not Kind.PASSWORD or walk.routed or walk.state.attempts:
        return None
    try:
        reason = await context.prover.preflight(walk.row)
    except CallError as error:
        await context.account_failed(walk, error)
        stopped = context.accounts.stopped(walk.row.account_id)
        return Learnt.stopped(stopped) if stopped is not None else Learnt.of(Seen.INELIGIBLE, error)
    walk.routed = reason is None
    return None if reason is None else Learnt(seen=Seen.INELIGIBLE, detail=reason)


def _held(context: Context, walk: Walk) -> str | None:
    """Why an older change of another run stands in the way of this one."""
    older = context.leftovers.get((walk.row.key, walk.row.kind)) if context.leftovers else None
    if older is None:
        return None
    return held_by(older, walk.row, now=context.clock.wall(), fence=context.limits.fence)


async def _reserved(context: Context, walk: Walk) -> Learnt | None:
    """None when the row has its places; what was seen before a wait for them is seen again, if it is old by then."""
    began = context.clock.now()
    await _reserve(context, walk)
    return await observed_again(context, walk) if context.clock.now() - began > MOMENT else None


async def _reserve(context: Context, walk: Walk) -> None:
    """The row holds its group's turn and a slot of both budgets: in this order, so that a row that waits for one
    disturbs nobody.
    """
    turn = context.groups.of(walk.row)
    if turn is not None and not walk.holds_turn:
        if not turn.free:
            walk.parked()
        await turn.reserve(walk.row.seq)
        walk.holds_turn = True
    if not walk.holds_slot:
        await context.budget.reserve(walk.row.seq)
        walk.holds_slot = True
    if not walk.holds_change:
        await context.changing.reserve(walk.row.seq)
        walk.holds_change = True


async def _arm(context: Context, walk: Walk) -> None:
    """The last moment before an attempt leaves: the journal says so, durably."""
    context.halt.check_now()
    context.opening.check(walk.row.kind, in_doubt=walk.state.phase in IN_DOUBT)
    if context.accounts.stopped(walk.row.account_id) is not None:
        raise HaltedError
    await context.take(walk, Learnt(seen=ARMING.get(walk.state.phase, Seen.ARMED), generation=walk.state.generation))
    context.halt.check_held()  # what was written down may have taken longer than we are sure of being the only one


async def _refused(context: Context, walk: Walk, error: CallError) -> Learnt:
    await context.account_failed(walk, error)
    walk.error = error
    walk.waits += 1
    walk.tries += error.verdict in SPENDS_A_TRY
    if error.verdict is Verdict.WAIT:
        walk.busy_since = context.clock.now() if walk.busy_since is None else walk.busy_since
    if error.verdict is Verdict.LOST and walk.open_since is None:
        walk.open_since = context.clock.now()
    return Learnt.of(SEEN[error.verdict], error)


async def waiting(context: Context, walk: Walk) -> Learnt | None:
    """A row of which nothing is in doubt waits for its next attempt, then makes it."""
    error = walk.error
    if error is None or error.verdict is not Verdict.WAIT:
        busy = not_normal(context, walk)
        if busy is not None:
            return busy
        if error is not None:
            if walk.tries >= context.limits.attempts:
                return Learnt.of(Seen.REFUSED, error)
            pause = pause_after(error, walk.waits, cap=context.limits.max_delay, jitter=context.clock.dice())
            if error.verdict is not Verdict.NOT_SENT:  # else others are hardly reached either: none starts in its place
                walk.parked()
            await context.halt.sleep(pause, sending=True)
        return await send(context, walk)
    return await _busy(context, walk, error)


async def _busy(context: Context, walk: Walk, error: CallError) -> Learnt | None:
    """Somebody else's task runs on the instance: it is waited out, up to the deadline, which a pause puts off."""
    if context.halt.paused:
        await _paused(context, walk)
        return None
    age = context.clock.now() - (walk.busy_since or 0.0)
    left = context.limits.busy_timeout - age
    if left <= 0:
        return Learnt(
            seen=Seen.TIMED_OUT,
            code=error.code,
            message=error.message,
            request_id=error.request_id,
            detail=f"busy for {context.limits.busy_timeout:.0f} s",
        )
    try:
        sight = await context.look_later(walk, min(left, look_again(age)), sending=True)
    except CallError as refused:
        if refused.verdict in ASK_AGAIN:
            return None  # says nothing about the instance
        if refused.verdict in STOPS:
            await context.account_failed(walk, refused)
        return Learnt.of(SEEN[refused.verdict], refused)
    if sight is None:
        return Learnt(seen=Seen.GONE, code=NOT_FOUND, message="the instance is not there any more")
    if sight.status in ENDED:
        return _ended(walk, error, ENDED[sight.status])
    return await send(context, walk) if sight.status == NORMAL_STATUS else None


def _ended(walk: Walk, error: CallError, reason: str) -> Learnt:
    """What is waited for will never be: skipped when nothing was ever sent, else refused, as the last attempt was."""
    if not walk.state.attempts:
        return Learnt(seen=Seen.INELIGIBLE, detail=reason)
    return Learnt(seen=Seen.REFUSED, code=error.code, message=error.message, detail=reason)
