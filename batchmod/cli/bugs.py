"""A bug is told by its kind and its place. Never by its text or its variables: either may hold a secret."""

import sys
import threading
import traceback
from collections.abc import Iterator

from batchmod.app.speech import insist
from batchmod.report.jsonline import Level


def told(error: BaseException) -> str:
    """Types and stack of an exception, of those that led to it, and of a group's members."""
    return "\n".join(_lines(error, set()))


def report(error: BaseException) -> None:
    """Says what `told` says, also when it is quiet."""
    insist(told(error), "bug", level=Level.ERROR)


def watch() -> None:
    """A thread or a destructor that would print an exception tells it so too."""
    threading.excepthook = lambda args: report(args.exc_value or args.exc_type())
    sys.unraisablehook = lambda args: report(args.exc_value or args.exc_type())


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in seen:
        yield from _lines(earlier, seen)
        yield "\nThis led to:\n"
    yield "Traceback (most recent call last):"
    yield from (frame.rstrip("\n") for frame in traceback.format_tb(error.__traceback__))
    yield f"{type(error).__qualname__} (a bug; its text is withheld: it may hold a secret)"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield "\nOne of its group:\n"
            yield from _lines(member, seen)
