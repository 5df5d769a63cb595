"""A bug is told by its kind and its place. Never by its text or its variables: either may hold a secret."""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator

from batchmod.app.speech import insist, say
from batchmod.report.jsonlog import Level


def told(error: BaseException) -> str:
    """Types and stack of an exception, of those that led to it, and of a group's members."""
    return "\n".join(_lines(error, set()))


def report(error: BaseException) -> None:
    """Says what `told` says, also when it is quiet."""
    insist(told(error), "bug", level=Level.ERROR)


def watch() -> None:
    """Whatever else would print an exception, a thread, a destructor or a logger, tells it so too."""
    threading.excepthook = lambda args: report(args.exc_value or args.exc_type())
    sys.unraisablehook = lambda args: report(args.exc_value or args.exc_type())
    logging.basicConfig(handlers=[Discreet()])
    logging.captureWarnings(True)  # they would be lines of another kind


class Discreet(logging.Handler):
    """Says which library complains and where, and of an exception what `told` says."""

    def emit(self, record: logging.LogRecord) -> None:
        speak = insist if record.levelno >= logging.ERROR else say
        speak(f"{record.levelname.lower()} of {record.name} at {record.pathname}:{record.lineno}")
        if record.exc_info and record.exc_info[1] is not None:
            report(record.exc_info[1])


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
