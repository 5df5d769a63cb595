"""Workers of which one has died with what others wait for, or cannot do what it takes."""

import asyncio
from pathlib import Path
from typing import Any

from cluster_rules import Ended, broken
from cluster_support import RETRY, Cluster, accounts, cluster, everywhere, profiles, quotas
from postgres import Database
from soaking import SOAKS

NAMES: list[dict[str, Any]] = [{"attributes": {"name": "new-{id}"}}]
NONE_LEFT = """
CREATE FUNCTION not_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER step_not_kept BEFORE INSERT ON step FOR EACH ROW WHEN (NEW.phase = 'not_started')
  EXECUTE FUNCTION not_kept();
"""


def manifest(c: Cluster, count: int, *, changes: list[dict[str, Any]] = NAMES, **limits: Any) -> Path:
    return c.bench.manifest(
        accounts=profiles(count),
        targets=everywhere(count),
        changes=changes,
        limits={"rate": "50/1s", **limits},
        retry=RETRY,
    )


def scenario(count: int, seconds: float, **faults: Any) -> dict[str, Any]:
    """So long a change takes."""
    durations = {"attributes": seconds, "password": seconds}
    return {**accounts(count), "quotas": quotas("50/1s"), "durations": durations, **faults}


async def in_change(c: Cluster) -> None:
    await c.until("SELECT 1 FROM last WHERE phase IN ('armed', 'settling')")


async def well(c: Cluster, run_id: str, *, rows: int, **limits: int) -> None:
    await c.ended(run_id)
    ended = Ended(c, run_id, {})
    assert broken(ended, rate=50, **{"changing": None, "max_failures": None, **limits}) == []
    assert ended.report["run"]["counts"]["changed"] == rows
    c.no_bug()


async def test_what_a_killed_worker_held_is_rescued(tmp_path: Path, database: Database) -> None:
    """Though the only worker left can work on one lane, and is at the one that waits for the other's place."""
    async with cluster(tmp_path, database, instances=8, faults=scenario(2, 2.0)) as c:
        first = await c.work(lanes=1)
        run_id = await c.submit(manifest(c, 1, changing=1))
        await in_change(c)
        await c.kill(first)
        second = await c.work(lanes=1)
        await well(c, run_id, rows=4, changing=1)
        assert "what is in change of chunk" in second.said


@SOAKS
async def test_what_a_drained_worker_held_is_rescued(tmp_path: Path, database: Database) -> None:
    """It ended before the row had settled."""
    async with cluster(tmp_path, database, instances=8, faults=scenario(2, 3.0)) as c:
        first = await c.work(1, "--drain", "0s", lanes=1)
        run_id = await c.submit(manifest(c, 1, changing=1))
        await in_change(c)
        assert await first.end() == 0
        second = await c.work(lanes=1)
        await well(c, run_id, rows=4, changing=1)
        assert "what is in change of chunk" in second.said


@SOAKS
async def test_a_worker_without_credentials_leaves_all_to_another(tmp_path: Path, database: Database) -> None:
    """Though the other one is at work on another chunk all the time, and it is free for everything."""
    async with cluster(tmp_path, database, instances=16, faults=scenario(2, 5.0)) as c:
        await c.work(lanes=1)
        run_id = await c.submit(manifest(c, 2))
        await in_change(c)
        poor = await c.work(lanes=8, environ={"HOME": str(tmp_path / "nowhere")})
        await well(c, run_id, rows=16)
        tried = [line for line in poor.said.splitlines() if "rows of wave" in line]
        assert 1 <= len(tried) == len(set(tried))
        assert database.execute("SELECT count(*) FROM chunk WHERE state <> 'done'") == [(0,)]


async def test_a_worker_for_another_endpoint_takes_nothing(tmp_path: Path, database: Database) -> None:
    """Who follows the run sees what is missing."""
    async with cluster(tmp_path, database, instances=4, faults=scenario(2, 0.2)) as c:
        other = await c.work(1, "--endpoint", "http://127.0.0.1:9", lanes=8)
        run_id = await c.submit(manifest(c, 1))
        await c.until("SELECT 1 FROM campaign WHERE trouble LIKE 'no worker for the endpoint %%'")
        await c.work(lanes=1)
        await well(c, run_id, rows=2)
        assert database.execute("SELECT trouble FROM campaign") == [(None,)]
        assert run_id not in other.said


@SOAKS
async def test_a_chunk_that_is_left_in_change_stops_its_run(tmp_path: Path, database: Database) -> None:
    """Nobody gives back the place for which the others wait; the run can be resumed."""
    async with cluster(tmp_path, database, instances=8, faults=scenario(2, 2.0)) as c:
        first = await c.work(lanes=1)
        run_id = await c.submit(manifest(c, 2, changing=1))
        await in_change(c)
        await c.kill(first)
        await c.work(lanes=2, environ={"HOME": str(tmp_path / "nowhere")})
        holder = "SELECT n FROM chunk, slot WHERE seq = ANY(rows) AND troubles > 0"
        ((n,),) = await c.until(holder)
        long_ago = (
            "UPDATE chunk SET troubles = 4, troubled_at = now() - interval '61 s', not_before = now() WHERE n = %s"
        )
        database.execute(long_ago, n)
        await c.ended(run_id)
        assert Ended(c, run_id, {}).report["run"]["stopped_by"] == "store"
        assert database.execute("SELECT stopping FROM campaign") == [("store",)]
        assert "profile" in str(database.execute("SELECT trouble FROM chunk WHERE n = %s", n))
        await c.work(lanes=1)
        for worker in c.workers[1:2]:
            assert await worker.end() == 0
        result = await c.bench.run("resume", run_id, "--store", database.url)
        assert result.code == 0, result.err
        await c.ended(run_id)
        assert database.execute("SELECT phase, count(*) FROM last GROUP BY 1") == [("changed", 8)]
        c.no_bug()


async def test_resume_takes_up_whole_instances(tmp_path: Path, database: Database) -> None:
    """Of which the first kind failed, and nobody had written down yet that the next one is not started: it never is."""
    refused = {"fraction": 1.0, "api": "ModifyInstanceAttribute", "code": "InvalidParameter"}
    database.execute(NONE_LEFT)
    async with cluster(tmp_path, database, instances=4, faults=scenario(1, 0.2, refuse=[refused])) as c:
        await c.work()
        changes = [*NAMES, {"password": {"generate": {"length": 24}}}]
        run_id = await c.submit(c.bench.manifest(targets=c.bench.targets(4), changes=changes, retry=RETRY))
        await c.ended(run_id)
        phases = "SELECT phase, count(*) FROM last GROUP BY 1 ORDER BY 1"
        assert database.execute(phases) == [("failed", 4), ("planned", 4)]
        database.execute("DROP TRIGGER step_not_kept ON step")
        await asyncio.to_thread(c.sim.cloud.calls.clear)
        result = await c.bench.run("resume", run_id, "--store", database.url)
        assert result.code == 0, result.err
        await c.ended(run_id)
        assert database.execute(phases) == [("failed", 4), ("not_started", 4)]
        assert [call.api for call in c.sim.cloud.calls if call.api.startswith("Modify")] == []
