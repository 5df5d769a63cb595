"""A campaign comes to its end by itself while its workers die, freeze and come back, and its database goes away."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster_rules import Ended, broken, hand_overs
from cluster_support import RETRY, Cluster, Worker, accounts, cluster, everywhere, profiles, quotas
from postgres import Database
from soaking import FACTOR

from batchmod.app.tasks import beside

HAND_OVER = 12.0  # seconds at most


Killed = list[tuple[float, Sequence[str]]]  # when, and the lanes that died with it


async def kill(c: Cluster, killed: Killed) -> None:
    """A worker that has lanes is gone, and another one is there."""
    worker = await c.holding()
    lanes = await c.holds(worker)
    killed.append((time.time(), lanes))
    await c.kill(worker)
    await c.work(lanes=len(c.workers) % 3 + 2)


@asynccontextmanager
async def frozen(c: Cluster, seconds: float) -> AsyncIterator[Worker]:
    """A worker that has lanes stands still, for so long at least."""
    worker = await c.holding()
    worker.freeze()
    began = time.time()
    yield worker
    await asyncio.sleep(began + seconds - time.time())
    worker.thaw()
    c.frosts.append((began, time.time(), worker.pid))


async def often(c: Cluster, killed: Killed, *, every: float, dice: random.Random) -> None:
    """Until it is cancelled."""
    while True:
        for pause in (every, every, HAND_OVER):
            await kill(c, killed)
            await asyncio.sleep(pause)
        async with frozen(c, dice.uniform(2, 20)):
            pass


def manifest(c: Cluster, count: int, *, max_failures: str, **limits: Any) -> Path:
    return c.bench.manifest(
        accounts=profiles(count),
        targets=everywhere(count),
        changes=[{"attributes": {"name": "new-{id}"}}, {"password": {"generate": {"length": 24}}}],
        limits=limits,
        rollout={"waves": ["10%", "100%"], "max_failures": max_failures},
        retry=RETRY,
    )


def scenario(count: int, writes: str) -> dict[str, Any]:
    refused = {"fraction": 0.01, "api": "ModifyInstanceAttribute", "code": "InvalidParameter"}
    return {
        **accounts(count),
        "quotas": quotas(writes),
        "durations": {"attributes": 0.2, "password": 0.2},
        "refuse": [refused],
    }


async def test_workers_die_and_freeze_and_the_database_restarts(tmp_path: Path, database: Database) -> None:
    """Three workers, four lanes: two are killed, one is frozen, the server is away once. Nothing is lost or sent twice."""
    async with cluster(tmp_path, database, instances=120, faults=scenario(2, "8/1s")) as c:
        await c.work(3, lanes=2)
        run_id = await c.submit(manifest(c, 2, max_failures="50%", rate="8/1s", changing=24))
        killed: Killed = []
        await c.steps(run_id, 150)  # in the second wave
        await kill(c, killed)
        ((died, lanes),) = killed
        taken = """SELECT 1 FROM step JOIN planned USING (run, seq)
          WHERE concat('lane:', account_id, '/', region) = ANY(%s) AND noted_at > %s"""
        await c.until(taken, list(lanes), died + 1)
        async with frozen(c, 9):
            await kill(c, killed)
            await c.outage(2)
        await c.ended(run_id)
        ended = Ended(c, run_id, await c.stored())
        assert broken(ended, rate=8, changing=24, max_failures=120) == []
        assert hand_overs(ended, killed), "nobody went on with what the first one had"  # how soon, the soak measures
        c.no_bug()


@pytest.mark.skipif(FACTOR == 1, reason="the form of `make soak`")
@pytest.mark.timeout(900)
async def test_the_soak(tmp_path: Path, database: Database, record_property: Callable[[str, object], None]) -> None:
    """Four workers, eight lanes, 4,000 instances."""
    async with cluster(tmp_path, database, instances=4000, faults=scenario(4, "40/1s")) as c:
        await c.work(4, lanes=4)
        began = time.time()
        run_id = await c.submit(manifest(c, 4, max_failures="5%", rate="40/1s", changing=200))
        killed: Killed = []
        await c.steps(run_id, 500)
        async with beside(often(c, killed, every=4, dice=random.Random(run_id))):
            await c.steps(run_id, 12_000, seconds=300)
            await c.outage(5)
            await c.ended(run_id, seconds=600)
        ended = Ended(c, run_id, await c.stored())
        times = hand_overs(ended, killed)
        throttled = sum(call.code is not None and "hrottl" in call.code for call in ended.writes)
        record_property("refused by quota", f"{throttled} of {len(ended.writes)} writes")
        record_property("killed", len(killed))
        record_property(
            "hand-over", f"median {statistics.median(times):.1f} s, at most {max(times):.1f} s of {len(times)}"
        )
        record_property("took", f"{time.time() - began:.0f} s")
        assert broken(ended, rate=40, changing=200, max_failures=400) == []
        assert max(times) <= HAND_OVER
        c.no_bug()
