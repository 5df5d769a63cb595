"""Flags and environment in, exit code out. Everything heavy is imported by the command that needs it."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import click

from batchmod.app.memory import keep_memory_in, leave, search_seldom
from batchmod.app.speech import insist, let_go, speak
from batchmod.cli.bugs import report, watch
from batchmod.cli.commands import cli
from batchmod.cli.options import Interrupted
from batchmod.errors import BatchmodError, UsageError
from batchmod.model.exits import BUG, DONE, INTERRUPTED, REFUSED, REPORT, code_of
from batchmod.report.jsonline import Level

__all__ = ["cli", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; what is foreseen is one clear line on stderr, what is not a traceback.

    Without `argv` the process is the command's own, and no secret of it leaves by a core dump or by somebody's log.
    """
    _streams()
    if argv is not None:
        return _flushed(_code(argv))
    watch()
    code = _flushed(_code(argv))
    if "asyncio" not in sys.modules:  # else the last search may find a task whose error nobody was told
        leave()
    return code


def _code(argv: Sequence[str] | None) -> int:
    json = _wants_json(sys.argv[1:] if argv is None else argv)
    speak(json=json)
    try:
        if argv is None:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # as SIGINT, from the first moment on
            keep_memory_in()
            search_seldom()
        args = None if argv is None else list(argv)
        code = cli.main(args=args, prog_name="batchmod", standalone_mode=False, obj=argv is None)
    except click.ClickException as error:
        _misused(error, json=json)
        return REFUSED
    except (click.Abort, Interrupted, KeyboardInterrupt):
        return INTERRUPTED
    except BatchmodError as error:
        code = code_of(error)
        problems = error.problems if isinstance(error, UsageError) else (str(error),)
        insist(str(error), "error", level=Level.ERROR, problems=problems, exit_code=code)
        return code
    except Exception as error:  # noqa: BLE001  a bug: it must be loud, and must not look like a failed row
        report(error)
        return BUG
    return code if isinstance(code, int) else DONE


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether what comes before the options are understood is to be said as JSON."""
    return "--log-format=json" in argv or ("--log-format", "json") in pairwise(argv)


def _misused(error: click.ClickException, *, json: bool) -> None:
    if json:
        insist("", "error", level=Level.ERROR, problems=[error.format_message()], exit_code=REFUSED)
        return
    with suppress(OSError):
        error.show()


def _streams() -> None:
    """Every stream is there: a closed stderr as if nobody listened, a closed stdout so that writing fails; data is UTF-8
    in every locale.
    """
    for name, mode in (("stdin", "r"), ("stdout", "r"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  for good
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _flushed(code: int) -> int:
    """The exit code once all that was printed is out: data that is not has not been given."""
    for stream, worse in ((sys.stdout, REPORT), (sys.stderr, DONE)):
        try:
            stream.flush()
        except OSError:
            let_go(stream)
            code = code or worse
    return code
