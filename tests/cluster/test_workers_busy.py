"""A worker that is busy with one thing, or whose database stands still: the rest goes on, and it can be ended."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
from cluster_support import Cluster, Worker
from postgres import Database
from soaking import SOAKS
from test_workers_hand_over import at_work, manifest, says, well

from batchmod.cluster.lease import FREE

AWAY = "no renewal of the leases was answered for 4 s; looked for again until it is back"


async def test_a_conductor_that_reads_for_long_is_still_the_one(tmp_path: Path, database: Database) -> None:
    """All rows are read between two waves; what they are read from is locked for longer than a lease is valid."""
    check = tmp_path / "check.sh"
    check.write_text("#!/bin/sh\ntouch checked\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    check.chmod(0o755)
    async with at_work(tmp_path, database, count=8) as c:
        await c.work()
        run_id = await c.submit(manifest(c, 8, rollout={"waves": ["50%", "100%"], "check": ["./check.sh"]}))
        async with asyncio.timeout(60):
            while not (tmp_path / "checked").exists():  # noqa: ASYNC110  a file tells nobody
                await asyncio.sleep(0.02)
        with psycopg.connect(database.url, options="-c search_path=batchmod") as holding:
            holding.execute("LOCK TABLE planned IN ACCESS EXCLUSIVE MODE")
            (tmp_path / "go").touch()
            waits = "SELECT 1 FROM pg_locks WHERE relation = 'batchmod.planned'::regclass AND NOT granted"
            await c.until(waits)
            await asyncio.sleep(FREE + 2)
        await well(c, run_id)
        assert database.execute("SELECT attempts FROM campaign") == [(1,)]
        assert database.execute("SELECT epoch FROM lease WHERE key LIKE 'run:%%'") == [(1,)]


def slow_report(worker: Worker, folder: Path, run_id: str) -> Path:
    """Where this worker will write the report: whoever opens it waits for somebody who reads."""
    path = folder / "reports" / f"job-{run_id}.csv.{worker.pid}.part"
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    return path


def half(c: Cluster, n: int, **sections: Any) -> Path:
    """A manifest of four instances."""
    return manifest(c, targets=c.bench.targets(8)[4 * n :][:4], **sections)


@SOAKS
async def test_a_report_that_takes_long_keeps_nothing_up(tmp_path: Path, database: Database) -> None:
    """Another campaign begins and ends meanwhile in the same worker, which stays the conductor of the first."""
    async with at_work(tmp_path, database, count=8) as c:
        worker = await c.work()
        first = await c.submit(half(c, 0, report={"formats": ["csv"]}))
        report = slow_report(worker, tmp_path, first)
        await c.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM chunk WHERE state <> 'done')")
        await asyncio.sleep(FREE)
        other = await c.submit(half(c, 1, name="other"))
        await c.ended(other)
        ran = "SELECT state, attempts FROM campaign WHERE run = %s"
        assert database.execute(ran, first) == [("open", 1)]
        rows = (await asyncio.to_thread(report.read_bytes)).splitlines()
        await c.ended(first)
        assert len(rows) == 9
        assert database.execute(ran, first) == [("ended", 1)]
        assert await worker.end() == 0
        c.no_bug()


async def test_a_worker_that_hangs_is_ended_by_the_second_signal(tmp_path: Path, database: Database) -> None:
    """Whatever hangs."""
    async with at_work(tmp_path, database, count=8) as c:
        worker = await c.work()
        run_id = await c.submit(half(c, 0, report={"formats": ["csv"]}))
        slow_report(worker, tmp_path, run_id)
        await c.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM chunk WHERE state <> 'done')")
        await asyncio.sleep(FREE)
        worker.process.send_signal(signal.SIGTERM)
        await says(worker, "ending:")
        began = time.monotonic()
        assert await worker.end() == 130
        assert 2 <= time.monotonic() - began < 5
        assert worker.said.endswith("left at once: what was open is settled by other workers\n")


@SOAKS
async def test_a_database_that_stands_still(tmp_path: Path, database: Database) -> None:
    """A worker says so once, ends when it is told to, and at once when it is told twice; another one goes on afterwards."""
    async with at_work(tmp_path, database) as c:
        await c.work(3)
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        once, twice, stays = c.workers
        with database.frozen():
            sent = time.monotonic()
            for worker in c.workers:
                await says(worker, AWAY)
            assert time.monotonic() - sent < 8
            calls = c.bench.modifying_calls()
            twice.process.send_signal(signal.SIGTERM)
            twice.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(twice.process.wait(), 5) == 130
            assert await once.end() == 0
            await asyncio.sleep(2 * FREE)
            assert c.bench.modifying_calls() == calls
        await says(stays, "works on", times=2)
        await well(c, run_id)
        for worker in c.workers:
            assert worker.said.count(database.name) == worker.said.count("works on") + 1, worker.said
            assert "warning of" not in worker.said


@SOAKS
async def test_a_worker_that_is_ending_while_the_database_stands_still(tmp_path: Path, database: Database) -> None:
    """It ends by itself."""
    async with at_work(tmp_path, database, seconds=3.0) as c:
        worker = await c.work()
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        with database.frozen():
            began = time.monotonic()
            assert await worker.end() == 0
            assert time.monotonic() - began < 12
        assert "answered for 4 s; what is open is left to other workers" in worker.said
        await c.work()
        await well(c, run_id)
