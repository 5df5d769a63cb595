"""What a run needs on this machine: its directories and its key. Nothing is made to find out."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from batchmod.dbfile import is_there
from batchmod.errors import BatchmodError, UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.secrets.agekey import key_path, load_or_make
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.schema import NoStoreError
from batchmod.secrets.store import Finding

ROOM: Final = 100_000_000  # bytes: a journal of 100,000 rows takes most of it
STATE, JOURNAL = "state directory", "journal"


def of_state(state: Path) -> tuple[Finding, ...]:
    """Whether it can be used, whether somebody uses it, the room on its disk, and its journal."""
    return (
        _of_directory(STATE, state, "choose another with --state"),
        _of_holder(state),
        _of_room(state),
        _of_journal(state),
    )


def of_report_dir(path: Path) -> Finding:
    return _of_directory("report directory", path, "choose another with --report-dir")


async def of_age_key(environ: Mapping[str, str], state: Path) -> tuple[Finding, ...]:
    """Whether it is there and one, or is not needed yet. Raises UsageError, else."""
    path = key_path(environ)
    if not is_there(path) and await _is_empty(environ, state):
        text = f"{path}: not there yet; the first run makes it: back it up then"
        return (Finding(what="age key", ok=True, text=text),)
    load_or_make(path, may_make=False)
    return (Finding(what="age key", ok=True, text=f"{path}: is there, and no other user can read it"),)


async def _is_empty(environ: Mapping[str, str], state: Path) -> bool:
    """Nothing is stored that only a key could open."""
    try:
        store = EmbeddedStore.open(state, environ=environ, say=lambda _: None, create=False)
    except NoStoreError:
        return True
    except BatchmodError:
        return False
    try:
        return not await store.all()
    finally:
        await store.close()


def _of_directory(what: str, path: Path, instead: str) -> Finding:
    there = _nearest(path)
    if not there.is_dir():
        return Finding(what=what, ok=False, text=f"{there}: no directory; {instead}")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            what=what, ok=False, text=f"{there}: this user cannot write there; give it the right, or {instead}"
        )
    text = "can be used" if there == path else "not there yet; the first run makes it"
    return Finding(what=what, ok=True, text=f"{path}: {text}")


def _of_holder(state: Path) -> Finding:
    what = f"{STATE}, holder"
    try:
        holder = StateDir(path=state).holder()
    except UsageError as error:
        return Finding(what=what, ok=False, text=str(error))
    if holder is None:
        return Finding(what=what, ok=True, text="no run is at work in it")
    return Finding(what=what, ok=False, text=f"held by {holder}: wait until it has ended")


def _of_room(state: Path) -> Finding:
    what, there = f"{STATE}, room", _nearest(state)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(what=what, ok=False, text=f"{there}: {error.strerror}")
    told = f"{free // 1_000_000} MB are free"
    if free < ROOM:
        return Finding(
            what=what, ok=False, text=f"{told}; make room for {ROOM // 1_000_000} MB, or move it with --state"
        )
    return Finding(what=what, ok=True, text=told)


def _of_journal(state: Path) -> Finding:
    try:
        journal = SqliteJournal.read(state)
    except BatchmodError as error:
        return Finding(what=JOURNAL, ok=False, text=str(error))
    try:
        runs = journal.runs()
        unfinished = [run.id for run in runs if run.is_unfinished(0 if run.closed else journal.open_rows(run.id))]
    except BatchmodError as error:
        return Finding(what=JOURNAL, ok=False, text=str(error))
    finally:
        journal.close()
    left = f", unfinished: {', '.join(unfinished)}; `batchmod resume` continues one" if unfinished else ""
    return Finding(what=JOURNAL, ok=True, text=f"can be read; {len(runs)} runs{left}")


def _nearest(path: Path) -> Path:
    """The path, or what there is of the way to it."""
    here = path.absolute()
    while not os.path.lexists(here) and here != here.parent:
        here = here.parent
    return path if here == path.absolute() else here
