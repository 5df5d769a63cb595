"""`init` and `schema`: how a manifest begins."""

import json
import sys
from pathlib import Path

from batchmod.app.session import say
from batchmod.errors import UsageError
from batchmod.model.schema import json_schema
from batchmod.model.starter import STARTER

SCHEMA_FILE = "batchmod.schema.json"  # the starter's editor line names it


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> None:
    """The JSON Schema of a manifest, on stdout."""
    sys.stdout.write(schema_text())


def init(path: Path) -> None:
    """A commented manifest is there, and the schema that its editor line names. Raises UsageError rather than overwrite."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER)
        (path.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already, and is not overwritten") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    say(f"{path}: written; next: edit its targets, then `batchmod validate {path}`")
