"""How many schedules tried to break the protocol: recorded by the tests that play them, added up once for a session."""

import json
from collections import Counter
from collections.abc import Callable, Iterable

PROPERTY = "schedules"
Record = Callable[[str, object], None]


def book(record: Record, *, played: int, crashes: int, killed: int = 0, lost: int, mis_stated: int) -> None:
    """To be called when they are played, whether or not anything broke; `killed`: schedules with a real SIGKILL."""
    counts = {"played": played, "crashes": crashes, "killed": killed, "lost": lost, "mis-stated": mis_stated}
    record(PROPERTY, json.dumps(counts))


def line(properties: Iterable[tuple[str, object]]) -> str | None:
    """What the summary says; None when no schedule was played."""
    total: Counter[str] = Counter()
    for name, value in properties:
        if name == PROPERTY:
            total.update(json.loads(str(value)))
    if not total["played"]:
        return None
    return (
        f"breaking tests: {total['played']} schedules, {total['crashes']} crashes, {total['killed']} schedules by "
        f"SIGKILL, lost {total['lost']}, mis-stated {total['mis-stated']}"
    )
