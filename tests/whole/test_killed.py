"""The product as a process, killed at seeded moments up to three times and resumed: nothing is lost, nothing guessed.

`SOAK=n` in the environment plays n times as many. A failure names its seed: `-k 'killed and [SEED]'` plays that alone.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from schedule_tally import Record, book
from soaking import FACTOR
from whole_support import Bench, bench

from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, try_login
from batchmod.secrets.embedded import EmbeddedStore

SEEDS = 4 * FACTOR
INSTANCES = 5
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 20}}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
TDE: dict[str, Any] = {"tde": {}}
LOST = ("reset_before", "reset_after", "http_500", "html_502", "truncated", "garbled", "late")
RETRY = {"max_delay": "200ms", "settle_quiet": "300ms", "fence": "1s", "settle_timeout": "20s", "busy_timeout": "20s"}


def faults_of(dice: Random) -> dict[str, Any]:
    """Each instance's first calls go wrong in ways of their own."""
    scripts = []
    for number in range(INSTANCES):
        play = [_fault(dice) for _ in range(dice.choice((0, 1, 1, 2)))]
        if play:
            scripts.append({"api": "Modify*", "match": f"r-sim{number:06d}", "play": play})
    return {"scripts": scripts, "lag": dice.choice((0.0, 0.1))}


def _fault(dice: Random) -> dict[str, Any]:
    kind = dice.choice((*LOST, "throttle", "task_exists"))
    return {"fault": kind, "seconds": dice.choice((0.1, 0.8))} if kind == "late" else {"fault": kind}


async def killed_at(b: Bench, process: asyncio.subprocess.Process, dice: Random) -> bool:
    """Whether it was killed, at its n-th call or a moment after; it may have ended before."""
    calls, more = b.modifying_calls(), dice.randint(1, INSTANCES + 2)
    async with asyncio.timeout(60):
        while process.returncode is None and b.modifying_calls() < calls + more:  # noqa: ASYNC110  no event for it
            await asyncio.sleep(0.002)
        await asyncio.sleep(dice.random() * 0.1)  # between a reply and what is made of it
    if process.returncode is not None:
        return False
    process.kill()
    await process.communicate()
    return True


async def mis_stated(b: Bench, rows: list[Mapping[str, Any]]) -> list[str]:
    """Report against truth, row by row."""
    found = []
    for row in rows:
        truth = b.truth(row["instance_id"])
        there = {
            "attributes": truth["name"] == f"new-{row['instance_id']}",
            "password": truth["password_generation"] > 0,
            "tde": truth["tde"],
        }[row["change"]]
        known = row["outcome"] == "changed" if there else row["outcome"] in {"failed", "skipped", "not_started"}
        if not known and row["change"] == "password" and row["outcome"] == "unresolved":
            known = True  # without a login no evidence can be had
        if not known or row["outcome"] == "not_started" or truth["distinct_passwords_sent"] > 1:
            found.append(f"{row['instance_id']} {row['change']} is {row['outcome']}, truth {truth}")
    return found


async def lost(b: Bench, folder: Path) -> list[str]:
    """What logs in on the real server is in the store, and current where its row is changed."""
    store = EmbeddedStore.open(folder / ".batchmod", environ=os.environ, say=lambda _: None, create=False)
    try:
        records = await store.all()
        values = {
            (each.key.instance_id, each.stage.value): await store.reveal(each.key, each.generation) for each in records
        }
    finally:
        await store.close()
    found = []
    for name in b.sim.cloud.passwords:
        if not b.truth(name)["password_generation"]:
            continue
        mine = [value for (instance, _), value in values.items() if instance == name]
        if not [value for value in mine if await logs_in(b, name, value)]:
            found.append(f"{name}: nothing that is stored logs in")
        current = values.get((name, "current"))
        if current is not None and not await logs_in(b, name, current):
            found.append(f"{name}: current does not log in")
    return found


async def logs_in(b: Bench, name: str, value: Secret) -> bool:
    account = Account(address=b.sim.data_plane, login=name)
    return (await try_login(account, value, timeout=10)).answer is Answer.YES


def chances(dice: Random) -> Iterator[bool]:
    """Whether each of the processes is to be killed."""
    yield from [True] * dice.choice((1, 1, 1, 2, 3))
    while True:
        yield False


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_killed_and_resumed(seed: int, tmp_path: Path, record_property: Record) -> None:
    """Every row has its last word, every password that is live is stored, and the report says what is true."""
    dice = Random(f"killed/{seed}")
    changes: list[dict[str, Any]] = dice.choice(([ROTATE], [ROTATE, TDE], [RENAME, ROTATE], [RENAME, ROTATE, TDE]))
    level = dice.choice(("accepted", "settled", "login", "login"))
    kills, last, told = 0, None, ""
    async with bench(tmp_path, instances=INSTANCES, faults=faults_of(dice)) as b:
        manifest = b.manifest(targets=b.targets(INSTANCES), changes=changes, proof={"password": level}, retry=RETRY)
        command = ["run", str(manifest), "--yes", "--resume", "--accept-irreversible", str(INSTANCES)]
        for to_be_killed in chances(dice):
            process = await b.start(*command)
            if to_be_killed and await killed_at(b, process, dice):
                kills += 1
            else:
                told, last = (await process.communicate())[1].decode(), process.returncode
                if not to_be_killed:
                    break
            command = ["resume"]
        await asyncio.sleep(1.0)  # what is late lands
        gone, wrong = await lost(b, tmp_path), await mis_stated(b, b.report()["rows"])
    book(record_property, played=1, crashes=kills, killed=bool(kills), lost=len(gone), mis_stated=len(wrong))
    assert (gone, wrong) == ([], []), told
    assert last in {0, 4}, told
