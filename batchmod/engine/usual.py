"""How long changes of each kind usually take, so that a row is looked at when it can have settled, and seldom before."""

from collections import deque

from batchmod.model.events import Kind

LAST = 40  # settled rows of a kind that are gone by
EARLIER = 0.97  # of what was enough for most of them: it may take less by now, and only an earlier look can tell
SOON = 0.5  # seconds until the first look, while nothing is known, and the shortest between two
CAP = 30.0  # seconds between two looks at most


class Usual:
    """Learns from every row when the look came that found it settled, in seconds after its acceptance as it was due: that
    a call waited for its quota, or for others to share it, is no part of it. No clock, no I/O.
    """

    def __init__(self) -> None:
        self._took: dict[Kind, deque[float]] = {}
        self._usual: dict[Kind, float] = {}

    def settled(self, kind: Kind, due: float) -> None:
        """A look that was due so long after its acceptance found a row settled."""
        took = self._took.setdefault(kind, deque(maxlen=LAST))
        took.append(due)
        if kind not in self._usual or len(took) == LAST:
            enough = sorted(took)[len(took) * 3 // 4]
            self._usual[kind] = max(SOON, EARLIER * enough, enough - CAP / 4)
            if len(took) == LAST:
                took.clear()

    def next_look(self, kind: Kind, due: float, *, accepted: bool) -> float:
        """When to look again, in seconds after the acceptance; `due` is when the last look was, 0 before there was one.

        A row in doubt (not `accepted`) is no usual one.
        """
        usual = self._usual.get(kind) if accepted else None
        if usual is not None and due < usual:
            return usual
        unknown = accepted and usual is None  # as many rows may be under way as do not settle soon
        return due + min(CAP, max(SOON, due if unknown else due / 4))

    def next_glance(self, kind: Kind, due: float, *, abnormal: bool, quiet: float, accepted: bool) -> float:
        """The same for what no reading can prove.

        Either the instance is seen in change and then Normal, or Normal at every look until `quiet`: the looks grow rare
        quickly until the change is seen; then the next is when others had settled, and from there on it is followed closely.
        """
        usual = self._usual.get(kind) if accepted and abnormal else None
        if usual is not None and due < usual:
            return usual
        return next_glance(due, abnormal=abnormal, quiet=quiet)


def next_glance(due: float, *, abnormal: bool, quiet: float) -> float:
    """The same while nothing is known of how long others took."""
    if abnormal:
        return due + min(CAP, max(SOON, due / 2))
    return min(due + max(SOON, 3 * due), max(quiet, due + SOON))
