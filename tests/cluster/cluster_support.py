"""Workers as processes, a simulator in this one, and a database that keeps book of who wrote when."""

import asyncio
import itertools
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from fleet_support import write_profiles
from postgres import Database
from whole_support import WIDE, Bench, bench

from batchmod.sim.server import Running

LOOK = 0.05  # seconds between two looks at what tells nobody
RETRY: dict[str, Any] = {"settle_quiet": "1s", "max_delay": "1s", "fence": "2s"}
AUDIT = """
ALTER TABLE step ADD COLUMN noted_at double precision DEFAULT extract(epoch FROM clock_timestamp());
CREATE TABLE taken (key text, epoch bigint, holder text, at double precision);
CREATE FUNCTION note_taken() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO taken VALUES (NEW.key, NEW.epoch, NEW.holder, extract(epoch FROM clock_timestamp()));
  RETURN NULL;
END $$;
CREATE TRIGGER lease_taken AFTER UPDATE ON lease FOR EACH ROW WHEN (NEW.epoch > OLD.epoch) EXECUTE FUNCTION note_taken();
CREATE TABLE most (run text, pool text, wave integer, places integer, at double precision);
CREATE FUNCTION note_most() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO most SELECT run, pool, wave, count(*), extract(epoch FROM clock_timestamp())
    FROM slot GROUP BY GROUPING SETS ((run, pool), (run, pool, wave));
  RETURN NULL;
END $$;
CREATE TRIGGER slot_taken AFTER INSERT ON slot FOR EACH STATEMENT EXECUTE FUNCTION note_most();
"""
"""When each step was written, who took which lease when, and how many places of each pool were ever taken at once."""


@dataclass(eq=False)
class Worker:
    """One process; what it says goes to a file."""

    process: asyncio.subprocess.Process
    log: Path
    frozen: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    async def end(self) -> int:
        """Told to end, it does so: its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)


@dataclass
class Cluster:
    """Some workers, their database and their cloud."""

    bench: Bench
    database: Database
    workers: list[Worker] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)  # of the database
    frosts: list[tuple[float, float, int]] = field(default_factory=list)  # of a process
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def sim(self) -> Running:
        return self.bench.sim

    async def work(
        self,
        count: int = 1,
        *arguments: str,
        url: str | None = None,
        lanes: int = 4,
        environ: Mapping[str, str] | None = None,
    ) -> Worker:
        """So many workers more, with these variables as they are given; the last of them."""
        for _ in range(count):
            log = self.bench.folder / f"worker-{next(self._numbers)}.log"
            with log.open("wb") as file:
                process = await asyncio.create_subprocess_exec(
                    *(self.bench.python, "-m", "batchmod", "worker", "--store", url or self.database.url),
                    *("--lanes", str(lanes), *arguments),
                    cwd=self.bench.folder,
                    env={**self.bench.environ, **(environ or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
            self.workers.append(Worker(process, log))
        return self.workers[-1]

    async def submit(self, manifest: Path) -> str:
        """The run's id."""
        result = await self.bench.run("submit", str(manifest), "--store", self.database.url, "--yes")
        assert result.code == 0, result.err
        return result.out.strip()

    async def ended(self, run_id: str, seconds: float = 90) -> None:
        """Returns once workers have nothing to do with the run any more."""
        await self.until("SELECT 1 FROM campaign WHERE run = %s AND state = 'ended'", run_id, seconds=seconds)

    async def until(self, query: str, *values: object, seconds: float = 60) -> list[tuple[Any, ...]]:
        """What the query finds, once that is anything. A database that is away has nothing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := await asyncio.to_thread(self.asked, query, *values):
                return found
            await asyncio.sleep(LOOK)
        raise AssertionError(f"not within {seconds} s: {query}\n{self.said()}")

    def asked(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Nothing from a database that is away."""
        try:
            return self.database.execute(query, *values)
        except psycopg.OperationalError:
            return []

    async def steps(self, run_id: str, count: int, *, seconds: float = 60) -> None:
        """Returns once the journal has so many of the run."""
        await self.until("SELECT 1 FROM step WHERE run = %s OFFSET %s LIMIT 1", run_id, count - 1, seconds=seconds)

    async def holds(self, worker: Worker, like: str = "lane:%") -> list[str]:
        """The leases that this process has, by the book."""
        query = "SELECT key FROM lease WHERE holder LIKE %s AND key LIKE %s ORDER BY key"
        found = await asyncio.to_thread(self.asked, query, f"%:{worker.pid}:%", like)  # the simulator goes on meanwhile
        return [str(key) for (key,) in found]

    async def holding(self, like: str = "lane:%") -> Worker:
        """A worker that has such a lease, and is alive and not frozen; any of them."""
        for _ in range(round(60 / LOOK)):
            for worker in random.sample(self.workers, len(self.workers)):
                if worker.process.returncode is None and not worker.frozen and await self.holds(worker, like):
                    return worker
            await asyncio.sleep(LOOK)
        raise AssertionError(f"nobody holds {like}\n{self.said()}")

    async def kill(self, worker: Worker) -> None:
        worker.kill()
        await worker.process.wait()

    async def outage(self, seconds: float, how: str = "immediate") -> None:
        """The database is away for a while; what was written to it is there afterwards."""
        began = time.time()
        await asyncio.to_thread(self.database.stop, how)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.database.start)
        self.outages.append((began, time.time()))

    def said(self) -> str:
        """All that helps to understand what went wrong."""
        tables = {
            "campaign": "SELECT now(), * FROM campaign",
            "chunks": "SELECT n, account, region, wave, state, attempts, job, not_before, troubles, trouble, refused FROM chunk ORDER BY n",
            "jobs": "SELECT id, queue_name, task_name, lock, priority, status, worker_id FROM procrastinate_jobs ORDER BY id",
            "leases": "SELECT * FROM lease ORDER BY key",
            "taken": "SELECT *, to_timestamp(at) FROM taken ORDER BY at",
            "places": "SELECT pool, wave, spent, count(*) FROM slot GROUP BY 1, 2, 3",
            "workers": "SELECT *, now() - last_heartbeat FROM procrastinate_workers ORDER BY 1",
            "sweeps": "SELECT *, to_timestamp(defer_timestamp) FROM procrastinate_periodic_defers ORDER BY id DESC LIMIT 5",
            "activity": "SELECT pid, state, wait_event, now() - xact_start, pg_blocking_pids(pid), query FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "phases": "SELECT phase, count(*) FROM last GROUP BY 1",
            "steps": "SELECT to_timestamp(floor(noted_at)), count(*), count(DISTINCT epoch) FROM step GROUP BY 1 ORDER BY 1",
        }
        found = [
            f"--- {name}\n" + "\n".join("  ".join(map(str, row)) for row in self.asked(query))
            for name, query in tables.items()
        ]
        return "\n".join([*found, self._logs()])

    def _logs(self) -> str:
        return "\n".join(f"--- {worker.log.name}\n{worker.said[-3000:]}" for worker in self.workers)

    def no_bug(self) -> None:
        """No worker met what nobody foresaw."""
        for worker in self.workers:
            assert "Traceback" not in worker.said, worker.said
            assert "a bug" not in worker.said, worker.said

    async def stored(self) -> dict[str, list[dict[str, Any]]]:
        """Every password, by instance."""
        result = await self.bench.run("secrets", "export", "--store", self.database.url)
        assert result.code == 0, result.err
        found: dict[str, list[dict[str, Any]]] = {}
        for record in _json(result.out):
            found.setdefault(record["instance_id"], []).append(record)
        return found


def _json(text: str) -> list[dict[str, Any]]:
    import json  # noqa: PLC0415

    return list(json.loads(text))


@asynccontextmanager
async def cluster(
    folder: Path, database: Database, *, instances: int, faults: Mapping[str, Any], remembered: int = 100_000
) -> AsyncIterator[Cluster]:
    """No worker yet; whatever is there at the end of the block is killed."""
    database.execute(AUDIT)
    async with bench(folder, instances=instances, faults=faults, remembered=remembered) as b:
        if len(b.sim.accounts) > 1:
            write_profiles(b, **{f"a{n}": account for n, account in enumerate(sorted(b.sim.accounts))})
        made = Cluster(b, database)
        try:
            yield made
        finally:
            for worker in made.workers:
                if worker.process.returncode is None:
                    await made.kill(worker)


def accounts(count: int) -> dict[str, Any]:
    """The simulator's side of so many accounts in two regions."""
    ids = [f"{1_000_000_000_000_001 + n}" for n in range(count)]
    return {"accounts": {each: {} for each in ids}, "regions": ["cn-hangzhou", "cn-shanghai"]}


def profiles(count: int) -> dict[str, Any]:
    """The manifest's side."""
    return {f"a{n}": {"profile": f"a{n}"} for n in range(count)}


def everywhere(count: int) -> list[dict[str, Any]]:
    return [{"select": {"account": f"a{n}", "regions": ["cn-hangzhou", "cn-shanghai"]}} for n in range(count)]


def quotas(writes: str) -> dict[str, str]:
    """The cloud's own: reads are free, writes are not."""
    return {**dict.fromkeys(WIDE, "5000/1s"), "ModifyInstanceAttribute": writes}
