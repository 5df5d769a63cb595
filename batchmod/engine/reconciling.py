"""What follows from the stored passwords of an instance and from the one that logs in: `verify` and `reconcile`. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from batchmod.engine.judging import NO_PLACE, NOT_FOUND
from batchmod.engine.leftovers import fence_until
from batchmod.model.events import Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Generation, Stage

NOT_LIVE, CANNOT_TELL, MAY_LAND = "NotLive", "CannotTell", "MayLand"  # error codes of our own
NOTHING_STORED: Final = "no password is stored"
MOVED: Final = "the store was changed meanwhile, by another process: nothing was done here"
_RANK: Final = {
    stage: rank for rank, stage in enumerate((Stage.PENDING, Stage.CURRENT, Stage.PREVIOUS, Stage.CANDIDATE))
}

Stages = Sequence[Generation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Who of the stored ones logged in, while a wrong password was refused; or why nobody can tell."""

    live: Generation | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What the report says of an instance, and which generations are moved before it does."""

    phase: Phase  # a terminal one
    detail: str
    code: str | None = None
    about: Generation | None = None
    proved: bool = False  # by a login
    current: Generation | None = None  # becomes current
    candidate: Generation | None = None  # is pending, and becomes a candidate


def in_order(stages: Iterable[Generation], *, first: Stage) -> list[Generation]:
    """As they are tried: the one at that stage, pending, current, previous, then the candidates, youngest first."""
    return sorted(stages, key=lambda one: (one.stage is not first, _RANK[one.stage], -one.generation))


def untried(row: PlannedRow, stages: Stages) -> Conclusion | None:
    """What is known without any login; None when the stored passwords are to be tried."""
    told = row.reason or row.error_code or "it could not be read"
    match row.verdict:
        case Phase.FAILED if row.error_code != NOT_FOUND:  # what we may not read says nothing of the password
            return Conclusion(phase=Phase.UNRESOLVED, code=row.error_code, detail=told)
        case Phase.SKIPPED if row.error_code == NO_PLACE:
            return Conclusion(phase=Phase.UNRESOLVED, code=row.error_code, detail=told)
        case Phase.FAILED | Phase.NOT_STARTED:
            return Conclusion(phase=row.verdict, code=row.error_code, detail=told)
    if not stages:
        return Conclusion(phase=Phase.SKIPPED, detail=NOTHING_STORED)
    return _cannot_tell(told, stages) if row.verdict is Phase.SKIPPED else None


def verified(stages: Stages, tried: Tried, *, status: str | None) -> Conclusion:
    """Whether the current one is live. `status` of the instance, None for Normal."""
    current, live = _at(stages, Stage.CURRENT), tried.live
    if tried.reason is not None:
        return _cannot_tell(tried.reason, stages)
    if live is None:
        return _none_live(stages, current, status)
    if live is current:
        return _live(Phase.UNCHANGED, live, f"generation {live.generation} is live")
    todo = (
        f"resume run {live.run_id}, or reconcile"
        if live.stage is Stage.PENDING
        else "reconcile makes it current, or rotate again"
    )
    return Conclusion(phase=Phase.FAILED, code=NOT_LIVE, detail=f"{_named(live)} is live: {todo}", about=live)


def _none_live(stages: Stages, current: Generation | None, status: str | None) -> Conclusion:
    if status is not None:
        return _cannot_tell(f"{_refused(stages)}, but the instance is {status}: again when it is Normal", stages)
    if current is None:
        return _cannot_tell(f"no current password is stored, and {_refused(stages)}", stages)
    return Conclusion(phase=Phase.FAILED, code=NOT_LIVE, detail=_refused(stages), about=current)


def reconciled(stages: Stages, tried: Tried, *, status: str | None, now: float, lands_for: float) -> Conclusion:
    """What becomes of the stages. What is pending may still land until `lands_for` seconds after it was stored.

    Only a Normal instance is gone by: on any other the task of a change may run.
    """
    live, pending = tried.live, _at(stages, Stage.PENDING)
    if tried.reason is not None:
        return _cannot_tell(tried.reason, stages)
    if status is not None and (live is None or live.stage is not Stage.CURRENT or pending):
        return _cannot_tell(f"the instance is {status}: again when it is Normal", stages)
    if live is None:
        return _lost(stages, pending, now=now, lands_for=lands_for)
    if live is pending:
        return _live(Phase.CHANGED, live, f"{_named(live)} is live: current now", current=live)
    moves = live.stage is not Stage.CURRENT
    said = f"{_named(live)} is live: current now" if moves else f"generation {live.generation} is live"
    becomes = live if moves else None
    if pending is None:
        return _live(Phase.CHANGED if moves else Phase.UNCHANGED, live, said, current=becomes)
    if now < pending.created_at + lands_for:
        detail = f"{said}; {_waits(pending, lands_for)}"
        return Conclusion(phase=Phase.UNRESOLVED, code=MAY_LAND, detail=detail, about=live, current=becomes)
    detail = f"{said}; {_named(pending)} is not, and is a candidate now"
    return _live(Phase.CHANGED, live, detail, current=becomes, candidate=pending)


def _lost(stages: Stages, pending: Generation | None, *, now: float, lands_for: float) -> Conclusion:
    """Nothing that is stored logs in: somebody else's password is live, or one from before the first that is stored."""
    if pending is None:
        return Conclusion(phase=Phase.UNRESOLVED, code=NOT_LIVE, detail=_refused(stages), about=_best(stages))
    if now < pending.created_at + lands_for:
        detail = f"{_refused(stages)}; {_waits(pending, lands_for)}"
        return Conclusion(phase=Phase.UNRESOLVED, code=MAY_LAND, detail=detail, about=pending)
    detail = f"{_refused(stages)}; {_named(pending)} is a candidate now: a run can set another"
    return Conclusion(phase=Phase.UNRESOLVED, code=NOT_LIVE, detail=detail, about=pending, candidate=pending)


def _cannot_tell(reason: str, stages: Stages) -> Conclusion:
    return Conclusion(phase=Phase.UNRESOLVED, code=CANNOT_TELL, detail=reason, about=_best(stages))


def _live(
    phase: Phase,
    live: Generation,
    detail: str,
    *,
    current: Generation | None = None,
    candidate: Generation | None = None,
) -> Conclusion:
    return Conclusion(phase=phase, detail=detail, about=live, proved=True, current=current, candidate=candidate)


def _at(stages: Stages, stage: Stage) -> Generation | None:
    return next((one for one in stages if one.stage is stage), None)


def _best(stages: Stages) -> Generation:
    """The one that a row is about when none is known to be live."""
    return in_order(stages, first=Stage.CURRENT)[0]


def _named(one: Generation) -> str:
    return f"generation {one.generation} ({one.stage})"


def _refused(stages: Stages) -> str:
    if len(stages) == 1:
        return f"generation {stages[0].generation} is refused, and nothing else is stored"
    return f"none of the {len(stages)} stored passwords logs in"


def _waits(pending: Generation, lands_for: float) -> str:
    return f"{_named(pending)} may still land, {fence_until(pending.created_at + lands_for)}: reconcile again then"
