"""`make bench`: measures, keeps the figures in docs/performance.json, writes docs/performance.md anew between its marks.

A part that is not measured keeps its figures of last time. Fewer rounds than five are shown and not kept, unless --keep.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import bench_calls
import bench_cluster
import bench_page
import bench_parking
import bench_quota
import bench_report
import bench_scale
import bench_throughput
from bench_part import Part

DOCS = Path(__file__).parents[2] / "docs"
ROUNDS, SIZE = 5, 10_000
KEPT, PAGE = DOCS / "performance.json", DOCS / "performance.md"


class Measure(Protocol):
    def __call__(self, folder: Path, *, rounds: int, size: int) -> Part: ...


PARTS: dict[str, Measure] = {
    "throughput": bench_throughput.measure,
    "calls": bench_calls.measure,
    "quota": bench_quota.measure,
    "parking": bench_parking.measure,
    "scale": bench_scale.measure,
    "report": bench_report.measure,
    "cluster": bench_cluster.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--size", type=int, default=SIZE, help="instances")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, help="in docs/; default with 5 rounds or more")
    given = parser.parse_args()
    unknown = sorted(set(given.parts) - PARTS.keys())
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    kept = given.rounds >= ROUNDS if given.keep is None else given.keep
    for name in given.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="batchmod-bench-") as folder:
            part = PARTS[name](Path(folder), rounds=given.rounds, size=given.size)
        found = part.kept()
        if kept:
            keep(name, found)
        sys.stdout.write(bench_page.figures({name: found}) + "\n")
        sys.stdout.flush()
    return 0


def keep(name: str, part: dict[str, Any]) -> None:
    """The part's figures are in docs/performance.json and on the page."""
    results = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    results[name] = part
    ordered = {each: results[each] for each in PARTS if each in results}
    KEPT.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(bench_page.renewed(PAGE.read_text(encoding="utf-8"), ordered), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
