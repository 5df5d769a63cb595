"""Manifest to report, over the wire."""

import json
from pathlib import Path
from typing import Any

from whole_support import bench

RENAME = {"attributes": {"name": "{region}-{id}", "release_protection": True}}
ENCRYPT: dict[str, Any] = {"tde": {}}
ROTATE = {"password": {"generate": {"length": 24}}}
LOGIN = {"password": "login"}


async def test_all_three_kinds_are_changed_and_proved(tmp_path: Path) -> None:
    """Every row changed, the simulator agrees, the stored passwords log in; exit 0."""
    async with bench(tmp_path, instances=6) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME, ROTATE, ENCRYPT], proof=LOGIN)
        result = await b.run("run", str(manifest), "--yes", "--accept-irreversible", "6")
        assert result.code == 0, result.err
        report = b.report()
        assert report["schema"] == "batchmod.report/1"
        assert report["run"]["counts"]["changed"] == 18
        assert {row["change"]: row["proof"] for row in report["rows"]} == {
            "attributes": "read-back",
            "password": "login",
            "tde": "read-back",
        }
        stored = await b.stored()
        for row in report["rows"]:
            truth = b.truth(row["instance_id"])
            assert truth["name"] == f"{row['region']}-{row['instance_id']}"
            assert truth["release_protection"] is True
            assert truth["tde"] in {True, "Enabled"}
            assert b.sim.cloud.passwords[row["instance_id"]] == stored[row["instance_id"]]["current"]
            assert row["seconds"] is not None
            assert row["request_id"]


async def test_running_it_again_sends_nothing(tmp_path: Path) -> None:
    """Attributes and tde that are as they should be: unchanged, no Modify call, exit 0 without --yes."""
    async with bench(tmp_path, instances=4) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[RENAME, ENCRYPT])
        assert (await b.run("run", str(manifest), "--yes", "--accept-irreversible", "4")).code == 0
        sent = b.modifying_calls()
        again = await b.run("run", str(manifest))
        assert again.code == 0, again.err
        assert b.outcomes() == {"unchanged": 8}
        assert b.modifying_calls() == sent


async def test_a_thousand_instances_of_which_a_tenth_is_busy(tmp_path: Path) -> None:
    """Every row changed; report and simulator agree row by row."""
    unseen = {"fraction": 0.1, "seconds": 6, "status": "Normal"}  # a task that the status does not show yet
    faults = {"busy": [unseen], "durations": {"attributes": 0.2}}
    async with bench(tmp_path, instances=1000, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(1000), changes=[{"attributes": {"name": "{id}-x"}}])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        rows = b.report()["rows"]
        assert [row["outcome"] for row in rows] == ["changed"] * 1000
        for row in rows:
            truth = b.truth(row["instance_id"])
            assert truth["name"] == f"{row['instance_id']}-x"
            assert row["detail"] == f"{row['instance_name']} → {truth['name']}"
        calls = b.sim.cloud.state()["calls"]["ModifyInstanceAttribute"]
        assert calls["TaskExists"] >= 50
        assert calls["OK"] == 1000


async def test_plan_shows_what_would_happen_and_leaves_nothing(tmp_path: Path) -> None:
    """Before and after, reasons, a digest that repeats; no file made, no call that changes."""
    faults = {"instances": {"r-sim000001": {"support_tde": False}, "r-sim000002": {"tde": True}}}
    async with bench(tmp_path, instances=3, faults=faults) as b:
        manifest = b.manifest(targets=[*b.targets(3), "r-nosuch"], changes=[RENAME, ROTATE, ENCRYPT])
        before = b.files()
        first = await b.run("plan", str(manifest), "--format", "json")
        second = await b.run("plan", str(manifest), "--format", "json")
        assert first.code == second.code == 0, first.err
        plan, again = json.loads(first.out), json.loads(second.out)
        assert plan["sha256"] != again["sha256"]  # of all that it says, with the moment of the reading
        assert {**plan, **dict.fromkeys(("sha256", "observed_at"))} == {
            **again,
            **dict.fromkeys(("sha256", "observed_at")),
        }
        verdicts = [(row["instance_id"], row["change"], row["verdict"]) for row in plan["rows"]]
        assert ("r-sim000001", "tde", "skipped") in verdicts
        assert ("r-sim000002", "tde", "unchanged") in verdicts
        assert ("r-nosuch", "attributes", "failed") in verdicts
        assert ("r-nosuch", "password", "not_started") in verdicts
        table = await b.run("plan", str(manifest))
        assert "sim-000000 → cn-hangzhou-r-sim000000" in table.out
        assert b.files() == before
        assert b.modifying_calls() == 0


async def test_an_unknown_id_fails_alone(tmp_path: Path) -> None:
    """Its row failed, later kinds not started, the rest changed; exit 1."""
    async with bench(tmp_path, instances=4) as b:
        manifest = b.manifest(targets=[*b.targets(4), "r-nosuch"], changes=[RENAME, ROTATE], proof=LOGIN)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 8, "failed": 1, "not_started": 1}
        row = next(row for row in b.report()["rows"] if row["outcome"] == "failed")
        assert (row["instance_id"], row["error_code"]) == ("r-nosuch", "InvalidInstanceId.NotFound")


async def test_a_refusal_fails_its_row_and_what_follows_on_it(tmp_path: Path) -> None:
    """One task at a time, none after one that failed."""
    faults = {"refuse": [{"match": "r-sim000002", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[RENAME, ROTATE], proof=LOGIN)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 6, "failed": 1, "not_started": 1}


async def test_settled_and_accepted_are_weaker_proofs(tmp_path: Path) -> None:
    """Without a login the report says what was seen, and the password is current."""
    faults = {"durations": {"password": 1.0}}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        for level in ("accepted", "settled"):
            manifest = b.manifest(targets=b.targets(4), changes=[ROTATE], proof={"password": level})
            result = await b.run("run", str(manifest), "--yes")
            assert result.code == 0, result.err
            assert {(row["outcome"], row["proof"]) for row in b.report()["rows"]} == {("changed", level)}
        stored = await b.stored()
        assert {name: known["current"] for name, known in stored.items()} == b.sim.cloud.passwords
        assert all("previous" in known for known in stored.values())


async def test_a_chosen_password_is_set_once(tmp_path: Path) -> None:
    """From the environment; the second run finds it current and sends nothing."""
    chosen = {"NEW_PASSWORD": "Chosen-By-0perator"}
    async with bench(tmp_path, instances=2) as b:
        changes = [{"password": {"env": "NEW_PASSWORD"}}]
        manifest = b.manifest(targets=b.targets(2), changes=changes, proof=LOGIN)
        assert (await b.run("run", str(manifest), "--yes")).code == 2
        result = await b.run("run", str(manifest), "--yes", environ=chosen)
        assert result.code == 0, result.err
        assert set(b.sim.cloud.passwords.values()) == {"Chosen-By-0perator"}
        again = await b.run("run", str(manifest), "--yes", environ=chosen)
        assert again.code == 0
        assert b.outcomes() == {"unchanged": 2}


async def test_no_route_or_a_door_that_is_open_skips_the_row(tmp_path: Path) -> None:
    """A login proof that cannot say no proves nothing: nothing is sent."""
    faults = {
        "instances": {
            "r-sim000000": {"password_free": True},
            "r-sim000001": {"address": "127.0.0.1:1"},
        }
    }
    async with bench(tmp_path, instances=3, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[ROTATE], proof={"password": "login", "timeout": "1s"})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert [row["outcome"] for row in b.report()["rows"]] == ["skipped", "skipped", "changed"]
        assert all(row["detail"] for row in b.report()["rows"][:2])
        assert b.modifying_calls() == 1


async def test_a_service_that_wants_a_name_beside_protection_gets_the_present_one(tmp_path: Path) -> None:
    """Two requests, both in the journal before they went out; the name stays."""
    async with bench(tmp_path, instances=2, faults={"strict_protection": True}) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[{"attributes": {"release_protection": True}}])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert [(row["outcome"], row["attempts"]) for row in b.report()["rows"]] == [("changed", 2)] * 2
        assert b.truth("r-sim000000")["name"] == "sim-000000"
        assert b.truth("r-sim000000")["release_protection"] is True
