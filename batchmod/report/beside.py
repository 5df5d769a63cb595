"""What a report can tell beside its rows, and of both together."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from batchmod.model.runs import LEFT, Run
from batchmod.report.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Asked for only by the formats that tell it."""

    history: Callable[[], History] = History
    advice: Callable[[str], str | None] = lambda _: None  # what to do about an error code, for a person
    max_failures: Callable[[], int | None] = lambda: None  # rows that may end failed or unresolved
    given_up: Callable[[], bool] = lambda: False  # rows are open, and no process takes them up again


NOTHING = Beside()


class Standing(StrEnum):
    """Whether a run has come to its end."""

    ENDED = "ended"
    OPEN = "not ended"  # it goes on, or its process died
    STOPPED = "stopped"  # something is left that `resume` does
    GIVEN_UP = "given up"


def standing(run: Run, beside: Beside) -> Standing:
    """Where the run stands, as far as its journal knows."""
    if beside.given_up():
        return Standing.GIVEN_UP
    if run.finished_at is None:
        return Standing.OPEN
    return Standing.STOPPED if run.exit_code in LEFT and not run.closed else Standing.ENDED


def all_rows(run: Run) -> tuple[str, str]:
    """Code, and what it does, for one who wants every row; those of `verify` and `reconcile` are in no journal."""
    if run.command is None:
        return f"batchmod report {run.id} --format csv", "prints them all"
    return "report: {formats: [csv]}", "of the manifest writes them all into a file"


def unheard(run: Run) -> list[str]:
    """Who could not be told of the run's end, in words."""
    return [f"notification {number} {reason}" for number, reason in run.notifiers_failed]
