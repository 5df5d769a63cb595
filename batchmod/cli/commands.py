"""Every command: its words, its flags, and the function that does it, imported when it is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchmod.cli.cluster import FOLLOWING, OF_WORKERS, ONE_PROCESS, check_store, schedule, submit, worker
from batchmod.cli.completion import completion, some_action, some_run
from batchmod.cli.options import (
    MANIFEST,
    PLANNING,
    RUNNING,
    TAKING_UP,
    TO_RUN,
    Interrupted,
    refuse_given,
    run_to_end,
    shared,
)
from batchmod.cli.secrets import secrets
from batchmod.errors import UsageError
from batchmod.model.exits import MEANINGS

if TYPE_CHECKING:
    from batchmod.app.options import Options

FORMATS = ["csv", "json", "html", "junit", "md"]
EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in sorted(MEANINGS.items())) + "."
TABLE_OR_JSON = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="For people, or for programs.",
)  # fmt: skip


class Commands(click.Group):
    """Interrupted as it is: click would print an empty line for it. Its `obj` is true where the process is the command's own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            if ctx.obj:
                from batchmod.cli.loggers import hear  # noqa: PLC0415  where a command begins

                hear()
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="batchmod", message="%(prog)s %(version)s")
def cli() -> None:
    """Changes whole fleets of ApsaraDB for Redis / Tair instances: names, passwords, release protection, TDE."""


@cli.command()
@shared("report_dir", "quiet", "verbose", "log_format")
def demo(options: "Options") -> None:
    """Run the main job against a simulator with a real Valkey."""
    from batchmod.app.demo import demo  # noqa: PLC0415

    run_to_end(demo(options))


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
@click.option("-o", "output", metavar="FILE", type=click.Path(path_type=Path), help="Also write it, for `run FILE`.")
@TABLE_OR_JSON
@shared(*PLANNING, "store")
def plan(manifest: Path, output: Path | None, form: str, options: "Options") -> None:
    """Show what a run would change, and what is not eligible and why."""
    from batchmod.app.show import plan  # noqa: PLC0415

    run_to_end(plan(manifest, options, form=form, output=output))


@cli.command()
@TO_RUN
@shared(*RUNNING)
def run(path: Path, options: "Options") -> None:
    """Plan, or take a plan that was reviewed; confirm, apply, prove, report."""
    from batchmod.app.holding import claimed  # noqa: PLC0415

    with claimed(options, path=path) as claim:
        from batchmod.app.run import run  # noqa: PLC0415

        run_to_end(run(path, options, claim), fast=True)


@cli.command()
@click.argument("wanted", metavar="[RUN]", required=False, shell_complete=some_run)
@shared(*TAKING_UP, "reset_budget", "serve", "follow")
def resume(wanted: str | None, options: "Options") -> None:
    """Continue an unfinished run."""
    if options.store is not None:
        refuse_given((*ONE_PROCESS, *(() if options.follow else FOLLOWING)), OF_WORKERS)
        check_store(options)
        from batchmod.app.resubmit import resume as resubmit  # noqa: PLC0415

        run_to_end(resubmit(wanted, options))
    refuse_given(["follow"], "needs --store: a run in this process is shown anyway")
    from batchmod.app.holding import claimed  # noqa: PLC0415

    with claimed(options, who=wanted or "that is to be resumed") as claim:
        from batchmod.app.resume import resume  # noqa: PLC0415

        run_to_end(resume(wanted, options, held=claim.held), fast=True)


@cli.command()
@click.argument("wanted", metavar="RUN", shell_complete=some_run)
@shared(*TAKING_UP)
def abandon(wanted: str, options: "Options") -> None:
    """Settle what is in doubt, send nothing, and close a run."""
    if options.store is not None:
        refuse_given((*ONE_PROCESS, *FOLLOWING), OF_WORKERS)
        check_store(options)
        from batchmod.app.resubmit import abandon as give_up  # noqa: PLC0415

        run_to_end(give_up(wanted, options))
    from batchmod.app.holding import claimed  # noqa: PLC0415

    with claimed(options, who=wanted) as claim:
        from batchmod.app.resume import abandon  # noqa: PLC0415

        run_to_end(abandon(wanted, options, held=claim.held))


@cli.command()
@MANIFEST
@TABLE_OR_JSON
@shared("endpoint", "state", "store", "report_dir")
def doctor(manifest: Path, form: str, options: "Options") -> None:
    """Look whether everything that a run needs can be used; makes and changes nothing."""
    from batchmod.app.doctor import doctor  # noqa: PLC0415

    run_to_end(doctor(manifest, options, form=form))


@cli.command()
@click.argument("wanted", metavar="RUN", shell_complete=some_run)
@click.argument("action", metavar="ACTION", shell_complete=some_action)
@shared("state", "store", "log_format")
def control(wanted: str, action: str, options: "Options") -> None:
    """Say to a run: pause, continue, stop, rate=200/60s, rate=auto, changing=20, changing=none."""
    from batchmod.app.control import control  # noqa: PLC0415

    run_to_end(control(wanted, action, options))


@cli.command()
@shared("state", "store")
def runs(options: "Options") -> None:
    """List what ran."""
    from batchmod.app.show import runs  # noqa: PLC0415

    runs(options)


@cli.command()
@click.argument("wanted", metavar="RUN", shell_complete=some_run)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Print it instead of writing the files.")
@shared("state", "store", "report_dir")
def report(wanted: str, form: str | None, options: "Options") -> None:
    """Rebuild the report of a run from the journal."""
    from batchmod.app.show import report  # noqa: PLC0415

    report(wanted, options, form=form)


@cli.command()
@MANIFEST
@shared(*PLANNING, "store", "report_dir")
def verify(manifest: Path, options: "Options") -> None:
    """Prove, changing nothing, that the stored passwords are live."""
    from batchmod.app.verify import verify  # noqa: PLC0415

    run_to_end(verify(manifest, options))


@cli.command()
@MANIFEST
@shared(*PLANNING, "report_dir", "yes")
def reconcile(manifest: Path, options: "Options") -> None:
    """After the journal was lost: make current what logs in."""
    from batchmod.app.holding import claimed  # noqa: PLC0415

    with claimed(options, path=manifest) as claim:
        from batchmod.app.reconcile import reconcile  # noqa: PLC0415

        run_to_end(reconcile(manifest, options, claim))


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free port.")
@click.option("--instances", type=click.IntRange(min=1), default=20, show_default=True, help="How many there are.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides what is left to chance.")
@click.option("--faults", type=click.Path(path_type=Path), help="What goes wrong, and when.")
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="How many times faster the cloud is.",
)  # fmt: skip
def sim(**values: Any) -> None:
    """Serve a simulated cloud on loopback until stopped."""
    from batchmod.sim.errors import SimError  # noqa: PLC0415
    from batchmod.sim.server import SimOptions, serve  # noqa: PLC0415

    try:
        run_to_end(serve(SimOptions(**values)))
    except SimError as error:
        raise UsageError(str(error)) from error


cli.add_command(submit)
cli.add_command(worker)
cli.add_command(schedule)
cli.add_command(secrets)
cli.add_command(completion)
