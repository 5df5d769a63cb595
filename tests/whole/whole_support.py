"""The product as its users have it: the command as a process, against a simulator in this one."""

import asyncio
import csv
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forks import forks

from batchmod.sim.book import REMEMBERED_CALLS
from batchmod.sim.server import Running, SimOptions, running

WIDE = (
    "default",
    "DescribeInstances",
    "DescribeInstanceAttribute",
    "ModifyInstanceAttribute",
    "ModifyInstanceTDE",
    "DescribeInstanceTDEStatus",
)
FAST = {
    "quotas": dict.fromkeys(WIDE, "5000/1s"),
    "durations": {"attributes": 0.05, "password": 0.05, "tde": 0.05},
    "lag": 0.0,
}
LIMITS = {"rate": "3000/1s"}
RETRY = {"max_delay": "1s", "settle_quiet": "1s", "fence": "2s", "settle_timeout": "30s", "busy_timeout": "30s"}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class CloudClock:
    """What the simulator takes for the time: `ahead` seconds from `base`, also when that is changed while it serves."""

    base: Callable[[], float]
    ahead: float = 0.0

    def __call__(self) -> float:
        return self.base() + self.ahead


@dataclass(frozen=True)
class Bench:
    """A working directory with a manifest, a simulator, and the environment of an operator."""

    folder: Path
    sim: Running
    environ: Mapping[str, str]
    cloud_clock: CloudClock

    @property
    def python(self) -> str:
        return sys.executable

    def manifest(self, **sections: Any) -> Path:
        """Writes job.yaml; what is not said is fast and small."""
        body = {
            "version": 1,
            "name": "job",
            "defaults": {"region": "cn-hangzhou"},
            "limits": LIMITS,
            "retry": RETRY,
            **sections,
        }
        path = self.folder / "job.yaml"
        path.write_text(json.dumps(body), encoding="utf-8")
        return path

    def targets(self, count: int) -> list[dict[str, str]]:
        return [{"id": f"r-sim{n:06d}", "region": ("cn-hangzhou", "cn-shanghai")[n % 2]} for n in range(count)]

    async def start(
        self, *arguments: str, environ: Mapping[str, str | None] | None = None, stdout: int = asyncio.subprocess.PIPE
    ) -> asyncio.subprocess.Process:
        return await self._start("-m", "batchmod", *arguments, environ=environ, stdout=stdout)

    async def start_program(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        """A Python program of a test's own, with the operator's environment."""
        return await self._start("-c", program, *arguments, environ=None, stdout=asyncio.subprocess.PIPE)

    async def start_shell(self, script: str) -> asyncio.subprocess.Process:
        """A line of bash; $PYTHON is this interpreter."""
        return await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script,
            cwd=self.folder,
            env={**self.environ, "PYTHON": self.python},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    def _environ(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        return {name: value for name, value in {**self.environ, **(changes or {})}.items() if value is not None}

    async def _start(
        self, *arguments: str, environ: Mapping[str, str | None] | None, stdout: int
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self.folder,
            env=self._environ(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, environ: Mapping[str, str | None] | None = None) -> Result:
        """The command in a process of its own: what it does counts, not how it starts."""
        env = self._environ(environ)
        async with asyncio.timeout(120):
            if forks().can(env):
                return Result(*await forks().run(arguments, folder=self.folder, environ=env))
            process = await self.start(*arguments, environ=environ)
            out, err = await process.communicate()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    def report(self) -> dict[str, Any]:
        """The newest JSON report; the CSV beside it says the same."""
        path = max((self.folder / "reports").glob("*.json"), key=lambda found: found.stat().st_mtime_ns)
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        with path.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["outcome"] for row in rows] == [row["outcome"] for row in report["rows"]]
        assert sum(report["run"]["counts"].values()) == len(report["rows"])
        return report

    def outcomes(self) -> dict[str, int]:
        return {name: count for name, count in self.report()["run"]["counts"].items() if count}

    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*"))

    def truth(self, instance_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sim.cloud.state()["instances"][instance_id]
        return found

    def calls(self, api: str) -> int:
        return sum(self.sim.cloud.state()["calls"].get(api, {}).values())

    def modifying_calls(self) -> int:
        return self.calls("ModifyInstanceAttribute") + self.calls("ModifyInstanceTDE")

    async def stored(self) -> dict[str, dict[str, str]]:
        """Password by instance and stage, as `secrets export` tells it."""
        result = await self.run("secrets", "export")
        assert result.code == 0, result.err
        found: dict[str, dict[str, str]] = {}
        for record in json.loads(result.out):
            found.setdefault(record["instance_id"], {})[record["stage"]] = record["password"]
        return found


async def reaches(b: Bench, api: str, count: int) -> None:
    """Returns once the simulator has answered so many calls."""
    async with asyncio.timeout(30):
        while b.calls(api) < count:  # noqa: ASYNC110  the simulator has no event for it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def bench(
    folder: Path,
    *,
    instances: int = 20,
    faults: Mapping[str, Any] | None = None,
    speed: float = 1.0,
    clock: Callable[[], float] = time.time,
    remembered: int = REMEMBERED_CALLS,
) -> AsyncIterator[Bench]:
    """A fresh simulator and an empty folder with a key of its own."""
    forks()
    scenario = folder / "faults.json"
    scenario.write_text(json.dumps({**FAST, **(faults or {})}), encoding="utf-8")
    cloud_clock = CloudClock(clock)
    options = SimOptions(instances=instances, faults=scenario, speed=speed, clock=cloud_clock, remembered=remembered)
    async with running(options) as sim:
        environ = {
            **os.environ,
            "BATCHMOD_ENDPOINT": sim.endpoint,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": sim.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": sim.access_key_secret,
        }
        yield Bench(folder, sim, environ, cloud_clock)
