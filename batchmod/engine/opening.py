"""Whether a change may start now: only inside the window, and only what can end inside it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf

from batchmod.engine.halt import Halt, HaltedError
from batchmod.model.events import Kind, StoppedBy

LOOK = 30.0  # seconds after which the clock is looked at again: it may have been set
REMEMBERED = 100  # changes of a kind whose longest is the estimate of the next
FIRST = {Kind.ATTRIBUTES: 300.0, Kind.PASSWORD: 300.0, Kind.TDE: 3600.0}  # seconds, before there is one to go by

Span = tuple[float, float]  # from, to: seconds since the epoch


def _always(_: float) -> Span:
    return -inf, inf


class Opening:
    """`span` is the window that holds a moment, None outside of any; without it changes may start at all times.

    `took`: how many seconds the last changes of each kind took, oldest first.
    """

    def __init__(
        self,
        span: Callable[[float], Span | None] = _always,
        *,
        wall: Callable[[], float] = lambda: 0.0,
        took: Mapping[Kind, Sequence[float]] | None = None,
    ) -> None:
        self._span = span
        self._wall = wall
        self._took = {kind: deque((took or {}).get(kind, ()), maxlen=REMEMBERED) for kind in Kind}
        self.refused = False  # a row was left open for the window's sake

    def estimate(self, kind: Kind) -> float:
        """Seconds that a change of this kind may take."""
        return max(self._took[kind], default=FIRST[kind])

    def ended(self, kind: Kind, seconds: float) -> None:
        """A change of this kind took so long."""
        self._took[kind].append(seconds)

    @property
    def left(self) -> float:
        """Seconds until the window closes; 0 outside of any."""
        now = self._wall()
        span = self._span(now)
        return 0.0 if span is None else max(0.0, span[1] - now)

    def check(self, kind: Kind, *, in_doubt: bool) -> None:
        """Returns when an attempt may be made; else raises HaltedError, and the row stays open.

        The same value of a row in doubt may go out as long as the window is open: the change has started already.
        """
        if self._span is _always:
            return
        if self.left <= (0.0 if in_doubt else self.estimate(kind)):
            self.refused = True
            raise HaltedError


async def until_closed(opening: Opening, halt: Halt) -> None:
    """The run is stopped when the window closes, at once outside of any."""
    while opening.left > 0:
        if opening.left == inf:
            return
        try:
            await halt.sleep(min(opening.left, LOOK), sending=True)
        except HaltedError:
            return
    halt.stop(StoppedBy.WINDOW)
