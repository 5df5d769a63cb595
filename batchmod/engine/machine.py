"""The table of one row's life: which phase follows which sight. No clock, no I/O, no other rule.

Whether a value may be sent again is decided by this table and engine/doubt.py, whether it may be sent at all while
an older one could still land by engine/leftovers.py.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from batchmod.model.events import Phase


class Seen(StrEnum):
    """What was learnt about a row."""

    ALREADY = "already so"  # it is as it should be, and nothing of ours did it
    INELIGIBLE = "not eligible"  # it cannot be changed, or is held by another run
    PRECEDED = "an earlier change failed"  # one before it on the same instance did not end well
    ESCROWED = "escrowed"  # the store holds the value, read back and compared
    ARMED = "armed"  # the journal says that an attempt goes out
    SAID_AGAIN = "said again"  # a refused request goes out once more with what it lacked, in the same attempt's phase
    ACCEPTED = "accepted"  # the attempt was answered with success and a RequestId
    BUSY = (
        "busy"  # another task runs on the instance, as the plan or the answer to an attempt says: nothing was changed
    )
    HELD_BACK = "held back"  # refused by a quota, or provably not sent
    REFUSED = "refused"  # the attempt was answered with a refusal, or can no longer be made
    ACCOUNT_STOPPED = "account stopped"  # nothing of this account can succeed
    LOST = "lost"  # the attempt got no usable answer
    CLEARED = "may be sent again"  # a look says that the same value may go out again
    SPENT = "no attempt left"  # nothing more is sent; evidence or the deadline decides
    PROVED = "proved"  # evidence of the level asked; of a password, which is to be promoted then
    READ_BACK = "read back"  # the new value was read, status Normal: all that an attribute or TDE needs
    DENIED = "not applied"  # the old value was read, status Normal, when no attempt can land any more
    TIMED_OUT = "deadline passed"
    GONE = "gone"  # the instance is not there any more
    PROMOTED = "promoted"  # the store says current


_BEFORE: Final = {
    Seen.ARMED: Phase.ARMED,
    Seen.BUSY: Phase.WAITING,
    Seen.INELIGIBLE: Phase.SKIPPED,
    Seen.ACCOUNT_STOPPED: Phase.NOT_STARTED,
}
_AFTER: Final = {
    Seen.PROVED: Phase.PROVED,
    Seen.READ_BACK: Phase.CHANGED,
    Seen.DENIED: Phase.FAILED,
    Seen.TIMED_OUT: Phase.UNRESOLVED,
    Seen.GONE: Phase.UNRESOLVED,
    Seen.ACCOUNT_STOPPED: Phase.UNRESOLVED,
}
TABLE: Final[Mapping[Phase, Mapping[Seen, Phase]]] = {
    Phase.PLANNED: {
        **_BEFORE,
        Seen.ALREADY: Phase.UNCHANGED,
        Seen.PRECEDED: Phase.NOT_STARTED,
        Seen.GONE: Phase.FAILED,
        Seen.ESCROWED: Phase.ESCROWED,
    },
    Phase.ESCROWED: {**_BEFORE, Seen.GONE: Phase.FAILED},
    Phase.ARMED: {
        Seen.SAID_AGAIN: Phase.ARMED,
        Seen.ACCEPTED: Phase.SETTLING,
        Seen.BUSY: Phase.WAITING,
        Seen.HELD_BACK: Phase.WAITING,
        Seen.REFUSED: Phase.FAILED,
        Seen.ACCOUNT_STOPPED: Phase.NOT_STARTED,
        Seen.LOST: Phase.IN_DOUBT,
    },
    Phase.WAITING: {
        **_BEFORE,
        Seen.ALREADY: Phase.UNCHANGED,
        Seen.REFUSED: Phase.FAILED,
        Seen.GONE: Phase.FAILED,
        Seen.TIMED_OUT: Phase.FAILED,
    },
    Phase.IN_DOUBT: {
        **_AFTER,
        Seen.CLEARED: Phase.REARMED,
        Seen.SPENT: Phase.WATCHING,
    },
    Phase.REARMED: {
        Seen.SAID_AGAIN: Phase.REARMED,
        Seen.ACCEPTED: Phase.SETTLING,
        Seen.BUSY: Phase.IN_DOUBT,
        Seen.HELD_BACK: Phase.IN_DOUBT,
        Seen.REFUSED: Phase.WATCHING,
        Seen.ACCOUNT_STOPPED: Phase.UNRESOLVED,
        Seen.LOST: Phase.IN_DOUBT,
    },
    Phase.WATCHING: _AFTER,
    Phase.SETTLING: _AFTER,
    Phase.PROVED: {Seen.PROMOTED: Phase.CHANGED, Seen.REFUSED: Phase.UNRESOLVED, Seen.TIMED_OUT: Phase.UNRESOLVED},
    Phase.CHANGED: {},
    Phase.UNCHANGED: {},
    Phase.SKIPPED: {},
    Phase.FAILED: {},
    Phase.UNRESOLVED: {},
    Phase.NOT_STARTED: {},
}


class IllegalStepError(Exception):
    """A bug: the table knows no such step. Nothing was changed."""


def step(phase: Phase, seen: Seen) -> Phase:
    """The phase that follows. Raises IllegalStepError, which is a bug, when the table has none."""
    try:
        return TABLE[phase][seen]
    except KeyError:
        raise IllegalStepError(f"no step from {phase!r} on {seen!r}") from None


def resume_phase(phase: Phase) -> Phase:
    """What a new process believes of a row that the old one left in this phase.

    Armed without an outcome is in doubt, never "not sent"; a proof that was being made, as older versions wrote down, is
    made anew.
    """
    if phase in {Phase.ARMED, Phase.REARMED}:
        return Phase.IN_DOUBT
    if phase is Phase.PROVING:
        return Phase.SETTLING
    return phase


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> planned"]
    for phase, moves in TABLE.items():
        by_target: dict[Phase, list[str]] = {}
        for seen, target in moves.items():
            by_target.setdefault(target, []).append(seen.value)
        lines += [f"    {_node(phase)} --> {_node(target)}: {', '.join(why)}" for target, why in by_target.items()]
        if not moves:
            lines.append(f"    {_node(phase)} --> [*]")
    return "\n".join(lines)


def _node(phase: Phase) -> str:
    return phase.value.replace(" ", "_")
