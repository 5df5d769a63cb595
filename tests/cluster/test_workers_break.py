"""A campaign comes to its end by itself while its workers die, freeze and come back, and its database goes away."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster_rules import Ended, broken, hand_overs
from cluster_support import RETRY, Cluster, accounts, cluster, everywhere, profiles, quotas
from postgres import Database
from soaking import FACTOR

HAND_OVER = 12.0  # seconds at most


async def chaos(c: Cluster, run_id: str, killed: list[tuple[float, Sequence[str]]], *, plan: Sequence[str]) -> None:
    """What is in `plan` happens, one thing after the other, each once somebody works on the run again."""
    dice = random.Random(run_id)
    for what in plan:
        worker = await c.holding(among=lambda each: dice.random() < 0.5)
        match what.split():
            case ["kill"]:
                lanes = c.holds(worker)
                killed.append((time.time(), lanes))
                await c.kill(worker)
                await c.work()
            case ["freeze", seconds]:
                worker.freeze()
                await asyncio.sleep(float(seconds))
                worker.thaw()
            case ["outage", seconds]:
                await c.outage(float(seconds))
            case ["wait", seconds]:
                await asyncio.sleep(float(seconds))


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
    async with cluster(tmp_path, database, instances=160, faults=scenario(2, "8/1s")) as c:
        await c.work(3, lanes=2)
        run_id = await c.submit(manifest(c, 2, max_failures="50%", rate="8/1s", changing=12))
        killed: list[tuple[float, Sequence[str]]] = []
        await c.steps(run_id, 40)
        await chaos(c, run_id, killed, plan=["kill", "wait 1", "freeze 9", "outage 2", "wait 1", "kill"])
        await c.ended(run_id)
        ended = Ended(c, run_id, await c.stored())
        assert broken(ended, rate=8, changing=12, max_failures=160) == []
        assert max(hand_overs(ended, killed), default=0.0) <= HAND_OVER
        c.no_bug()


@pytest.mark.skipif(FACTOR == 1, reason="the form of `make soak`")
@pytest.mark.timeout(900)
async def test_the_soak(tmp_path: Path, database: Database, record_property: Callable[[str, object], None]) -> None:
    """Four workers, eight lanes, 4,000 instances."""
    async with cluster(tmp_path, database, instances=4000, faults=scenario(4, "40/1s")) as c:
        await c.work(4, lanes=4)
        began = time.time()
        run_id = await c.submit(manifest(c, 4, max_failures="5%", rate="40/1s", changing=200))
        killed: list[tuple[float, Sequence[str]]] = []
        await c.steps(run_id, 500)
        once = ["kill", "wait 3", "kill", "freeze 12", "wait 2", "kill", "freeze 3", "wait 3", "kill", "freeze 20"]
        await chaos(c, run_id, killed, plan=[*once, "outage 5", *once])
        await c.ended(run_id, seconds=600)
        ended = Ended(c, run_id, await c.stored())
        times = hand_overs(ended, killed)
        record_property("hand-over", f"median {statistics.median(times):.1f} s, at most {max(times):.1f} s of {len(times)}")
        record_property("took", f"{time.time() - began:.0f} s")
        assert broken(ended, rate=40, changing=200, max_failures=400) == []
        assert max(times) <= HAND_OVER
        c.no_bug()
