"""`verify`: what is stored is tried on the real server, and nothing is changed anywhere."""

import os
import sqlite3
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from journal_records import a_row
from whole_support import Bench, bench

from batchmod.app.trying import Trials
from batchmod.app.verify import is_live
from batchmod.journal.state import StateDir
from batchmod.model.events import Phase
from batchmod.model.secret import Generation, InstanceKey, Secret
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.login import Logins

ROTATE: dict[str, Any] = {"password": {"generate": {}}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
LOGIN: dict[str, Any] = {"password": "login"}
ONE = "r-sim000000"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def told(b: Bench) -> set[tuple[Any, ...]]:
    return {(row["outcome"], row["proof"], row["error_code"], row["detail"]) for row in b.report()["rows"]}


async def test_what_is_stored_is_live_or_named(tmp_path: Path) -> None:
    """After a rotation all is live; then one is changed behind our back; then the servers are out of reach."""
    instances = {"r-sim000001": {"engine_version": "5.0"}, "r-sim000002": {"listed_address": False}}
    async with bench(tmp_path, instances=22, faults={"instances": instances}) as b:
        state = tmp_path / ".batchmod"
        rotated = await b.run("run", str(b.manifest(targets=b.targets(20), changes=[ROTATE], proof=LOGIN)), "--yes")
        assert rotated.code == 0, rotated.err

        lines = [f"{each['id']},{each['region']}\n" for each in b.targets(20)[1::2]]
        (tmp_path / "fleet.csv").write_text("id,region\n" + "".join(lines))
        targets = [{"from": "fleet.csv"}, {"select": {"regions": ["cn-hangzhou"]}}]
        meant = {"targets": targets, "exclude": ["r-sim000020"], "changes": [RENAME]}
        manifest = str(b.manifest(**meant, proof={"tls": False}))
        before, calls = contents(state), b.modifying_calls()
        with StateDir(path=state).hold(run_id="at-work", now=time.time()):
            result = await b.run("verify", manifest)
        assert result.code == 0, result.err
        assert told(b) == {("unchanged", "login", None, "generation 1 is live")}
        assert b.outcomes() == {"unchanged": 20}
        assert (b.report()["run"]["command"], b.report()["run"]["name"]) == ("verify", "job")
        assert contents(state) == before

        taken = b.manifest(targets=b.targets(1), changes=[ROTATE], proof=LOGIN)
        assert (await b.run("run", str(taken), "--yes", "--state", "elsewhere")).code == 0
        with closing(sqlite3.connect(state / "secrets.db")) as db, db:
            db.execute("UPDATE secret SET value = zeroblob(200) WHERE instance_id = 'r-sim000004'")
        gone = [{"id": "r-gone", "region": "cn-hangzhou"}]
        formats = {"formats": ["csv", "json", "html"]}
        b.manifest(targets=[*b.targets(21), *gone], changes=[RENAME], report=formats)
        result = await b.run("verify", manifest, "--quiet", "--report-dir", "reports")
        assert (result.code, b.outcomes()) == (
            1,
            {"unchanged": 18, "skipped": 1, "failed": 2, "unresolved": 1},
        )
        rows = {row["instance_id"]: row for row in b.report()["rows"]}
        dead = rows[ONE]
        assert (dead["outcome"], dead["error_code"], dead["proof"]) == ("failed", "NotLive", None)
        assert dead["detail"] == "generation 1 is refused, and nothing else is stored"
        assert dead["secret_ref"].endswith("/cn-hangzhou/r-sim000000#1")
        assert rows["r-sim000004"]["error_code"] == "CannotTell"
        assert rows["r-gone"]["error_code"] == "InvalidInstanceId.NotFound"
        assert rows["r-sim000020"]["detail"] == "no password is stored"
        (page,) = (tmp_path / "reports").glob("*.html")
        told_there = page.read_text(encoding="utf-8")
        assert all(each in told_there for each in ('"command": "verify"', '"history": null', '"NotLive": "'))
        assert result.out.splitlines()[1].split()[:4] == ["failed", "default", "cn-hangzhou", ONE]
        assert len(result.err.splitlines()) == 1

        b.manifest(targets=b.targets(3), changes=[RENAME], proof={"address": "127.0.0.1:1"})
        result = await b.run("verify", manifest)
        assert result.code == 4, result.err
        assert told(b) == {("unresolved", None, "CannotTell", "no route: Connection refused")}
        assert b.modifying_calls() == calls + 1
        (tmp_path / "nowhere").mkdir()
        nowhere = await b.run("verify", manifest, "--state", "nowhere/state")
        assert (nowhere.code, list((tmp_path / "nowhere").iterdir())) == (2, []), nowhere.err


async def test_what_nobody_can_tell(tmp_path: Path) -> None:
    """Where a wrong password is accepted, and where an instance is locked: unresolved, with the reason."""
    async with bench(tmp_path, instances=2) as b:
        manifest = str(b.manifest(targets=b.targets(2), changes=[ROTATE], proof=LOGIN))
        assert (await b.run("run", manifest, "--yes")).code == 0
    instances = {ONE: {"password_free": True}, "r-sim000001": {"status": "Inactive"}}
    async with bench(tmp_path, instances=2, faults={"instances": instances}) as b:
        result = await b.run("verify", manifest)
        assert (result.code, [row["detail"] for row in b.report()["rows"]]) == (
            4,
            [
                "password-free access: a wrong password is accepted",
                "the instance is locked: disabled or expired (Inactive)",
            ],
        ), result.err


async def test_a_run_that_promotes_meanwhile_is_seen(tmp_path: Path) -> None:
    """What was current when the fleet was read is refused, for its successor is current by now: that one is tried."""
    async with bench(tmp_path, instances=1) as b:
        store = EmbeddedStore.open(tmp_path / ".batchmod", environ=os.environ, say=lambda _: None)
        key = InstanceKey(account_id="1", region="cn-hangzhou", instance_id=ONE)
        known: tuple[Generation, ...] = ()
        for text in ("Before-it-1", b.sim.cloud.passwords[ONE]):
            old, known = known, await _current(store, key, text)
        trials = Trials(logins=Logins(tls=False, timeout=5.0, turn=nullcontext), store=store)
        row = a_row(account_id="1", instance_id=ONE, address=b.sim.data_plane)
        found = await is_live(trials, row, old)
        await store.close()
    assert (found.phase, found.detail, len(known)) == (Phase.UNCHANGED, "generation 2 is live", 2)


async def _current(store: EmbeddedStore, key: InstanceKey, text: str) -> tuple[Generation, ...]:
    pending = await store.escrow(key, login=key.instance_id, secret=Secret(text), run_id="r")
    await store.promote(key, pending.generation)
    return await store.stages(key)
