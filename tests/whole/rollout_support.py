"""Waves, windows and plan files as the simulator and the journal saw them: oracles that share no code with the product."""

import asyncio
import hashlib
import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from whole_support import Bench, Result

RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
ENCRYPT: dict[str, Any] = {"tde": {}}
ACCEPTED = {"password": "accepted"}
CANARY_PLAN: dict[str, Any] = {"waves": [1, 2]}
TAKES = 0.05  # seconds that a change takes in a bench, if a test says nothing else
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def in_waves(targets: Iterable[dict[str, str]], entries: Sequence[int | str]) -> list[list[str]]:
    """The instances of each wave: round-robin over the sorted regions, in a region by SHA-256 of the id; an entry is
    cumulative, a percentage of them is rounded up, one that adds none is dropped, and the rest is a last wave.
    """
    lanes: dict[str, list[str]] = defaultdict(list)
    for target in targets:
        lanes[target["region"]].append(target["id"])
    sorted_lanes = [
        sorted(lanes[each], key=lambda name: hashlib.sha256(name.encode()).digest()) for each in sorted(lanes)
    ]
    order = [name for row in zip_longest(*sorted_lanes) for name in row if name is not None]
    waves, done = [], 0
    for entry in (*entries, "100%"):
        percent = float(entry.rstrip("%")) if isinstance(entry, str) else None
        upto = min(len(order), int(entry) if percent is None else math.ceil(len(order) * percent / 100))
        if upto > done:
            waves.append(order[done:upto])
            done = upto
    return waves


def changing_calls(b: Bench, since: int = 0) -> list[tuple[float, str]]:
    """When which instance was sent a change, whatever came of it, in order."""
    return [
        (call.at, call.instance or "")
        for call in list(b.sim.cloud.calls)[since:]
        if call.api.startswith("ModifyInstance")
    ]


def sent_to(b: Bench, since: int = 0) -> set[str]:
    return {name for _, name in changing_calls(b, since)}


def busy_times(b: Bench, seconds: float = TAKES) -> list[tuple[float, float, str]]:
    """From when to when each accepted change held which instance."""
    return [
        (call.at, call.at + seconds, call.instance or "")
        for call in b.sim.cloud.calls
        if call.api.startswith("ModifyInstance") and call.code == "OK"
    ]


def require_order(b: Bench, waves: Sequence[Sequence[str]], seconds: float = TAKES) -> None:
    """No change of a wave is sent before the last one of the wave before it was over."""
    for earlier, later in pairwise(waves):
        over = max(end for _, end, name in busy_times(b, seconds) if name in earlier)
        first = min(at for at, name in changing_calls(b) if name in later)
        assert first >= over, (earlier, later)


def marks(b: Bench, state: Path | None = None) -> list[dict[str, Any]]:
    """What happened to the runs as a whole, as the journal has it, also while one is at work."""
    path = (state or b.folder / ".batchmod") / "journal.db"
    if not path.exists():
        return []
    alone = "" if path.with_name("journal.db-wal").exists() else "&immutable=1"
    with closing(sqlite3.connect(f"file:{path}?mode=ro{alone}", uri=True, timeout=30)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'mark'").fetchone():
            return []  # it is being made
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM mark ORDER BY n")]


async def marked(b: Bench, kind: str, process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Returns the first mark of this kind once it is there; fails when the process ends without it."""
    async with asyncio.timeout(30):
        while True:
            found = [mark for mark in marks(b) if mark["type"] == kind]
            if found:
                return found[0]
            if process.returncode is not None:
                _, err = await process.communicate()
                raise AssertionError(f"exit {process.returncode} without the mark {kind!r}: {err.decode()}")
            await asyncio.sleep(0.02)


async def reached(b: Bench, count: int, process: asyncio.subprocess.Process) -> None:
    """Returns once the simulator has answered so many calls that change; fails when the process ends before."""
    async with asyncio.timeout(30):
        while b.modifying_calls() < count:
            if process.returncode is not None:
                _, err = await process.communicate()
                raise AssertionError(f"exit {process.returncode} after {b.modifying_calls()} calls: {err.decode()}")
            await asyncio.sleep(0.01)


async def ended(process: asyncio.subprocess.Process) -> Result:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


def script(b: Bench, name: str, text: str) -> Path:
    """A program beside the manifest."""
    path = b.folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


CLOCK = """
import sys, time
offset, real = float(sys.argv.pop(1)), time.time
time.time = lambda: real() + offset
from batchmod.cli import main
sys.exit(main(sys.argv[1:]))
"""  # before anything of batchmod is imported, so that no default holds the real clock


async def run_at(b: Bench, offset: float, *arguments: str) -> Result:
    """The command with a clock that is `offset` seconds ahead; the cloud's own clock stays within what is agreed."""
    return await ended(await start_at(b, offset, *arguments))


async def start_at(b: Bench, offset: float, *arguments: str) -> asyncio.subprocess.Process:
    return await b.start_program(CLOCK, f"{offset}", *arguments)


def move_cloud(b: Bench, offset: float) -> None:
    """The simulator's clock is `offset` seconds ahead from now on."""
    b.cloud_clock.ahead = offset


def move_to(b: Bench, moment: float) -> float:
    """The simulator's clock shows this moment (seconds since the epoch); returns how far ahead of the real one it is."""
    offset = moment - datetime.now(UTC).timestamp()
    move_cloud(b, offset)
    return offset


def window(start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    """Between these times of each day, UTC."""
    return {"start": f"{start:%H:%M}", "end": f"{end:%H:%M}", **more}


def around_now(before: float, after: float, **more: Any) -> dict[str, Any]:
    """Every day from so many minutes before now to so many minutes after it, to the minute."""
    now = datetime.now(UTC)
    return window(now + timedelta(minutes=before), now + timedelta(minutes=after), **more)


def spent(report: dict[str, Any]) -> dict[int, int]:
    """Failed and unresolved rows that the plan would send, by wave."""
    counts: dict[int, int] = defaultdict(int)
    for row in report["rows"]:
        if row["wave"] is not None:
            counts[row["wave"]] += row["outcome"] in {"failed", "unresolved"}
    return dict(counts)


def by_id(report: dict[str, Any], kind: str = "attributes") -> dict[str, dict[str, Any]]:
    return {row["instance_id"]: row for row in report["rows"] if row["change"] == kind}
