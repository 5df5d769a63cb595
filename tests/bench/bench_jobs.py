"""batchmod itself under measurement: a manifest, `batchmod run` as a process, and what its report says."""

import json
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench_lab import Sim, Used, child, complaint

BATCHMOD = str(Path(sys.executable).parent / "batchmod")
UNLIMITED = "{rate: 1000000/1s, apis: {DescribeInstanceAttribute: 1000000/1s}, connections: 64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One `batchmod run`: what the process cost, and what its report says."""

    used: Used
    run: dict[str, Any]

    @property
    def seconds(self) -> float:
        """From the report's started_at to its finished_at."""
        times = (datetime.fromisoformat(self.run[name]) for name in ("started_at", "finished_at"))
        started, finished = times
        return (finished - started).total_seconds()

    @property
    def changed(self) -> int:
        return int(self.run["counts"]["changed"])


def manifest(changes: str, *, limits: str = UNLIMITED, targets: str = "fleet.csv", more: str = "") -> str:
    return (
        "version: 1\nname: bench\ndefaults: {region: cn-hangzhou}\n"
        f"targets: [{{from: {targets}}}]\nchanges: [{changes}]\nlimits: {limits}\n{more}"
    )


def run(sim: Sim, text: str, *extra: str, tls: bool = False) -> Ran:
    """The manifest has been run to its end in a state directory of its own, with journal and both reports.

    Raises RuntimeError with what it said when it did not end with 0.
    """
    folder = sim.folder
    job, reports = folder / "job.yaml", folder / "reports"
    for old in (folder / "state", reports, folder / "home"):
        shutil.rmtree(old, ignore_errors=True)
    job.write_text(text, encoding="utf-8")
    arguments = [BATCHMOD, "run", str(job), "--yes", "--state", str(folder / "state"), "--report-dir", str(reports)]
    used = child([*arguments, *extra], sim.environment(tls=tls), folder)
    if used.code != 0:
        raise RuntimeError(f"batchmod run ended with {used.code}: {complaint(folder)}")
    (report,) = reports.glob("*.json")
    return Ran(used=used, run=json.loads(report.read_text(encoding="utf-8"))["run"])
