"""One line of a log that a machine reads. Loaded by every command: what it needs is what each of them waits for."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from batchmod.report.layout import moment

JSON: Final = "json"  # the log format's name


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def entry(at: float, event: str, level: Level, fields: Mapping[str, Any]) -> str:
    """One object without its line end: ASCII, so that no locale and no foreign text can break the line."""
    return json.dumps({"time": moment(at), "level": level, "event": event, **fields})
