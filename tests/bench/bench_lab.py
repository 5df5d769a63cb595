"""Where a benchmark works: a folder, a HOME and an environment of its own, a simulator, and children that are measured."""

import contextlib
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_book import Called

HERE = Path(__file__).parent
NO_QUOTA = "quotas: {default: 1000000/1s, DescribeInstanceAttribute: 1000000/1s}\nregions: [cn-hangzhou]\n"
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR")  # of our own environment; all else is the benchmark's


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a child cost, from its start to its end."""

    code: int
    wall: float  # seconds
    cpu: float  # seconds, user and system, with its own children
    max_rss: int  # bytes
    out: str
    began: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sim:
    """A simulator that serves. One that dies takes the benchmark with it: the next order fails."""

    process: subprocess.Popen[str] = field(repr=False)
    said: Mapping[str, Any] = field(repr=False)
    folder: Path

    def order(self, what: str, **how: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise TypeError("the simulator has no pipes")
        stdin.write(json.dumps({"do": what, **how}) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def mark(self) -> float:
        """Every task has ended and the book is empty; the CPU seconds that the simulator has used so far."""
        return float(self.order("mark"))

    def usage(self) -> float:
        return float(self.order("usage"))

    def book(self) -> list[Called]:
        """Every call since the last mark, in order of arrival."""
        return [Called(at=at, api=api, code=code) for at, api, code in self.order("book")]

    def set_quota(self, api: str, calls: int, seconds: float) -> float:
        """From the returned moment on (seconds since the epoch) the API has this quota."""
        return float(self.order("quota", api=api, calls=calls, seconds=seconds))

    def endpoint(self, *, tls: bool) -> str:
        return str(self.said["tls_endpoint" if tls else "endpoint"])

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """A child's: the key is in it, and nothing of this machine's that could matter."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "HOME": str(home),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.said["access_key_id"],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.said["access_key_secret"],
            "BATCHMOD_ENDPOINT": self.endpoint(tls=tls),
            "SSL_CERT_FILE": self.said["ca"],
        }


@contextlib.contextmanager
def simulator(folder: Path, *, instances: int, faults: str = NO_QUOTA, speed: float = 1.0) -> Iterator[Sim]:
    """A simulator as long as the block, and in `folder` its fleet as fleet.csv."""
    folder.mkdir(parents=True)
    (folder / "faults.yaml").write_text(faults, encoding="utf-8")
    arguments = [sys.executable, str(HERE / "bench_host.py"), str(folder), str(instances), str(speed)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise TypeError("the simulator has no pipes")
        first = process.stdout.readline()
        if not first:
            raise RuntimeError("the simulator did not start: it has said why")
        said = json.loads(first)
        sim = Sim(process=process, said=said, folder=folder)
        with (folder / "fleet.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "region"), *sim.order("fleet")])
        try:
            yield sim
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def child(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Used:
    """The arguments have run to their end; what they said is in `child.out` and `child.err` in `folder`."""
    result = folder / "child.json"
    command = [sys.executable, "-I", str(HERE / "bench_spawn.py"), str(result), *arguments]
    with (folder / "child.err").open("wb") as errors, (folder / "child.out").open("wb") as output:
        subprocess.run(command, env=environment, cwd=folder, stdout=output, stderr=errors, check=True)
    used = json.loads(result.read_text(encoding="utf-8"))
    return Used(out=(folder / "child.out").read_text(encoding="utf-8"), **used)


def complaint(folder: Path) -> str:
    """The end of what the last child said on stderr."""
    return (folder / "child.err").read_text(encoding="utf-8")[-2000:]
