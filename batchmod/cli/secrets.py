"""`batchmod secrets …`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmod.cli.options import run_to_end, shared

if TYPE_CHECKING:
    from batchmod.app.options import Options

OF_MANIFEST = click.option(
    "--manifest", metavar="FILE", type=click.Path(path_type=Path), help="Of the store that this manifest names."
)


@click.group("secrets")
def secrets() -> None:
    """The stored passwords."""


@secrets.command("list")
@OF_MANIFEST
@shared("state", "store")
def secrets_list(manifest: Path | None, options: "Options") -> None:
    """Show what is stored, without values."""
    from batchmod.app.vault import Place, listing  # noqa: PLC0415

    run_to_end(listing(Place(options, manifest)))


STAGES = click.Choice(["current", "pending", "previous", "candidate"])
REVEAL = click.option("--reveal", is_flag=True, help="Show passwords on a terminal.")


@secrets.command("get")
@click.argument("instance")
@click.option("--stage", type=STAGES, default="current", show_default=True, help="Which one of it.")
@REVEAL
@OF_MANIFEST
@shared("state", "store")
def secrets_get(instance: str, stage: str, reveal: bool, manifest: Path | None, options: "Options") -> None:
    """Print one password."""
    from batchmod.app.vault import Place, get  # noqa: PLC0415

    run_to_end(get(Place(options, manifest), instance, stage=stage, reveal=reveal))


@secrets.command("export")
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True,
    help="An array of objects, or a table.",
)  # fmt: skip
@REVEAL
@OF_MANIFEST
@shared("state", "store")
def secrets_export(form: str, reveal: bool, manifest: Path | None, options: "Options") -> None:
    """Print every password."""
    from batchmod.app.vault import Place, export  # noqa: PLC0415

    run_to_end(export(Place(options, manifest), form=form, reveal=reveal))


@secrets.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["json", "csv"]), help="Default: by the file's ending, else json.")
@OF_MANIFEST
@shared("state", "store")
def secrets_import(path: Path, form: str | None, manifest: Path | None, options: "Options") -> None:
    """Store every password of an export."""
    from batchmod.app.vault import Place, import_file  # noqa: PLC0415

    run_to_end(import_file(Place(options, manifest), path, form=form))


@secrets.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@OF_MANIFEST
@shared("state", "store")
def secrets_backup(target: Path, manifest: Path | None, options: "Options") -> None:
    """Copy the store; values stay encrypted."""
    from batchmod.app.vault import Place, backup_to  # noqa: PLC0415

    backup_to(Place(options, manifest), target)
