"""`init`, `validate` and `schema`: how a manifest begins. No network code."""

import json
import os
import time
from pathlib import Path

from batchmod.app.chosen import check_reference, chosen_password, is_at_hand, password_change
from batchmod.app.speech import emit, say
from batchmod.app.windows import tell_too_short
from batchmod.engine.opening import Opening
from batchmod.errors import UsageError
from batchmod.model.loading import load
from batchmod.model.planstart import is_plan_file
from batchmod.model.schema import json_schema
from batchmod.model.starter import STARTER

SCHEMA_FILE = "batchmod.schema.json"  # the starter's editor line names it


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> None:
    """The JSON Schema of a manifest, on stdout."""
    emit([schema_text()])


def init(path: Path) -> None:
    """A commented manifest is there, and the schema that its editor line names. Raises UsageError rather than overwrite."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER)
        (path.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    except FileExistsError as error:
        raise UsageError(
            f"{path}: is there already, and is not overwritten: `batchmod init FILE` writes to another one"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    say(f"{path}: written; next: edit its targets, then `batchmod validate {path}`")


def validate(manifest_path: Path) -> None:
    """Says that the manifest is right. Raises UsageError with all that is wrong with it.

    A chosen password is checked if it is at hand, what a reference names is not looked up: a manifest may be validated where its secrets are not.
    """
    if is_plan_file(manifest_path):
        raise UsageError(f"{manifest_path}: a plan, and no manifest: `batchmod run` applies it")
    loaded = load(manifest_path)
    tell_too_short(loaded.manifest, Opening(), [change.kind for change in loaded.manifest.changes], time.time())
    change = password_change(loaded.manifest)
    if is_at_hand(change, os.environ, loaded.directory):
        chosen_password(change, os.environ, loaded.directory, place=loaded.password_place)
    check_reference(loaded.manifest, place=loaded.password_place)
    kinds = ", ".join(change.kind.value for change in loaded.manifest.changes)
    selectors = f", {len(loaded.selectors)} selectors" if loaded.selectors else ""
    emit([f"{manifest_path}: {len(loaded.targets)} targets{selectors}; {kinds}; valid\n"])
