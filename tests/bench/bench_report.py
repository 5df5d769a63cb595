"""What the HTML report of very many rows costs: to make, to open, to filter and to sort, in a real Chromium."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_lab import HERE, Used, child, complaint
from bench_part import Check, Part, middle

STEP = 10  # times the size: with 10,000 instances 100,000 rows
MB = 1_000_000.0
LIMITS = {"open": 3000.0, "first filter by text": 500.0, "sort by id": 500.0, "sort by seconds": 500.0}  # ms
Round = Mapping[str, float]


def measure(folder: Path, *, rounds: int, size: int) -> Part:
    return part([_once(folder, size * STEP) for _ in range(rounds)], size * STEP)


def _once(folder: Path, rows: int) -> Round:
    path = folder / "report.html"
    made = _work(folder, "make", str(path), str(rows))
    used = _work(folder, "open", str(path))
    return _told(made) | _told(used) | {"rss": made.max_rss / MB}


def _told(used: Used) -> dict[str, float]:
    told: dict[str, Any] = json.loads(used.out)
    return {name: float(value) for name, value in told.items()}


def _work(folder: Path, *arguments: str) -> Used:
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent)}
    used = child([sys.executable, str(HERE / "bench_opened.py"), *arguments], environment, folder)
    if used.code != 0:
        raise RuntimeError(f"ended with {used.code}: {complaint(folder)}")
    return used


def part(rounds: Sequence[Round], rows: int) -> Part:
    def of(name: str) -> float:
        return middle([each[name] for each in rounds])

    steps = [name for name in rounds[0] if name not in {"made", "bytes", "rss", "open", "rows in the page"}]
    return Part(
        title="HTML report",
        size=f"{len(rounds)} rounds, {rows:,} rows",
        columns=("", "cost"),
        rows=[
            ("make the file", f"{of('made'):.0f} ms, {of('rss'):.0f} MB at most"),
            ("the file", f"{of('bytes') / MB:.1f} MB"),
            ("open it, until it is drawn", f"{of('open'):.0f} ms"),
            *((name, f"{of(name):.0f} ms") for name in steps),
            ("rows in the page at once", f"{of('rows in the page'):.0f}"),
        ],
        checks=[
            *(Check(what=f"ms to {name}", value=of(name), limit=limit, at_most=True) for name, limit in LIMITS.items()),
            Check(what="rows in the page", value=of("rows in the page"), limit=200.0, at_most=True),
        ],
        rounds=list(rounds),
    )
