"""Flags and environment in, exit code out. Everything heavy is imported by the command that needs it."""

import asyncio
import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from batchmod.cli.commands import cli
from batchmod.errors import BatchmodError, HeldError, ReportError
from batchmod.model.exits import BUG, DONE, HELD, INTERRUPTED, REFUSED, REPORT

__all__ = ["cli", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; what is foreseen is one clear line on stderr, what is not a traceback."""
    _streams()
    try:
        code = cli.main(args=list(argv) if argv is not None else None, prog_name="batchmod", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return REFUSED
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except BatchmodError as error:
        click.echo(f"{error}", err=True)
        return _code_of(error)
    except Exception:  # noqa: BLE001  a bug: it must be loud, and must not look like a failed row
        traceback.print_exc()
        return BUG
    return code if isinstance(code, int) else DONE


def _streams() -> None:
    """Every stream is there, closed ones as if nobody listened; data is UTF-8 in every locale."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  for good
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _code_of(error: BatchmodError) -> int:
    match error:
        case HeldError():
            return HELD
        case ReportError():
            return REPORT
        case _:
            return REFUSED
