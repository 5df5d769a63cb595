"""One worker ends, dies, stands still or is cut off at a bad moment: another one goes on, and nothing is done twice."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cluster_proxy import proxied
from cluster_rules import Ended, broken
from cluster_support import RETRY, Cluster, Worker, cluster, quotas
from postgres import Database
from soaking import SOAKS

BOTH: list[dict[str, Any]] = [
    {"attributes": {"name": "new-{id}"}},
    {"password": {"generate": {"length": 24}}},
]
HAND_OVER = 12.0  # seconds at most
SLOW = "6/1s"  # in each of two lanes: there is time to break something
REPORTED = 0x7E57  # held by a test: whoever writes that a run is finished waits for it
HOLD_FINISHED = f"""
CREATE FUNCTION hold_finished() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock({REPORTED});
  RETURN NEW;
END $$;
CREATE TRIGGER finished_held BEFORE INSERT ON mark FOR EACH ROW
  WHEN (NEW.body LIKE '%%finished%%') EXECUTE FUNCTION hold_finished();
"""
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER step_full BEFORE INSERT ON step FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
"""


@asynccontextmanager
async def at_work(
    folder: Path, database: Database, *, count: int = 40, seconds: float = 0.2, **faults: Any
) -> AsyncIterator[Cluster]:
    """So many instances in two lanes, whose changes take so long."""
    scenario = {
        "quotas": quotas(SLOW),
        "durations": {"attributes": seconds, "password": seconds},
        **faults,
    }
    async with cluster(folder, database, instances=count, faults=scenario) as c:
        yield c


def manifest(c: Cluster, count: int = 40, **sections: Any) -> Path:
    given = {"limits": {"rate": SLOW}, "retry": RETRY, "targets": c.bench.targets(count), "changes": BOTH, **sections}
    return c.bench.manifest(**given)


async def well(c: Cluster, run_id: str, **limits: int) -> Ended:
    """All that holds of every campaign holds of this one, which has ended."""
    await c.ended(run_id)
    ended = Ended(c, run_id, await c.stored())
    assert broken(ended, rate=6, **{"changing": None, "max_failures": None, **limits}) == []
    c.no_bug()
    return ended


async def says(worker: Worker, text: str, *, times: int = 1) -> None:
    async with asyncio.timeout(30):
        while worker.said.count(text) < times:  # noqa: ASYNC110  a file tells nobody
            await asyncio.sleep(0.02)


async def taken_over(c: Cluster, run_id: str, lanes: Mapping[str, int]) -> float:
    """When each of these lanes, held so far under these epochs, has a step of a later one."""
    query = """SELECT min(noted_at) FROM step JOIN planned USING (run, seq) WHERE run = %s AND epoch > %s
      AND 'lane:' || account_id || '/' || region = %s HAVING count(*) > 0"""
    return max(
        [
            float((await c.until(query, run_id, epoch, lane, seconds=HAND_OVER + 3))[0][0])
            for lane, epoch in lanes.items()
        ]
    )


def epochs(c: Cluster) -> dict[str, int]:
    """Of every lane that somebody holds."""
    found = c.asked("SELECT key, epoch FROM lease WHERE key LIKE 'lane:%%' AND holder IS NOT NULL")
    return {str(key): int(epoch) for key, epoch in found}


async def test_a_worker_that_was_frozen_wakes_up_and_does_nothing(tmp_path: Path, database: Database) -> None:
    """What it was at is somebody else's: it sends nothing, writes nothing, and begins anew."""
    async with at_work(tmp_path, database) as c:
        first = await c.work()
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        first.freeze()
        lanes = epochs(c)
        await c.work()
        await taken_over(c, run_id, lanes)
        first.thaw()
        await says(first, "works on", times=2)
        assert await first.end() == 0
        ended = await well(c, run_id)
        assert len(lanes) == 2
        assert ended.report["run"]["counts"]["changed"] == 80


async def test_a_worker_that_is_told_to_end_leaves_nothing_in_doubt(tmp_path: Path, database: Database) -> None:
    """What it has sent settles, then another worker has its lanes at once."""
    async with at_work(tmp_path, database, seconds=1.0) as c:
        first = await c.work()
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 30)
        second = await c.work()
        await says(second, "works on")
        lanes = epochs(c)
        assert await first.end() == 0
        ended_at = time.time()
        assert await taken_over(c, run_id, lanes) - ended_at < 3
        ended = await well(c, run_id)
        assert {step.phase for step in ended.steps} & {"in doubt", "rearmed", "watching"} == set()
        assert "ending:" in first.said


async def test_who_has_a_lane_next_is_told_when_it_was_last_written(tmp_path: Path, database: Database) -> None:
    """By the clock of the database: the last change, not the looks that came after it."""
    async with at_work(tmp_path, database, count=4, seconds=2.0) as c:
        await c.work()
        ended = await well(c, await c.submit(manifest(c, 4, changes=BOTH[:1])))
        await c.until("SELECT 1 FROM lease WHERE key ~ '^lane:' HAVING bool_and(written_at IS NOT NULL)")
        last = max(call.at for call in ended.writes)
        ((told,),) = database.execute(
            "SELECT extract(epoch FROM max(written_at))::float8 FROM lease WHERE key ~ '^lane:'"
        )
        assert last - 0.1 <= float(str(told)) <= last + 1.0


async def test_told_twice_it_is_gone_at_once(tmp_path: Path, database: Database) -> None:
    """What it had sent is in doubt, and settled by the next one."""
    async with at_work(tmp_path, database, count=8, seconds=5.0) as c:
        first = await c.work()
        run_id = await c.submit(manifest(c, 8, changes=BOTH[:1]))
        await c.steps(run_id, 8)
        first.process.send_signal(signal.SIGTERM)
        await says(first, "ending:")
        began = time.monotonic()
        assert await first.end() == 130
        assert time.monotonic() - began < 3
        await c.work()
        await well(c, run_id)


async def test_a_conductor_dies_at_a_gate_and_in_the_next_wave(tmp_path: Path, database: Database) -> None:
    """A check that nobody saw the end of runs again; a gate that was opened is open; consumers hear of each wave once."""
    check, consumer = tmp_path / "check.sh", tmp_path / "consumer.sh"
    check.write_text('#!/bin/sh\necho "$BATCHMOD_WAVE" >> checked\nwhile [ ! -e go ]; do sleep 0.05; done\n')
    consumer.write_text("#!/bin/sh\ncat > /dev/null\necho told >> told\n")
    for each in (check, consumer):
        each.chmod(0o755)
    async with at_work(tmp_path, database, count=16) as c:
        await c.work(2)
        rollout = {"waves": ["50%", "100%"], "check": ["./check.sh"]}
        consumers = [{"run": ["./consumer.sh"], "per": "wave"}]
        run_id = await c.submit(manifest(c, 16, rollout=rollout, consumers=consumers))
        for times in (1, 2):
            await until_lines(tmp_path / "checked", times)
            if times == 1:
                await c.kill(await c.holding(f"run:{run_id}"))
                await c.work()
        (tmp_path / "go").touch()
        await c.until("SELECT 1 FROM chunk WHERE run = %s AND wave = 2 AND attempts > 0", run_id)
        await c.kill(await c.holding(f"run:{run_id}"))
        await c.work()
        ended = await well(c, run_id)
        assert (tmp_path / "checked").read_text(encoding="utf-8").split() == ["1", "1"]
        assert (tmp_path / "told").read_text(encoding="utf-8").split() == ["told", "told"]
        assert ended.report["run"]["counts"]["changed"] == 32
        opened = database.execute("SELECT body FROM mark WHERE run = %s AND body LIKE '%%wave opened%%'", run_id)
        assert [json.loads(str(body))["wave"] for (body,) in opened] == [2]


async def until_lines(path: Path, count: int) -> None:
    async with asyncio.timeout(60):
        while lines_of(path) < count:  # noqa: ASYNC110  a file tells nobody
            await asyncio.sleep(0.02)


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").split()) if path.exists() else 0


@SOAKS
async def test_a_conductor_dies_while_it_writes_the_report(tmp_path: Path, database: Database) -> None:
    """The next one writes it, and the run is finished once."""
    database.execute(HOLD_FINISHED)
    async with at_work(tmp_path, database, count=8) as c:
        await c.work(2)
        with psycopg.connect(database.url, autocommit=True) as holding:
            holding.execute("SELECT pg_advisory_lock(%s)", (REPORTED,))
            run_id = await c.submit(manifest(c, 8))
            await c.until("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", REPORTED)
            assert list((tmp_path / "reports").glob(f"*{run_id}.json"))
            await c.kill(await c.holding(f"run:{run_id}"))
        ended = await well(c, run_id)
        assert ended.report["run"]["counts"]["changed"] == 16


@SOAKS
@pytest.mark.parametrize("how", ["silent", pytest.param("cut", marks=SOAKS)])
async def test_a_worker_that_alone_does_not_reach_the_database(tmp_path: Path, database: Database, how: str) -> None:
    """It stops by itself before another one goes on, and works again when it can."""
    async with at_work(tmp_path, database) as c, proxied(database) as proxy:
        first = await c.work(url=proxy.url)
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        lanes = epochs(c)
        await c.work()
        began = time.time()
        proxy.be(how)
        assert await taken_over(c, run_id, lanes) - began < HAND_OVER
        proxy.be("open")
        await says(first, "works on", times=2)
        await well(c, run_id)


@SOAKS
async def test_a_database_that_cannot_write_is_waited_for(tmp_path: Path, database: Database) -> None:
    """Workers say what is wrong, send nothing, and go on when it is well."""
    async with at_work(tmp_path, database) as c:
        worker = await c.work()
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        database.execute(FULL)
        await says(worker, "no space left")
        sent = c.bench.modifying_calls()
        await says(worker, "works on", times=3)
        assert c.bench.modifying_calls() == sent
        database.execute("DROP TRIGGER step_full ON step")
        ended = await well(c, run_id)
        assert ended.report["run"]["counts"]["changed"] == 80


@SOAKS
@pytest.mark.parametrize("how", ["immediate", pytest.param("fast", marks=SOAKS)])
async def test_the_database_restarts(tmp_path: Path, database: Database, how: str) -> None:
    """Nothing is sent meanwhile; the campaign goes on by itself."""
    async with at_work(tmp_path, database) as c:
        await c.work(2)
        run_id = await c.submit(manifest(c))
        await c.steps(run_id, 20)
        await c.outage(5, how)
        ended = await well(c, run_id)
        ((began, over),) = c.outages
        assert [call for call in ended.writes if began + 1 < call.at < over - 0.5] == []
        assert ended.report["run"]["counts"]["changed"] == 80


@SOAKS
async def test_the_budget_is_kept_though_workers_die(tmp_path: Path, database: Database) -> None:
    """No more rows end badly than were allowed, and the campaign stops for it."""
    refused = {"fraction": 0.5, "api": "ModifyInstanceAttribute", "code": "InvalidParameter"}
    async with at_work(tmp_path, database, refuse=[refused]) as c:
        await c.work(2, lanes=1)
        run_id = await c.submit(manifest(c, rollout={"max_failures": 5}))
        await c.until("SELECT 1 FROM slot WHERE spent OFFSET 1 LIMIT 1")
        await c.kill(await c.holding())
        await c.work()
        ended = await well(c, run_id, max_failures=5)
        assert ended.report["run"]["counts"]["failed"] == 5
        assert ended.report["run"]["stopped_by"] == "max_failures"
