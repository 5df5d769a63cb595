"""What is said on stderr and given out on stdout."""

import os
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from batchmod.errors import ReportError
from batchmod.report.jsonline import Level, entry


class _Voice:
    """How this process speaks: it has one stderr."""

    json = False  # every line is one object
    quiet = False  # only what is insisted on
    run_id: str | None = None  # of the run that is spoken of from here on


_voice = _Voice()


def speak(*, json: bool, quiet: bool = False) -> None:
    """How this process speaks from here on."""
    _voice.json, _voice.quiet, _voice.run_id = json, quiet, None


def speak_of(run_id: str) -> None:
    """Each object that is said from here on names this run."""
    _voice.run_id = run_id


def say(text: str) -> None:
    """Progress and explanations go to stderr; stdout is for data. Nothing is said when it is quiet."""
    if not _voice.quiet:
        insist(text)


def insist(text: str, event: str = "message", *, level: Level = Level.INFO, **fields: Any) -> None:
    """What is said when it is quiet too. As JSON the fields are said, and without any the text."""
    if not _voice.json:
        _write(text)
    elif fields or text:
        tell(event, level, **(fields or {"text": text}))


def tell(event: str, level: Level = Level.INFO, **fields: Any) -> None:
    """One event, as JSON, with its run if there is one."""
    of_run = {} if _voice.run_id is None else {"run_id": _voice.run_id}
    _write(entry(time.time(), event, level, of_run | fields))


def _write(line: str) -> None:
    try:
        sys.stderr.write(f"{line}\n")
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
    """Somebody is there to be asked: a terminal, and not a log."""
    return not _voice.json and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
