"""What a look says about a change that may or may not have been applied. Pure."""

from enum import StrEnum

from batchmod.engine.machine import Seen
from batchmod.model.events import Kind
from batchmod.model.plan import PlannedRow, Values

OF_OWN_KEY = frozenset({"key_id", "role_arn", "algorithm"})


class Evidence(StrEnum):
    """What the instance itself said, status Normal."""

    APPLIED = "applied"  # the new value was read, or logs in while a wrong one is refused
    UNCHANGED = "unchanged"  # the value of before was read
    OTHER = "other"  # neither: somebody else changed it
    LIVE = "live"  # the new password logs in, and what else the proof asks for is not so (yet)
    NONE = "none"  # nothing can be said: a password without a login, or one that does not log in (yet)


def is_there(after: Values, read: Values) -> bool:
    """Every value that is wanted was read; False where there is nothing to compare. None wants nothing.

    Role and algorithm are compared only together with a key of the user's own: without one the service does not
    tell them.
    """
    untold = OF_OWN_KEY if after.get("key_id") is None else frozenset()
    wanted = {name: value for name, value in after.items() if value is not None and name not in untold}
    return bool(wanted) and all(read.get(name) == value for name, value in wanted.items())


def evidence_of(row: PlannedRow, read: Values) -> Evidence:
    """Compares what was read with what the plan saw and wanted; only what is wanted and can be told counts."""
    if is_there(row.after, read):
        return Evidence.APPLIED
    known = {name: value for name, value in read.items() if name in row.before}
    if known and all(row.before[name] == value for name, value in known.items()):
        return Evidence.UNCHANGED
    return Evidence.OTHER


def settle_doubt(kind: Kind, evidence: Evidence, *, fenced: bool, tries_left: bool) -> Seen | None:
    """What follows from a look at a row in doubt whose instance is Normal; None: look again later.

    `fenced`: an attempt may still land. `tries_left`: the same value may be sent again.
    """
    match evidence:
        case Evidence.APPLIED:
            return Seen.PROVED
        case Evidence.OTHER:
            return Seen.SPENT  # sending would overwrite somebody else's value
        case Evidence.LIVE:
            return None  # what is in effect is not sent again
        case Evidence.NONE:
            return Seen.CLEARED if tries_left else Seen.SPENT
        case Evidence.UNCHANGED if tries_left:
            # TDE cannot be undone, so a copy that may still land is waited for; a name sent twice harms nobody.
            return None if kind is Kind.TDE and fenced else Seen.CLEARED
        case Evidence.UNCHANGED:
            return Seen.SPENT if fenced else Seen.DENIED


def watch(evidence: Evidence, *, fenced: bool) -> Seen | None:
    """What follows from a look, status Normal, at a row of which nothing more is sent; None: look again later."""
    match evidence:
        case Evidence.APPLIED:
            return Seen.PROVED
        case Evidence.UNCHANGED if not fenced:
            return Seen.DENIED
        case _:
            return None
