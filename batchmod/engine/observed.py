"""What the plan saw may be long ago: it is read again before an attempt, where that can be done."""

from collections.abc import Mapping
from math import inf

from batchmod.engine.asking import ask
from batchmod.engine.clock import AHEAD
from batchmod.engine.context import Context
from batchmod.engine.doubt import is_there
from batchmod.engine.judging import NOT_FOUND
from batchmod.engine.machine import Seen
from batchmod.engine.walk import Learnt, Walk
from batchmod.errors import CallError
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import Value, Values

FRESH = 300.0  # seconds that an observation is taken for what is so
SINCE = "somebody else has encrypted the instance since the plan was made"
ALREADY = "somebody else has made it so since the plan was made"
GONE = Learnt(seen=Seen.GONE, code=NOT_FOUND, message="the instance is not there any more: the plan saw it")


async def observed_again(context: Context, walk: Walk) -> Learnt | None:
    """None when the row may be sent, for all that can be seen; else what it ends with. Raises nothing of the service's.

    A row in doubt was looked at already. A password cannot be read: only whether its instance is there.
    """
    if walk.state.phase is Phase.IN_DOUBT:
        return None
    match walk.row.kind:
        case Kind.TDE if _may_be_on(context, walk) or _is_old(context, walk):
            return await _tde(context, walk)
        case Kind.ATTRIBUTES if _is_old(context, walk):
            return await _attributes(context, walk)
        case Kind.PASSWORD if _is_old(context, walk):
            return await _password(context, walk)
        case _:
            return None


def _may_be_on(context: Context, walk: Walk) -> bool:
    """Somebody's task was on the instance since it was read: another run's, or whatever refused an attempt."""
    left = (walk.row.key, Kind.TDE) in context.leftovers
    return left or bool(walk.state.attempts) or walk.row.status is not None


def _is_old(context: Context, walk: Walk) -> bool:
    age = context.clock.wall() - max(context.observed_at, walk.observed_at)
    return age > FRESH or -inf < age < -AHEAD  # a moment that is still to come tells nothing


async def _tde(context: Context, walk: Walk) -> Learnt | None:
    """TDE cannot be undone: it is read again wherever it can have been switched on since."""
    now = await _read(context, walk)
    if isinstance(now, Learnt):
        return now
    walk.observed_at = context.clock.wall()
    if now is None or now.get("status") != walk.row.after.get("status"):
        return None
    if walk.state.attempts:  # each was refused: it was somebody else
        return Learnt(seen=Seen.REFUSED, detail=SINCE)
    return Learnt(seen=Seen.ALREADY if is_there(walk.row.after, now) else Seen.INELIGIBLE, detail=SINCE)


async def _attributes(context: Context, walk: Walk) -> Learnt | None:
    now = await _read(context, walk)
    if isinstance(now, Learnt):
        return now
    if now is None:
        return GONE
    walk.observed_at = context.clock.wall()
    if is_there(walk.row.after, now):  # after a refusal the same value is sent again: that harms nobody
        return None if walk.state.attempts else Learnt(seen=Seen.ALREADY, detail=ALREADY)
    moved = [name for name, value in walk.row.before.items() if now.get(name) != value]
    if moved:
        return _moved(walk, f"since the plan was made, {_told(moved, walk.row.before, now)}")
    return None


async def _password(context: Context, walk: Walk) -> Learnt | None:
    now = await _read(context, walk)
    if isinstance(now, Learnt):
        return now
    walk.observed_at = context.clock.wall()
    return GONE if now is None else None


def _moved(walk: Walk, detail: str) -> Learnt:
    """Somebody else was there. A row of which every attempt was refused ends as the last one did: something was sent."""
    error = walk.error
    if not walk.state.attempts:
        return Learnt(seen=Seen.INELIGIBLE, detail=detail)
    return Learnt(
        seen=Seen.REFUSED, code=error.code if error else None, message=error.message if error else None, detail=detail
    )


def _told(moved: list[str], before: Values, now: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {before[name]!r} became {now.get(name)!r}" for name in moved)


async def _read(context: Context, walk: Walk) -> Values | Learnt | None:
    """The present values of what the row wants; None when the instance is not there; a Learnt for a read that is
    refused.
    """
    hands, row = context.hands[walk.row.lane], walk.row

    async def read() -> Values | None:
        sight = await hands.look(row.instance_id)
        return None if sight is None else await hands.read_back(row, sight)

    limits = context.limits
    try:
        return await ask(read, max_delay=limits.max_delay, clock=context.clock)
    except CallError as error:
        await context.account_failed(walk, error)
        stopped = context.accounts.stopped(row.account_id)
        seen = Seen.REFUSED if walk.state.attempts else Seen.INELIGIBLE
        return Learnt.stopped(stopped) if stopped is not None else Learnt.of(seen, error)
