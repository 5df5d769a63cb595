"""What one part of the benchmark found, in a form that is the same for all: a table, limits, raw figures."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = (
    "aiohttp",
    "alibabacloud-r-kvstore20150101",
    "alibabacloud-tea-openapi",
    "aliyun-python-sdk-core",
    "asyncio-throttle",
    "batchmod",
    "orjson",
    "pydantic",
    "PyYAML",
    "uvloop",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure that must not be on the wrong side of its limit. `bound`: why the true figure may be better or worse."""

    what: str
    value: float
    limit: float
    at_most: bool
    bound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A bar chart."""

    title: str
    axis: str
    labels: Sequence[str]
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The result of one part. `rounds` are the raw figures, one entry a round; cells of rows are texts."""

    title: str
    size: str  # how much was measured: rounds, instances
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()
    bars: Sequence[Bars] = ()
    rounds: Sequence[Any] = field(default=(), repr=False)

    def kept(self) -> dict[str, Any]:
        """As JSON has it, with when and where it was measured."""
        return asdict(self) | {"at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "machine": machine()}


def machine() -> dict[str, Any]:
    """What this was measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
    }


def middle(values: Sequence[float]) -> float:
    return float(median(values))
