"""What one reader of the live page is told: only what is new to it. No network."""

from collections.abc import Iterator
from typing import Any, Final

from batchmod.report.live import AT_ONCE, Live, as_json

HISTORY_EVERY: Final = 1.0  # seconds between two histories
LONGEST: Final = 18  # digits of a number that can be meant


class Follower:
    """One reader of the page, and what it was told."""

    def __init__(self, live: Live, known: str) -> None:
        """`known` is what it heard of last: a document's, or a piece of news'."""
        self._live = live
        self._edition, _, number = known.partition(".")
        self._number = int(number) if number.isdecimal() and len(number) <= LONGEST else -1
        self._said: dict[str, Any] = {}
        self._history_at: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether what it knows is of something else: it has to read the whole document."""
        return self._edition != self._live.edition or not 0 <= self._number <= self._live.number

    def news(self) -> Iterator[tuple[str, str, int]]:
        """What is new: what is known after a piece of it, the argument of the page's `update` as JSON, and its rows."""
        live = self._live
        moves = live.moved_since(self._number)
        for first in range(0, len(moves), AT_ONCE) or (0,):
            some = moves[first : first + AT_ONCE]
            news = live.update(some) | (self._changed() if first + AT_ONCE >= len(moves) else {})
            self._number = some[-1][1] if some else self._number
            if news:
                yield f"{self._edition}.{self._number}", as_json(news), len(some)

    def last(self) -> str:
        """The last word: the run, its history and its state at the end."""
        live = self._live
        return as_json({"run": live.run(), "state": live.state(), "history": live.history()})

    def _changed(self) -> dict[str, Any]:
        """What of the run as a whole is not as it was said."""
        live = self._live
        now: dict[str, Any] = {"run": live.run(), "state": live.state()}
        said, self._said = self._said, now
        same = said and all(said[name] | {"at": None} == now[name] | {"at": None} for name in now)
        changed = {} if same else now
        at = live.now()
        if changed and (self._history_at is None or at - self._history_at >= HISTORY_EVERY):
            self._history_at, changed["history"] = at, live.history()
        return changed
