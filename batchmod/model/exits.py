"""Exit codes, in one place. 2 is a UsageError, 70 a bug; both are decided in cli."""

from collections.abc import Mapping

from batchmod.errors import BatchmodError, HeldError, ReportError
from batchmod.model.events import Outcome

REFUSED, BUG, REPORT, HELD, INTERRUPTED = 2, 70, 74, 75, 130
RESUMABLE, UNRESOLVED, FAILED, DONE = 3, 4, 1, 0

MEANINGS: Mapping[int, str] = {
    DONE: "no row failed and none is in doubt",
    FAILED: "rows failed, or an account was stopped",
    REFUSED: "refused before anything was sent",
    RESUMABLE: "the run can be resumed",
    UNRESOLVED: "ended with unresolved rows: a human must look",
    BUG: "a bug, with its traceback",
    REPORT: "a report could not be written; the journal is complete",
    HELD: "another run holds the state directory",
    INTERRUPTED: "interrupted by a second signal, or by the first before anything was sent or where a run was followed",
}


def exit_code(counts: Mapping[Outcome, int], *, open_rows: int, accounts_failed: bool) -> int:
    """The first that holds: can be resumed, unresolved, failed, done."""
    if open_rows:
        return RESUMABLE
    if counts.get(Outcome.UNRESOLVED):
        return UNRESOLVED
    if counts.get(Outcome.FAILED) or accounts_failed:
        return FAILED
    return DONE


def code_of(error: BaseException) -> int:
    """The exit code of a command that ended so."""
    match error:
        case HeldError():
            return HELD
        case ReportError():
            return REPORT
        case BatchmodError():
            return REFUSED
        case Exception():
            return BUG
        case _:
            return INTERRUPTED
