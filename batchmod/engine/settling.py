"""A row that may have been applied is looked at until evidence or a deadline settles it."""

from batchmod.engine.accounts import STOPS
from batchmod.engine.context import Context
from batchmod.engine.doubt import Evidence, evidence_of, settle_doubt, watch
from batchmod.engine.halt import HaltedError
from batchmod.engine.judging import NORMAL_STATUS, NOT_FOUND
from batchmod.engine.machine import Seen
from batchmod.engine.old import NO_OLD, old_secret
from batchmod.engine.sending import send
from batchmod.engine.usual import SOON
from batchmod.engine.walk import Learnt, Walk
from batchmod.engine.watcher import Sight
from batchmod.errors import CallError, StoreConflict, Verdict
from batchmod.model.events import Kind, Phase, Proof

BY_SIGHT = frozenset({Proof.ACCEPTED, Proof.SETTLED})  # no read or login tells that the change is over
MAYBE = "it may or may not have been applied"


async def in_doubt(context: Context, walk: Walk) -> Learnt | None:
    """An attempt got no answer: look first, then perhaps send the same value again."""
    sight = await _look(context, walk)
    if sight is None or isinstance(sight, Learnt):
        return sight
    evidence = await _evidence(context, walk, sight)
    if evidence is None or isinstance(evidence, Learnt):
        return evidence
    tries_left = walk.tries < context.limits.attempts
    seen = settle_doubt(walk.row.kind, evidence, fenced=context.fenced(walk), tries_left=tries_left)
    if seen is Seen.CLEARED:
        return await send(context, walk)
    return _concluded(context, walk, seen)


async def watching(context: Context, walk: Walk) -> Learnt | None:
    """Nothing more is sent: only evidence or the deadline ends it; without a proof that can give any, it has ended."""
    if walk.row.kind is Kind.PASSWORD and context.prover is None:
        return Learnt(seen=Seen.TIMED_OUT, detail=f"no evidence can be had at proof {context.level.value}; {MAYBE}")
    sight = await _look(context, walk)
    if sight is None or isinstance(sight, Learnt):
        return sight
    evidence = await _evidence(context, walk, sight)
    if evidence is None or isinstance(evidence, Learnt):
        return evidence
    return _concluded(context, walk, watch(evidence, fenced=context.fenced(walk)))


async def settling(context: Context, walk: Walk) -> Learnt | None:
    """An attempt was accepted: wait until the instance has settled, and the proof asked for is there."""
    password = walk.row.kind is Kind.PASSWORD
    accepted = password and context.level is Proof.ACCEPTED
    if accepted and context.changing.limit is None and walk.row.group is None:
        return _concluded(context, walk, Seen.PROVED)
    try:
        sight = await _look(context, walk)
    except HaltedError:
        if not accepted:
            raise
        return _concluded(context, walk, Seen.PROVED)
    if accepted and isinstance(sight, Learnt):  # only its place was held for so long: the proof was there at once
        return _concluded(context, walk, Seen.PROVED)
    if sight is None or isinstance(sight, Learnt):
        return sight
    if password and context.level in BY_SIGHT:
        return _by_sight(context, walk)
    evidence = await _evidence(context, walk, sight)
    if evidence is None or isinstance(evidence, Learnt):
        return evidence
    seen = watch(evidence, fenced=context.fenced(walk))
    if seen is Seen.PROVED:
        context.usual.settled(walk.row.kind, walk.look_due)
    return _concluded(context, walk, seen)


def _by_sight(context: Context, walk: Walk) -> Learnt | None:
    """Seen not Normal and then Normal, or Normal at every look for long enough."""
    now = context.clock.now()
    if walk.quiet_since is None:
        walk.quiet_since = now
    if walk.was_abnormal:
        context.usual.settled(walk.row.kind, walk.look_due)
    elif now - walk.quiet_since < context.limits.settle_quiet:
        return None
    return _concluded(context, walk, Seen.PROVED)


async def proved(context: Context, walk: Walk) -> Learnt:
    """The store calls the new value current and who needs it has been told; only then is the row changed.

    A process that dies in between leaves it proved: the next one tells them again.
    """
    note, generation = None, walk.state.generation
    if generation is not None:
        try:
            await context.store.promote(walk.row.key, generation)
        except StoreConflict as conflict:
            return Learnt(seen=Seen.REFUSED, code="StoreConflict", message=str(conflict))
        walk.parked()
        secret = walk.secret or await context.store.reveal(walk.row.key, generation)
        note = await context.tell(walk.row, generation, secret)
    return Learnt(seen=Seen.PROMOTED, detail=note)


def _concluded(context: Context, walk: Walk, seen: Seen | None) -> Learnt | None:
    match seen:
        case None:
            return None
        case Seen.PROVED if walk.row.kind is Kind.PASSWORD:
            return Learnt(seen=seen, proof=context.level)
        case Seen.PROVED:
            return Learnt(seen=Seen.READ_BACK, proof=Proof.READ_BACK)
        case Seen.DENIED:
            return Learnt(
                seen=seen, code="NotApplied", message="the old value was read back, nothing can land any more"
            )
        case _:
            return Learnt(seen=seen)


async def _look(context: Context, walk: Walk) -> Sight | Learnt | None:
    """The instance, if it is Normal now. None: not yet. A Learnt: there is nothing more to look at."""
    now = context.clock.now()
    if walk.open_since is None:
        walk.open_since = now
    age = now - walk.open_since
    left = context.limits.settle_timeout - age
    if left <= 0:
        return _timed_out(context, walk)
    walk.look_due = max(age, min(age + left, _next_look(context, walk)))
    try:
        sight = await context.look_later(walk, walk.look_due - age, sending=False)
    except CallError as error:
        return await _unreadable(context, walk, error)
    if sight is None:
        return Learnt(seen=Seen.GONE, code=NOT_FOUND, message="the instance vanished while in doubt")
    if sight.status != NORMAL_STATUS:
        walk.was_abnormal, walk.quiet_since = True, None
        return None
    return sight


def _next_look(context: Context, walk: Walk) -> float:
    """When the row is looked at next, in seconds after its last attempt."""
    accepted = walk.state.phase is Phase.SETTLING
    if walk.row.kind is Kind.PASSWORD and context.level in BY_SIGHT:
        began = walk.quiet_since - (walk.open_since or 0.0) if walk.quiet_since is not None else SOON
        return context.usual.next_glance(
            walk.row.kind,
            walk.look_due,
            abnormal=walk.was_abnormal,
            quiet=began + context.limits.settle_quiet,
            accepted=accepted,
        )
    return context.usual.next_look(walk.row.kind, walk.look_due, accepted=accepted)


def _timed_out(context: Context, walk: Walk) -> Learnt:
    why = f": {walk.note}" if walk.note else ""
    certainty = "the new password logged in" if walk.is_live else MAYBE
    detail = f"no proof within {context.limits.settle_timeout:.0f} s{why}; {certainty}"
    return Learnt(seen=Seen.TIMED_OUT, detail=detail)


async def _unreadable(context: Context, walk: Walk, error: CallError) -> Learnt | None:
    """A read that is refused says nothing about the change: only a stopped account ends the row."""
    if error.verdict in STOPS:
        await context.account_failed(walk, error)
    stopped = context.accounts.stopped(walk.row.account_id)
    if stopped is not None:
        return Learnt.stopped(stopped)
    return Learnt.of(Seen.GONE, error) if error.verdict is Verdict.GONE else None


async def _evidence(context: Context, walk: Walk, sight: Sight) -> Evidence | Learnt | None:
    """What the instance itself says of the change, status Normal. None: it could not be read."""
    if walk.row.kind is Kind.PASSWORD:
        return await _login(context, walk)
    try:
        return evidence_of(walk.row, await context.hands[walk.row.lane].read_back(walk.row, sight))
    except CallError as error:
        return await _unreadable(context, walk, error)


async def _login(context: Context, walk: Walk) -> Evidence:
    if context.prover is None or walk.secret is None:
        return Evidence.NONE
    walk.note = await context.prover.prove(walk.row, walk.secret)
    if walk.note is not None:
        return Evidence.NONE
    walk.is_live = True
    if context.level is Proof.LOGIN_AND_OLD_REFUSED:
        old = await old_secret(context.store, walk.row.key, walk.secret)
        walk.note = NO_OLD if old is None else await context.prover.outdated(walk.row, old)
    return Evidence.APPLIED if walk.note is None else Evidence.LIVE
