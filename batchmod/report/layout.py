"""Text that a terminal shows as it is, in columns. Pure; knows no terminal and no markup."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Final

GAP: Final = "  "
MINUTE: Final = 60  # seconds


def printable(text: str) -> str:
    """The same text with everything that moves a cursor, hides or reorders shown as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def cells(text: str) -> int:
    """How many columns of a terminal printable text takes: two for a wide character, none for a combining one."""
    return sum(map(_cells_of, text))


def cut(text: str, width: int) -> str:
    """Printable text in at most so many columns; what is missing is an ellipsis."""
    if len(text) * 2 <= width or cells(text) <= width:
        return text
    room = width - 1
    for place, char in enumerate(text):
        room -= _cells_of(char)
        if room < 0:
            return f"{text[:place]}…" if width > 0 else ""
    return text


def _cells_of(char: str) -> int:
    return 0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")


def columns(lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """Printable cells below each other, each column as wide as its widest cell; lines are cut to the width."""
    widest = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    padded = (
        GAP.join(cell + " " * (room - cells(cell)) for cell, room in zip(line, widest, strict=True)).rstrip()
        for line in lines
    )
    return [cut(line, width) for line in padded]


def moment(seconds: float, *, timespec: str = "milliseconds") -> str:
    """Seconds since the epoch as RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """Whole seconds as a person says them: `4s`, `12m 05s`, `3h 04m`, `2d 07h`."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def about(seconds: float) -> str:
    """What is not known to the second: `45s`, `12m`, `3h 04m`; rounded up."""
    whole = ceil(seconds)
    if whole <= MINUTE:
        return f"{whole}s"
    minutes = ceil(whole / MINUTE)
    return f"{minutes}m" if minutes <= MINUTE else duration(minutes * MINUTE)
