"""How a plan file begins: enough to tell it from a manifest before either is read. Imports nothing."""

from pathlib import Path
from typing import Final

_MARKS: Final = (b'{"schema"', b"batchmod.plan", b'"sha256"')  # of the beginning; an edit of one byte hides one
_PEEKED: Final = 256  # bytes; the first line of a whole file is shorter


def is_plan_file(path: Path) -> bool:
    """It begins as a plan file does, whole or not; a pipe does not, for it can be read once only."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            first = file.read(_PEEKED)
    except OSError:
        return False  # whoever reads it says why it cannot be read
    return sum(mark in first for mark in _MARKS) > 1
