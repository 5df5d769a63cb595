"""What can happen to a row, in closed sets. The rules between phases stand in engine/machine.py."""

from enum import StrEnum


class Kind(StrEnum):
    """What is changed; the `change` column of a report."""

    ATTRIBUTES = "attributes"
    PASSWORD = "password"  # noqa: S105  the name of a kind
    TDE = "tde"


class Phase(StrEnum):
    """Where one row stands. A row is open until it is in a terminal phase."""

    PLANNED = "planned"  # nothing was done
    ESCROWED = "escrowed"  # the password is in the store as pending; nothing was sent
    ARMED = "armed"  # an attempt goes out; none before it is in doubt
    WAITING = "waiting"  # held back by a task, a quota or the network; no attempt is in doubt
    IN_DOUBT = "in doubt"  # an attempt got no answer; looked at before anything else
    REARMED = "rearmed"  # the same value goes out again while an earlier attempt is in doubt
    WATCHING = "watching"  # in doubt, and nothing more is sent: evidence or deadline decides
    SETTLING = "settling"  # an attempt was accepted; its task may still run
    PROVING = "proving"  # of older versions only: the instance has settled; taken up as SETTLING
    PROVED = "proved"  # proved; the store does not say so yet
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNRESOLVED = "unresolved"
    NOT_STARTED = "not_started"  # terminal: nothing of it will be sent in this run


TERMINAL = frozenset({Phase.CHANGED, Phase.UNCHANGED, Phase.SKIPPED, Phase.FAILED, Phase.UNRESOLVED, Phase.NOT_STARTED})
UNSENT = frozenset({Phase.PLANNED, Phase.ESCROWED})  # no attempt of such a row was ever armed
NO_DOUBT = UNSENT | {Phase.WAITING}  # open, and nothing of it can be live


class Outcome(StrEnum):
    """The `outcome` column of a report."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNRESOLVED = "unresolved"
    NOT_STARTED = "not_started"


def outcome_of(phase: Phase) -> Outcome:
    """What a report says of a row in this phase: an open one is `not_started` or, once in doubt, `unresolved`."""
    if phase in TERMINAL:
        return Outcome(phase.value)
    return Outcome.NOT_STARTED if phase in NO_DOUBT else Outcome.UNRESOLVED


class Proof(StrEnum):
    """How sure a change is; the `proof` column. Weakest first."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    READ_BACK = "read-back"
    LOGIN = "login"
    LOGIN_AND_OLD_REFUSED = "login-and-old-refused"


BY_LOGIN = frozenset({Proof.LOGIN, Proof.LOGIN_AND_OLD_REFUSED})  # proofs that need a way to the instance


class StoppedBy(StrEnum):
    """Why a run ended before its rows did; `stopped_by` in a report."""

    SIGNAL = "signal"
    CONTROL = "control"  # an operator stopped it from another shell, or gave it up
    WINDOW = "window"  # nothing more may start before the next one
    MAX_FAILURES = "max_failures"
    CHECK = "check"  # the command between two waves said no
    MANUAL = "manual"  # a wave has ended, and an operator opens the gate of the next
    STORE = "store"


BY_HAND = frozenset({StoppedBy.MAX_FAILURES, StoppedBy.CHECK, StoppedBy.MANUAL})  # only `resume` continues such a run
