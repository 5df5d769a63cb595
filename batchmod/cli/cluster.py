"""The commands of campaigns on many machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from batchmod.cli.bugs import report
from batchmod.cli.options import SUBMITTING, TO_RUN, refuse_given, run_to_end, shared
from batchmod.errors import UsageError

if TYPE_CHECKING:
    from batchmod.app.options import Options

ONE_PROCESS: Final = ("skip_failed_accounts", "drain", "metrics", "serve")  # of a run that goes on in this process
OF_WORKERS: Final = "not with --store: the workers do that, as they were told to"
FOLLOWING: Final = ("report_dir",)  # of who writes the report, too


def check_store(options: "Options") -> None:
    """What `--store` names can be meant, and what it needs is installed. Raises UsageError, else."""
    from batchmod.app.storing import shared_place  # noqa: PLC0415

    shared_place(options)


@click.command()
@TO_RUN
@shared(*SUBMITTING)
def submit(path: Path, options: "Options") -> None:
    """Plan and confirm as `run` does, and give the run to workers."""
    if not options.follow:
        refuse_given(FOLLOWING, "needs --follow: a worker writes the report where it is")
    check_store(options)
    from batchmod.app.submit import submit  # noqa: PLC0415

    run_to_end(submit(path, options))


@click.command()
@click.argument("manifest", metavar="[MANIFEST]", required=False, type=click.Path(path_type=Path))
@click.option("--cron", metavar="WHEN", help='When, in UTC, as five fields such as "0 2 * * sat".')
@click.option("--list", "listed", is_flag=True, help="Show what begins by the clock.")
@click.option("--remove", "removed", metavar="NAME", help="What is kept under this name does not begin any more.")
@shared("endpoint", "store", "yes", "accept_irreversible", "skip_failed_accounts")
def schedule(manifest: Path | None, cron: str | None, listed: bool, removed: str | None, options: "Options") -> None:
    """Let workers begin a manifest by the clock."""
    if [manifest is not None, listed, removed is not None].count(True) != 1:
        raise UsageError("say one of MANIFEST, --list and --remove NAME")
    if (manifest is None) is not (cron is None):
        raise UsageError("MANIFEST and --cron belong together")
    check_store(options)
    from batchmod.app import schedule as scheduling  # noqa: PLC0415

    if manifest is not None and cron is not None:
        run_to_end(scheduling.schedule(manifest, cron, options))
    run_to_end(scheduling.listing(options) if removed is None else scheduling.remove_one(removed, options))


@click.command()
@click.option("--lanes", type=click.IntRange(1, 256), default=8, show_default=True, help="Worked on at once.")
@shared("store", "endpoint", "report_dir", "drain", "quiet", "log_format")
def worker(lanes: int, options: "Options") -> None:
    """Work on campaigns until told to end; any number of workers, on any machines."""
    check_store(options)
    from batchmod.app.worker import worker  # noqa: PLC0415

    run_to_end(worker(options, lanes=lanes, on_bug=report))
