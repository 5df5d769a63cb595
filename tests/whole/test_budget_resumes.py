"""The failure budget over waves, kills and resumes: seeded schedules of refusals and lost replies.

`SOAK=n` in the environment plays n times as many. A failure names its seed: `-k 'budget and [SEED]'` plays that alone.
"""

import asyncio
import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rollout_support import ACCEPTED, RENAME, ROTATE, spent
from schedule_tally import Record, book
from soaking import FACTOR
from whole_support import Bench, Result, bench

SEEDS = 2 * FACTOR
RETRY = {"attempts": 2, "max_delay": "100ms", "settle_quiet": "200ms", "fence": "300ms", "settle_timeout": "2s"}
REFUSED = {"fault": "refuse", "code": "IncorrectDBInstanceLockMode", "status": 403}


def faults_of(dice: Random, count: int) -> dict[str, Any]:
    """A third of the instances refuse, lose replies until nobody asks any more, or lose one."""
    scripts = []
    for number in range(count):
        play: list[Any] = dice.choice(
            (
                [{**REFUSED, "times": 9}],
                [{"fault": dice.choice(("reset_before", "reset_after", "http_500")), "times": 9}],
                [dice.choice(("reset_before", "reset_after"))],
                *([],) * 6,
            )
        )
        if play:
            scripts.append({"api": "Modify*", "match": f"r-sim{number:06d}", "play": play})
    return {"scripts": scripts}


def limit(share: int | str, rows: int) -> int:
    """A number is itself, a percentage is rounded down and at least one."""
    if isinstance(share, int):
        return share
    return max(1, math.floor(rows * Fraction(share.rstrip("%")) / 100))


async def overspent(b: Bench, budget: int | str) -> list[str]:
    """What the report, as the journal gives it now, has more of than was allowed."""
    printed = await b.run("report", "job", "--format", "json")
    assert printed.code == 0, printed.err
    report = json.loads(printed.out)
    sends = Counter(row["wave"] for row in report["rows"] if row["wave"] is not None)
    bad = spent(report)
    found = [f"wave {wave}: {bad[wave]}" for wave in sends if bad[wave] > limit(budget, sends[wave])]
    if sum(bad.values()) > limit(budget, sends.total()):
        found.append(f"run: {bad}")
    return found


async def to_its_end_or_killed(b: Bench, dice: Random, *command: str) -> Result | None:
    """None: it was killed at one of its next calls."""
    process, calls = await b.start(*command), b.modifying_calls() + dice.randint(1, 8)
    async with asyncio.timeout(60):
        while process.returncode is None and b.modifying_calls() < calls:  # noqa: ASYNC110  no event for it
            await asyncio.sleep(0.002)
    if process.returncode is None:
        process.kill()
    out, err = await process.communicate()
    return Result(process.returncode, out.decode(), err.decode()) if process.returncode in {0, 1, 3, 4} else None


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_budget_is_never_exceeded(seed: int, tmp_path: Path, record_property: Record) -> None:
    """failed + unresolved rows that the plan would send <= budget at every end, in each wave and of the run."""
    dice = Random(f"budget/{seed}")
    count = dice.randint(8, 12)
    waves = dice.choice(([1], [1, "25%"], [3, 6, 9], ["50%"], ["10%", "20%", "60%"]))
    budget = dice.choice((1, 2, 3, "2%", "20%", "35%"))
    limits = {"rate": "3000/1s", "connections": dice.choice((1, 2, 8, 64))}
    kills, wrong = 0, []
    async with bench(tmp_path, instances=count, faults=faults_of(dice, count)) as b:
        manifest = b.manifest(
            targets=b.targets(count),
            changes=[dice.choice((RENAME, ROTATE))],
            proof=ACCEPTED,
            limits=limits,
            retry=RETRY,
            rollout={"waves": waves, "max_failures": budget},
        )
        command: tuple[str, ...] = ("run", str(manifest), "--yes")
        for _ in range(dice.choice((1, 2))):
            result = await to_its_end_or_killed(b, dice, *command)
            kills += result is None
            wrong += await overspent(b, budget)
            command = ("resume",)
            if result is not None:
                break
        last = await b.run("resume")
        wrong += await overspent(b, budget)
    book(record_property, played=1, crashes=kills, killed=bool(kills), lost=0, mis_stated=len(wrong))
    assert wrong == [], last.err
    assert last.code in {0, 1, 3, 4}, last.err
    if last.code == 3:
        assert b.report()["run"]["stopped_by"] == "max_failures", last.err
