"""Shared options, declared once, and how a command begins and ends."""

import os
import re
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from batchmod.app.speech import speak
from batchmod.cli.completion import some_directory
from batchmod.errors import UsageError
from batchmod.model.exits import DONE
from batchmod.report.jsonline import JSON

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MANIFEST = click.argument("manifest", metavar="MANIFEST", type=click.Path(path_type=Path))
TO_RUN = click.argument("path", metavar="MANIFEST|PLAN", type=click.Path(path_type=Path))


class Duration(click.ParamType[float]):
    """`30s`, `5m`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 30s or 5m", param, ctx)
        return int(found[1]) * UNITS[found[2]]


SHARED: dict[str, Callable[[Any], Any]] = {
    "endpoint": click.option("--endpoint", metavar="URL", help="Serves every vendor API (also BATCHMOD_ENDPOINT)."),
    "state": click.option(
        "--state", metavar="DIR", type=click.Path(path_type=Path), shell_complete=some_directory,
        help="State directory (also BATCHMOD_STATE).",
    ),
    "store": click.option(
        "--store", metavar="URL", help="Journal, secrets and jobs in this PostgreSQL, for many machines."
    ),
    "report_dir": click.option(
        "--report-dir", metavar="DIR", type=click.Path(path_type=Path), shell_complete=some_directory,
        help="Where reports are written.",
    ),
    "yes": click.option("--yes", is_flag=True, help="Do not ask."),
    "resume": click.option("--resume", is_flag=True, help="Continue an unfinished run of this name first."),
    "retry_failed": click.option(
        "--retry", "retry_failed", type=click.Choice(["failed"]), callback=lambda _, __, given: given is not None,
        help="Only the rows that ended failed in the last run of this name.",
    ),
    "reset_budget": click.option("--reset-budget", is_flag=True, help="Failures from before do not count any more."),
    "follow": click.option("--follow", is_flag=True, help="Show what the workers do with it until it ends."),
    "skip_failed_accounts": click.option(
        "--skip-failed-accounts", is_flag=True, help="Leave out accounts that cannot be used; exit 1 at best."
    ),
    "accept_irreversible": click.option(
        "--accept-irreversible", metavar="N", type=int, help="Agree to encrypt exactly N instances."
    ),
    "drain": click.option(
        "--drain", metavar="TIME", type=Duration(), default="5m", show_default=True,
        help="How long a stopped run may settle what is open.",
    ),
    "serve": click.option(
        "--serve", metavar="HOST:PORT", help="Serve the run as a page until it ends; port 0 is any free one."
    ),
    "quiet": click.option("--quiet", is_flag=True, help="One line at the end."),
    "verbose": click.option("-v", "--verbose", is_flag=True, help="Plain lines instead of the board, and one for each call."),
    "log_format": click.option(
        "--log-format", type=click.Choice(["text", JSON]), default="text", show_default=True,
        help="json: each line on stderr is one object.",
    ),
    "metrics": click.option(
        "--metrics", metavar="FILE", type=click.Path(path_type=Path), help="Keep a Prometheus textfile there."
    ),
}  # fmt: skip
CLOUD = ("endpoint", "state", "verbose", "quiet", "log_format")
PLANNING = (*CLOUD, "skip_failed_accounts")
RUNNING = (*PLANNING, "report_dir", "yes", "resume", "retry_failed", "accept_irreversible", "drain", "metrics", "serve")
TAKING_UP = (*PLANNING, "store", "report_dir", "drain", "metrics")
SUBMITTING = (
    "endpoint", "store", "verbose", "quiet", "log_format", "skip_failed_accounts", "report_dir", "yes", "retry_failed",
    "accept_irreversible", "follow",
)  # fmt: skip


def shared(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the named shared options, as one `options` value."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(**values: Any) -> Any:
            from batchmod.app.options import Options  # noqa: PLC0415  not for a page of help

            given = {name: values.pop(name) for name in names}
            given["verbose"] = bool(given.get("verbose")) and not given.get("quiet")
            if given.get("endpoint") == "":  # a variable that was not set: the real cloud is not what is meant
                raise UsageError("--endpoint is empty: leave it out for the vendor's own endpoints")
            named = os.environ.get("BATCHMOD_ENDPOINT")
            if "endpoint" in given and not given["endpoint"] and named == "":
                raise UsageError("BATCHMOD_ENDPOINT is empty: unset it for the vendor's own endpoints")
            given["endpoint"] = given.get("endpoint") or named or None
            speak(json=given.get("log_format") == JSON, quiet=bool(given.get("quiet")))
            return command(options=Options(environ=dict(os.environ), **given), **values)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        for name in reversed(names):
            run = SHARED[name](run)
        for parameter in getattr(command, "__click_params__", ()):
            run.__dict__.setdefault("__click_params__", []).append(parameter)
        return run

    return decorate


def refuse_given(names: Iterable[str], reason: str) -> None:
    """None of these options was said on the command line. Raises UsageError, else: none is taken and ignored."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')}: {reason}")


def end(code: int) -> NoReturn:
    raise click.exceptions.Exit(code)


class Interrupted(BaseException):
    """A signal ended the command at once: before it had taken charge of signals, so that nothing is sent, or the second one."""


def run_to_end(work: Coroutine[Any, Any, int | None], *, fast: bool = False) -> NoReturn:
    """`fast`: on uvloop, where it is installed. It sends what is written at the end of its turn only: not for a process that may
    be frozen while another takes its place.
    """
    import asyncio  # noqa: PLC0415  a third of the time that a page of help may take

    try:
        with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
            code = runner.run(work)
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        work.close()  # where a signal came before it began
    end(code or DONE)


def _fast_loop() -> "Callable[[], AbstractEventLoop] | None":
    """None: asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  an extra, and not for a page of help
    except ImportError:
        return None
    return uvloop.new_event_loop
