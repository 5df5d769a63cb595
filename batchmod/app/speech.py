"""What is said on stderr and given out on stdout."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from batchmod.errors import ReportError


def say(text: str) -> None:
    """Progress and explanations go to stderr; stdout is for data."""
    with suppress(OSError):  # nobody reads it any more: the work goes on, and the report has it all
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def emit(pieces: Iterable[str]) -> None:
    """Data goes to stdout. ReportError when it cannot be written; a reader that has gone has read enough."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its exit
    except OSError as error:
        raise ReportError(f"stdout: {error.strerror}") from error


def interactive() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
