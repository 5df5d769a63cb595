"""Flags and environment in, exit code out. Everything heavy is imported by the command that needs it."""

import asyncio
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from batchmod.app.exits import BUG, DONE, HELD, INTERRUPTED, MEANINGS, REFUSED, REPORT
from batchmod.app.options import Options
from batchmod.errors import BatchmodError, HeldError, ReportError, UsageError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MANIFEST = click.argument("manifest", metavar="MANIFEST", type=click.Path(path_type=Path))


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
        "--state", metavar="DIR", type=click.Path(path_type=Path), help="State directory (also BATCHMOD_STATE)."
    ),
    "report_dir": click.option(
        "--report-dir", metavar="DIR", type=click.Path(path_type=Path), help="Where reports are written."
    ),
    "yes": click.option("--yes", is_flag=True, help="Do not ask."),
    "resume": click.option("--resume", is_flag=True, help="Continue an unfinished run of this name first."),
    "reset_budget": click.option("--reset-budget", is_flag=True, help="Failures from before do not count any more."),
    "accept_irreversible": click.option(
        "--accept-irreversible", metavar="N", type=int, help="Agree to encrypt exactly N instances."
    ),
    "drain": click.option(
        "--drain", metavar="TIME", type=Duration(), default="5m", show_default=True,
        help="How long a stopped run may settle what is open.",
    ),
    "quiet": click.option("--quiet", is_flag=True, help="One line at the end."),
    "verbose": click.option("-v", "--verbose", is_flag=True, help="Plain lines instead of the board, and one for each call."),
}  # fmt: skip
CLOUD = ("endpoint", "state", "verbose", "quiet")
RUNNING = (*CLOUD, "report_dir", "yes", "resume", "accept_irreversible", "drain")
TAKING_UP = (*CLOUD, "report_dir", "drain")


def shared(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the named shared options, as one `options` value."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(**values: Any) -> Any:
            given = {name: values.pop(name) for name in names}
            given["verbose"] = bool(given.get("verbose")) and not given.get("quiet")
            given["endpoint"] = given.get("endpoint") or os.environ.get("BATCHMOD_ENDPOINT") or None
            return command(options=Options(environ=dict(os.environ), **given), **values)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        for name in reversed(names):
            run = SHARED[name](run)
        for parameter in getattr(command, "__click_params__", ()):
            run.__dict__.setdefault("__click_params__", []).append(parameter)
        return run

    return decorate


def _exit(code: int) -> NoReturn:
    raise click.exceptions.Exit(code)


def _run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    _exit(asyncio.run(work) or DONE)


EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in sorted(MEANINGS.items())) + "."


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="batchmod", message="%(prog)s %(version)s")
def cli() -> None:
    """Changes whole fleets of ApsaraDB for Redis / Tair instances: names, passwords, release protection, TDE."""


@cli.command()
@shared("report_dir", "quiet", "verbose")
def demo(options: Options) -> None:
    """Run the main job against a simulator with a real Valkey."""
    from batchmod.app.demo import demo  # noqa: PLC0415

    _run(demo(options))


@cli.command()
@click.argument("path", metavar="[FILE]", default="batchmod.yaml", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Write a commented manifest, and its JSON Schema beside it."""
    from batchmod.app.starting import init  # noqa: PLC0415

    init(path)


@cli.command()
@MANIFEST
def validate(manifest: Path) -> None:
    """Check a manifest, without network."""
    from batchmod.app.starting import validate  # noqa: PLC0415

    validate(manifest)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of a manifest, for editors."""
    from batchmod.app.starting import schema  # noqa: PLC0415

    schema()


@cli.command()
@MANIFEST
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@shared(*CLOUD)
def plan(manifest: Path, form: str, options: Options) -> None:
    """Show what a run would change, and what is not eligible and why."""
    from batchmod.app.show import plan  # noqa: PLC0415

    _run(plan(manifest, options, form=form))


@cli.command()
@MANIFEST
@shared(*RUNNING)
def run(manifest: Path, options: Options) -> None:
    """Plan, confirm, apply, prove, report."""
    from batchmod.app.run import run  # noqa: PLC0415

    _run(run(manifest, options))


@cli.command()
@click.argument("wanted", metavar="[RUN]", required=False)
@shared(*TAKING_UP, "reset_budget")
def resume(wanted: str | None, options: Options) -> None:
    """Continue an unfinished run."""
    from batchmod.app.run import resume  # noqa: PLC0415

    _run(resume(wanted, options))


@cli.command()
@click.argument("wanted", metavar="RUN")
@shared(*TAKING_UP)
def abandon(wanted: str, options: Options) -> None:
    """Settle what is in doubt, send nothing, and close a run."""
    from batchmod.app.run import abandon  # noqa: PLC0415

    _run(abandon(wanted, options))


@cli.command()
@shared("state")
def runs(options: Options) -> None:
    """List what ran."""
    from batchmod.app.show import runs  # noqa: PLC0415

    runs(options)


@cli.command()
@click.argument("wanted", metavar="RUN")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="Print it instead of writing the files.")
@shared("state", "report_dir")
def report(wanted: str, form: str | None, options: Options) -> None:
    """Rebuild the report of a run from the journal."""
    from batchmod.app.show import report  # noqa: PLC0415

    report(wanted, options, form=form)


@cli.group("secrets")
def secrets_() -> None:
    """The stored passwords."""


@secrets_.command("list")
@shared("state")
def secrets_list(options: Options) -> None:
    """Show what is stored, without values."""
    from batchmod.app.vault import listing  # noqa: PLC0415

    _run(listing(options))


STAGES = click.Choice(["current", "pending", "previous", "candidate"])
REVEAL = click.option("--reveal", is_flag=True, help="Show passwords on a terminal.")


@secrets_.command("get")
@click.argument("instance")
@click.option("--stage", type=STAGES, default="current", show_default=True)
@REVEAL
@shared("state")
def secrets_get(instance: str, stage: str, reveal: bool, options: Options) -> None:
    """Print one password."""
    from batchmod.app.vault import get  # noqa: PLC0415

    _run(get(options, instance, stage=stage, reveal=reveal))


@secrets_.command("export")
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@REVEAL
@shared("state")
def secrets_export(form: str, reveal: bool, options: Options) -> None:
    """Print every password."""
    from batchmod.app.vault import export  # noqa: PLC0415

    _run(export(options, form=form, reveal=reveal))


@secrets_.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["json", "csv"]), help="Default: by the file's ending, else json.")
@shared("state")
def secrets_import(path: Path, form: str | None, options: Options) -> None:
    """Store every password of an export."""
    from batchmod.app.vault import import_file  # noqa: PLC0415

    _run(import_file(options, path, form=form))


@secrets_.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@shared("state")
def secrets_backup(target: Path, options: Options) -> None:
    """Copy the store; values stay encrypted."""
    from batchmod.app.vault import backup_to  # noqa: PLC0415

    backup_to(options, target)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free port.")
@click.option("--instances", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--faults", type=click.Path(path_type=Path), help="What goes wrong, and when.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True)
def sim(**values: Any) -> None:
    """Serve a simulated cloud on loopback until stopped."""
    from batchmod.sim.errors import SimError  # noqa: PLC0415
    from batchmod.sim.server import SimOptions, serve  # noqa: PLC0415

    try:
        asyncio.run(serve(SimOptions(**values)))
    except SimError as error:
        raise UsageError(str(error)) from error


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
