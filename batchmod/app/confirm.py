"""Nothing is changed that was not agreed to; what cannot be undone is agreed to by number."""

import sys

from batchmod.app.options import Options
from batchmod.app.planned import instances_to_change
from batchmod.app.signals import NOTHING_SENT, at_once
from batchmod.app.speech import insist, interactive
from batchmod.errors import PolicyError, UsageError
from batchmod.model.events import Kind
from batchmod.model.plan import Plan

WORDS = {
    Kind.ATTRIBUTES: "name or release protection changed",
    Kind.PASSWORD: "password changed: clients that hold the old one cannot log in again",
    Kind.TDE: "encrypted: this CANNOT BE UNDONE",
}


def confirm(plan: Plan, options: Options) -> None:
    """Returns when the plan may be applied; raises UsageError, with nothing sent, when it may not."""
    counts = {kind: instances_to_change(plan.rows, kind) for kind in Kind}
    if not any(counts.values()):
        return
    _irreversible(counts[Kind.TDE], options)
    if options.yes:
        return
    if not interactive():
        raise UsageError("no terminal to confirm on: read the plan (`batchmod plan`), then run with --yes")
    for kind, count in counts.items():
        if count:
            insist(f"  {count} instances: {WORDS[kind]}")
    if not said_yes(f"Apply this to {instances_to_change(plan.rows)} instances?"):
        raise UsageError("not confirmed: nothing was sent")


def said_yes(question: str) -> bool:
    """Whether the one at the terminal says yes in full. A signal raises KeyboardInterrupt, after it was said."""
    try:
        with at_once():  # before the question: whoever reads it may answer with a signal
            sys.stderr.write(f"{question} Only 'yes' is taken as yes: ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
    except KeyboardInterrupt:
        insist(f"\n{NOTHING_SENT}")
        raise
    return answer.strip() == "yes"


def _irreversible(count: int, options: Options) -> None:
    if not count or options.accept_irreversible == count:
        return
    said = "" if options.accept_irreversible is None else f", not {options.accept_irreversible}"
    raise PolicyError(
        f"the plan would encrypt {count} instances, which cannot be undone: say --accept-irreversible {count}{said}"
    )
