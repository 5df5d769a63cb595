"""How many checks the vendor's own software has made: recorded by the tests, counted once for a whole session.

A check is one operation of one client with one outcome, however many of its fields were looked at.
"""

from collections.abc import Callable, Iterable

PROPERTY = "vendor check"
Record = Callable[[str, object], None]


def book(record: Record, client: str, operation: str, outcomes: Iterable[str]) -> None:
    """To be called when the checks have held; `record` is pytest's record_property."""
    for outcome in outcomes:
        record(PROPERTY, f"{client}/{operation}/{outcome}")


def line(properties: Iterable[tuple[str, object]]) -> str | None:
    """What the summary says of the properties that a session's tests recorded; None when none is a check."""
    checks = {str(value) for name, value in properties if name == PROPERTY}
    if not checks:
        return None
    clients, operations, _ = (set(parts) for parts in zip(*(each.split("/", 2) for each in checks), strict=True))
    return f"vendor suite: {len(checks)} checks, {len(clients)} clients, {len(operations)} operations"
