"""`reconcile`: a run is killed, its journal is lost, and the store is put right by what logs in."""

import asyncio
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from journal_records import a_row, a_run
from whole_support import Bench, Result, bench, reaches

from batchmod.app.reconcile import Moving
from batchmod.app.trying import Trials
from batchmod.engine.clock import Clock
from batchmod.engine.reconciling import CANNOT_TELL, MOVED
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.model.events import Phase
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.login import Logins

ROTATE: dict[str, Any] = {"password": {"generate": {}}}
LOGIN: dict[str, Any] = {"password": "login"}
RETRY = {
    "max_delay": "200ms",
    "settle_quiet": "300ms",
    "fence": "500ms",
    "settle_timeout": "1s",
    "busy_timeout": "500ms",
}
KNOWN, NEW = 6, 2  # instances of which a password is stored before the first run that is killed, and others in each
LOST = {
    "scripts": [
        {"api": "ModifyInstanceAttribute", "match": f"r-sim{n:06d}", "play": ["ok", "reset_after"]} for n in (1, 4)
    ]
}
WORDS = ("(pending) is live: current now", "may still land", "is not, and is a candidate now", "a run can set another")


def rotation(b: Bench, count: int, rate: str = "3000/1s") -> str:
    limits = {"rate": "3000/1s", "apis": {"ModifyInstanceAttribute": rate}}
    return str(b.manifest(targets=b.targets(count), changes=[ROTATE], proof=LOGIN, retry=RETRY, limits=limits))


async def killed(b: Bench, count: int, calls: int) -> None:
    """A run died after so many of its sends, with all its passwords escrowed."""
    manifest, before = rotation(b, count, rate="8/1s"), b.modifying_calls()
    process = await b.start("run", manifest, "--yes")
    await reaches(b, "ModifyInstanceAttribute", before + calls)
    process.kill()
    await process.communicate()


async def reconciled(b: Bench, manifest: str, seen: set[str]) -> Result:
    """After as many times as it says that something may still land. `seen` is all that was said of any instance."""
    async with asyncio.timeout(60):
        while True:
            result = await b.run("reconcile", manifest, "--yes")
            rows = b.report()["rows"]
            seen.update(row["detail"] for row in rows)
            if not any(row["error_code"] == "MayLand" for row in rows):
                return result
            assert result.code == 4


async def test_a_lost_journal_costs_no_password(tmp_path: Path) -> None:
    """Every live password that is stored is current; the rest is named; and a run goes on as if nothing had been."""
    kill_points, seen = (2, 7), set[str]()
    async with bench(tmp_path, instances=KNOWN + NEW * len(kill_points), faults=LOST) as b:
        assert (await b.run("run", rotation(b, KNOWN), "--yes")).code == 0
        for count, calls in enumerate(kill_points, 1):
            instances = KNOWN + NEW * count
            await killed(b, instances, calls)
            for lost in (tmp_path / ".batchmod").glob("journal.db*"):
                lost.unlink()
            manifest, sent = rotation(b, instances), b.modifying_calls()
            await is_right(b, await reconciled(b, manifest, seen))
            assert b.modifying_calls() == sent
            assert (await b.run("run", manifest, "--yes")).code == 0
            assert b.outcomes() == {"changed": instances}
        assert (await b.run("verify", manifest)).code == 0
        assert b.outcomes() == {"unchanged": instances}
    assert [any(words in detail for detail in seen) for words in WORDS] == [True] * len(WORDS)


async def is_right(b: Bench, result: Result) -> None:
    """What logs in is current if it is stored at all, nothing is pending, and who has nothing live is unresolved."""
    stored, truth = await b.stored(), b.sim.cloud.passwords
    rows = b.report()["rows"]
    lost = {row["instance_id"] for row in rows if row["outcome"] not in {"changed", "unchanged"}}
    for row in rows:
        name = row["instance_id"]
        known = stored.get(name, {})
        assert "pending" not in known
        live = known.get("current") == truth[name]
        assert live != (name in lost), row
        assert row["proof"] == ("login" if live else None)
        assert live or truth[name] not in known.values()
    unstored = {row["instance_id"] for row in rows if row["outcome"] == "skipped"}
    assert result.code == (4 if lost - unstored else 0), result.err


async def test_it_is_for_a_lost_journal_only(tmp_path: Path) -> None:
    """Refused while somebody holds the directory, while the journal knows the run, and when nobody can be asked."""
    async with bench(tmp_path, instances=3) as b:
        manifest = rotation(b, 3)
        nothing = await b.run("reconcile", manifest)
        assert (nothing.code, (tmp_path / ".batchmod").exists()) == (2, False), nothing.err
        await killed(b, 3, 1)
        state, before = StateDir(path=tmp_path / ".batchmod"), await b.run("secrets", "list")
        with state.hold(run_id="at-work", now=time.time()):
            held = await b.run("reconcile", manifest, "--yes")
        assert held.code == 75
        b.manifest(name="other", targets=b.targets(3), changes=[ROTATE])
        known = await b.run("reconcile", manifest, "--yes")
        assert (known.code, "batchmod resume" in known.err) == (2, True), known.err
        for lost in state.path.glob("journal.db*"):
            lost.unlink()
        asked = await b.run("reconcile", manifest)
        assert (asked.code, "--yes" in asked.err) == (2, True), asked.err
        assert (await b.run("secrets", "list")).out == before.out


async def test_a_run_that_waits_is_resumed(tmp_path: Path) -> None:
    """Also one that has nothing pending; a run of another name is no matter."""
    async with bench(tmp_path, instances=1) as b:
        manifest = rotation(b, 1)
        assert (await b.run("run", manifest, "--yes")).code == 0
        journal = SqliteJournal.open(tmp_path / ".batchmod")
        await journal.open_run(a_run("r1", name="job"), [a_row()])
        journal.close()
        waits = await b.run("reconcile", manifest, "--yes")
        assert (waits.code, "batchmod resume r1" in waits.err) == (2, True), waits.err
        b.manifest(name="other", targets=b.targets(1), changes=[ROTATE])
        assert (await b.run("reconcile", manifest, "--yes")).code == 0
        assert b.outcomes() == {"unchanged": 1}


async def test_what_another_moved_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """The store is not as it was when the password logged in: nothing is moved, and it is said."""
    async with bench(tmp_path, instances=1) as b:
        store = EmbeddedStore.open(tmp_path / ".batchmod", environ=os.environ, say=lambda _: None)
        key = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-sim000000")
        secret = Secret(b.sim.cloud.passwords[key.instance_id])
        await store.escrow(key, login=key.instance_id, secret=secret, run_id="lost")
        await store.demote(key, 1)
        old = await store.stages(key)
        await store.escrow(key, login=key.instance_id, secret=Secret("Another-1"), run_id="elsewhere")
        logins = Logins(tls=False, timeout=5.0, turn=nullcontext)
        moving = Moving(trials=Trials(logins=logins, store=store), clock=Clock(), lands_for=0.0)
        row = a_row(account_id="1", instance_id=key.instance_id, address=b.sim.data_plane)
        found, stages = await moving.conclude(row, old), await store.stages(key)
        await store.close()
    assert (found.phase, found.code, found.detail) == (Phase.UNRESOLVED, CANNOT_TELL, MOVED)
    assert [each.stage for each in stages] == [Stage.CANDIDATE, Stage.PENDING]
