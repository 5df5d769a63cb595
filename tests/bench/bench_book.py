"""What the simulator's book of calls says about speed and quota. Pure: no clock, no I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WRITES = frozenset({"ModifyInstanceAttribute", "ModifyInstanceTDE", "ResetAccountPassword"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call as the simulator saw it. `at`: its arrival, in seconds since the epoch; `code` None: not carried out."""

    at: float
    api: str
    code: str | None


def of_api(book: Sequence[Called], api: str) -> list[Called]:
    return [each for each in book if each.api == api]


def accepted(book: Sequence[Called]) -> list[Called]:
    """The changes that were accepted."""
    return [each for each in book if each.api in WRITES and each.code == "OK"]


def span(book: Sequence[Called]) -> float:
    """Seconds from the first call to the last."""
    return book[-1].at - book[0].at if book else 0.0


def counted(book: Sequence[Called]) -> dict[str, int]:
    """How many calls of each API."""
    return dict(sorted(Counter(each.api for each in book).items()))


def most_in_window(times: Sequence[float], seconds: float) -> int:
    """The most arrivals in any half-open window of that length. `times` ascend."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def throttled_share(book: Sequence[Called]) -> float:
    return sum((each.code or "").startswith("Throttling") for each in book) / len(book) if book else 0.0


def used_share(times: Sequence[float], *, calls: int, seconds: float) -> float:
    """Accepted calls from first to last, of those that the quota allows in that time. `times` ascend.

    The last call ends the time and does not count: of calls that are exactly as far apart as the quota says, it is 1.
    """
    return (len(times) - 1) / (times[-1] - times[0]) * seconds / calls if len(times) > 1 else 0.0
