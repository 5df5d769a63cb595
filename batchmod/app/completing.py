"""What a shell may offer where a run is wanted. Reads, creates nothing, and has nothing to say when it cannot."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from batchmod.errors import BatchmodError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import state_path

MOST: Final = 50  # ids that are offered, the latest first
Offer = tuple[str, str]  # a word, and what it stands for


def runs_offered(state: Path | None, environ: Mapping[str, str]) -> list[Offer]:
    """Names and ids of the runs of the state directory, the latest first; none when they cannot be read."""
    place = state_path(option=state, environ=environ, manifest=None, cwd=Path.cwd())
    try:
        with closing(SqliteJournal.read(place)) as journal:
            latest = journal.runs()[::-1]
    except (BatchmodError, OSError, ValueError, sqlite3.Error):
        return []
    names: dict[str, str] = {}
    for run in latest:
        names.setdefault(run.name, f"the last run: {run.id}")
    return [*names.items(), *((run.id, run.name) for run in latest[:MOST])]
