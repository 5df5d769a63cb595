"""What an unsuccessful call means for its row, and how long to wait. Pure: the dice are passed in."""

from collections.abc import Mapping
from typing import Final

from batchmod.engine.machine import Seen
from batchmod.errors import CallError, Verdict

SEEN: Final[Mapping[Verdict, Seen]] = {
    Verdict.WAIT: Seen.BUSY,
    Verdict.SLOW_DOWN: Seen.HELD_BACK,
    Verdict.NOT_SENT: Seen.HELD_BACK,
    Verdict.REFUSED: Seen.REFUSED,
    Verdict.FORBIDDEN: Seen.REFUSED,
    Verdict.GONE: Seen.REFUSED,
    Verdict.EXPIRED: Seen.ACCOUNT_STOPPED,
    Verdict.ACCOUNT_STOP: Seen.ACCOUNT_STOPPED,
    Verdict.LOST: Seen.LOST,
}
SPENDS_A_TRY: Final = frozenset({Verdict.NOT_SENT, Verdict.LOST})  # waiting and slowing down never count
ASK_AGAIN: Final = frozenset({Verdict.SLOW_DOWN, Verdict.NOT_SENT, Verdict.LOST, Verdict.WAIT})  # of a call that reads
SHORTEST_LOOK, LONGEST_LOOK = 0.5, 30.0  # seconds between two looks at a busy instance
BASE: Final = 0.5  # seconds before the second attempt, before jitter


def backoff(tries: int, *, cap: float, jitter: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row (from 1): doubling, at most `cap`, 0 <= jitter < 1."""
    return min(cap, BASE * 2.0 ** min(tries - 1, 30)) * (1 + jitter) / 2


def pause_after(error: CallError, tries: int, *, cap: float, jitter: float) -> float:
    """Seconds to wait after this error: never less than the service asked for."""
    return max(error.retry_after or 0.0, backoff(tries, cap=cap, jitter=jitter))


def look_again(age: float) -> float:
    """Seconds until an instance that has been busy for so long is looked at again: what is waited for is noticed when
    two hundredths of its time more have passed.
    """
    return min(LONGEST_LOOK, max(SHORTEST_LOOK, age / 50))
