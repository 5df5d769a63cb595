"""`schedule`: campaigns that begin by the clock, on whatever worker is there; what they need is kept in the database."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os.path import normpath
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from batchmod.app.chosen import check_reference
from batchmod.app.fleet import check_fence, regions_of
from batchmod.app.options import Options
from batchmod.app.speech import emit, insist
from batchmod.app.storing import seal, shared_place
from batchmod.app.submit import check_reachable
from batchmod.app.watching import width
from batchmod.cluster.timetable import (
    Schedule,
    cron_problem,
    next_at,
    put,
    remove,
    schedules,
)
from batchmod.errors import UsageError
from batchmod.model.entries import TARGETS, Entries
from batchmod.model.exits import DONE
from batchmod.model.loading import Loaded, load
from batchmod.model.manifest import FileEntry
from batchmod.model.planstart import is_plan_file
from batchmod.model.yamlstream import read_yaml
from batchmod.pg.link import linked
from batchmod.pg.migrating import check, prepare
from batchmod.report.layout import columns, moment, printable

KEPT: Final = ("endpoint", "accept_irreversible", "skip_failed_accounts")  # options that are kept with the manifest
HEADS: Final = ("name", "cron", "next", "last", "last run")


async def schedule(path: Path, cron: str, options: Options) -> int:
    """The manifest begins by the clock from now on, in the place of what was kept under its name; the exit code.

    Raises UsageError when it could not begin now, as far as can be told without a network.
    """
    place = shared_place(options)
    if not options.yes:
        raise UsageError("nobody is asked when the time comes: read the plan (`batchmod plan`), then say --yes")
    problem = cron_problem(cron)
    if problem is not None:
        raise UsageError(f"--cron: {problem}")
    loaded, files = _kept(path)
    check_fence(loaded.manifest, set().union(*regions_of(loaded).values()), options.endpoint)
    kept = Schedule(
        name=loaded.manifest.name,
        cron=cron,
        directory=str(loaded.directory),
        manifest=path.name,
        files=files,
        options={name: getattr(options, name) for name in KEPT},
    )
    if loaded_again(kept).digest != loaded.digest:
        raise UsageError(f"{path}: it or a file that it names was changed just now: try again")
    prepare(place)
    await seal(options, loaded.manifest)
    async with linked(place) as db:
        await put(db, kept)
    insist(f"{kept.name}: begins at {_next(kept)} first, when a worker is there")
    return DONE


async def listing(options: Options) -> int:
    """All that begins by the clock, on stdout; the exit code."""
    place, kept = shared_place(options), list[Schedule]()
    if check(place):
        async with linked(place) as db:
            kept = await schedules(db)
    lines = columns([HEADS, *(_line(one) for one in kept)], width())
    told = [line for line, one in zip(lines[1:], kept, strict=True) for line in (line, *_why(one))]
    emit([f"{line}\n" for line in ([lines[0], *told] if kept else ["nothing begins by the clock"])])
    return DONE


async def remove_one(name: str, options: Options) -> int:
    """What was kept under this name does not begin any more; a run of it goes on. Raises UsageError when nothing was."""
    place = shared_place(options)
    if check(place):
        async with linked(place) as db:
            if await remove(db, name):
                insist(f"{name}: does not begin by the clock any more")
                return DONE
    raise UsageError(f"nothing of the name {name!r} begins by the clock; `batchmod schedule --list` shows what does")


def _kept(path: Path) -> tuple[Loaded, dict[str, bytes]]:
    """The manifest, and what is to be kept of it, by paths from its directory. Raises UsageError."""
    if is_plan_file(path):
        raise UsageError(f"{path}: a plan is applied once: a schedule needs the manifest")
    loaded = load(path)
    check_reachable(loaded.manifest, place=loaded.password_place)
    check_reference(loaded.manifest, place=loaded.password_place)
    files = {path.name: path}
    for name in _from_files(path):
        if PurePath(name).is_absolute():
            raise UsageError(
                f"{path}: {TARGETS}: from: {name}: write it from the manifest's directory, to be kept with it"
            )
        files[str(PurePosixPath(normpath(name)))] = loaded.directory / name
    try:
        return loaded, {name: file.read_bytes() for name, file in files.items()}
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _from_files(path: Path) -> Iterator[str]:
    """The files whose targets the manifest means, as it names them."""
    entries = Entries()
    with path.open("rb") as file:
        read_yaml(file, str(path), TARGETS, entries.take)
    yield from (entry.from_ for entry in entries.unnamed if isinstance(entry, FileEntry))


def loaded_again(kept: Schedule) -> Loaded:
    """What was kept, as if it were read from its own directory. Raises UsageError."""
    with _laid_out(kept) as path:
        try:
            loaded = load(path)
        except UsageError as error:
            raise UsageError(*(text.replace(f"{path.parent}/", "") for text in error.problems)) from error
    directory = Path(kept.directory)
    return replace(loaded, directory=directory, path=directory / kept.manifest)


@contextmanager
def _laid_out(kept: Schedule) -> Iterator[Path]:
    """The manifest in a directory of nobody else's, and its files around it, for as long as the block."""
    for name in kept.files:
        if PurePosixPath(name).is_absolute() or kept.manifest not in kept.files:
            raise UsageError(f"schedule {kept.name}: {name}: no path from the manifest's directory: schedule it again")
    depth = max(PurePosixPath(name).parts.count("..") for name in kept.files)
    with tempfile.TemporaryDirectory(prefix="batchmod-") as folder:  # made with mode 0700
        root = Path(folder).joinpath(*["below"] * (depth + 1))
        root.mkdir(parents=True)
        for name, content in kept.files.items():
            file = Path(normpath(root / name))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield root / kept.manifest


def _next(kept: Schedule) -> str:
    return moment(next_at(kept.cron, after=time.time()), timespec="seconds")


def _line(kept: Schedule) -> tuple[str, ...]:
    last = moment(kept.last_at.timestamp(), timespec="seconds") if kept.last_at is not None else "-"
    return (printable(kept.name), printable(kept.cron), _next(kept), last, kept.last_run or "-")


def _why(kept: Schedule) -> list[str]:
    """What went wrong at its last time, uncut: it is read where nothing else says it."""
    return [f"  last error: {printable(line)}" for line in (kept.last_error or "").splitlines()]
