"""What a report can tell beside its rows."""

from collections.abc import Callable
from dataclasses import dataclass

from batchmod.report.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Asked for only by the formats that tell it."""

    history: Callable[[], History] = History
    advice: Callable[[str], str | None] = lambda _: None  # what to do about an error code, for a person
    max_failures: Callable[[], int | None] = lambda: None  # rows that may end failed or unresolved


NOTHING = Beside()
