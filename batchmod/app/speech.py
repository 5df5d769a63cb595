"""What is said on stderr and given out on stdout."""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from batchmod.errors import ReportError


def say(text: str) -> None:
    """Progress and explanations go to stderr; stdout is for data."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody reads it any more: the work goes on, and the report has it all
        let_go(sys.stderr)


def emit(pieces: Iterable[str]) -> None:
    """Data goes to stdout. ReportError when it cannot be written; a reader that has gone has read enough."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        let_go(sys.stdout)
    except OSError as error:
        let_go(sys.stdout)
        raise ReportError(f"stdout: {error.strerror or 'is closed'}") from error


def let_go(stream: TextIO) -> None:
    """What is written to it from now on, and what it still holds, goes nowhere: else the interpreter complains at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def interactive() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
