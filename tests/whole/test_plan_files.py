"""A plan that was reviewed is applied exactly, once, or refused before anything is asked of the service."""

import json
import signal
from pathlib import Path
from typing import Any

from fleet_support import PROFILES, THREE, A, B, every, write_profiles
from whole_support import Bench, Result, bench, reaches

RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
TO_CHOSEN: dict[str, Any] = {"password": {"env": "PW"}}
ACCEPTED = {"password": "accepted"}
MODIFY = "ModifyInstanceAttribute"


async def planned(b: Bench, manifest: Path, *more: str, **options: Any) -> Path:
    result = await b.run("plan", str(manifest), "-o", "plan.json", *more, **options)
    assert result.code == 0, result.err
    return b.folder / "plan.json"


def refused(b: Bench, result: Result, *words: str, asked: Any) -> None:
    """Exit 2 with one line; the service was not asked anything."""
    assert (result.code, len(result.err.splitlines())) == (2, 1), (result.code, result.err)
    assert all(word in result.err for word in words), result.err
    assert b.sim.cloud.state()["calls"] == asked


async def test_a_plan_is_applied_exactly_and_once(tmp_path: Path) -> None:
    """As a table or JSON on stdout too; another manifest, or none, changes nothing; the second time is refused."""
    async with bench(tmp_path, instances=6) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[RENAME])
        shown = await b.run("plan", str(manifest), "-o", "plan.json", "--format", "json")
        assert shown.out == (tmp_path / "plan.json").read_text()
        assert "batchmod run plan.json" in shown.err
        assert not (tmp_path / ".batchmod").exists()
        b.manifest(targets=b.targets(6), changes=[{"attributes": {"name": "other-{id}"}}])
        result = await b.run("run", "plan.json", "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 4}
        assert b.report()["run"]["manifest_digest"] == json.loads(shown.out)["manifest_digest"]
        assert [b.truth(f"r-sim{n:06d}")["name"].startswith("new-") for n in range(6)] == [True] * 4 + [False] * 2
        run_id, asked = b.report()["run"]["id"], b.sim.cloud.state()["calls"]
        refused(b, await b.run("run", "plan.json", "--yes"), f"applied by run {run_id}", "new plan", asked=asked)
        again = await b.run("run", "plan.json", "--yes", "--resume")
        refused(b, again, f"applied by run {run_id}", "new plan", asked=asked)


async def test_a_plan_of_nothing_to_do_reads_nothing(tmp_path: Path) -> None:
    """Its rows are in the report with the reasons that they had."""
    async with bench(tmp_path, instances=2) as b:
        done = {"attributes": {"release_protection": False}}
        ghost = {"id": "r-none", "region": "cn-hangzhou"}
        await planned(b, b.manifest(targets=[*b.targets(2), ghost], changes=[done]))
        looks = b.calls("DescribeInstances")
        result = await b.run("run", "plan.json", "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"unchanged": 2, "failed": 1}
        assert b.calls("DescribeInstances") == looks


async def test_a_chosen_password_is_the_one_of_the_plan(tmp_path: Path) -> None:
    """Only `plan -o` makes the age key, and says so; the store is made by the run, and the plan knows it afterwards."""
    key = {"BATCHMOD_AGE_KEY": str(tmp_path / "age.key"), "PW": "First-Passw0rd"}
    async with bench(tmp_path, instances=2) as b:
        manifest = str(b.manifest(targets=b.targets(2), changes=[TO_CHOSEN], proof=ACCEPTED))
        shown = await b.run("plan", manifest, "--format", "json", environ=key)
        assert json.loads(shown.out)["password_hmac"] is None
        assert not (tmp_path / "age.key").exists()
        result = await b.run("plan", manifest, "-o", "plan.json", environ=key)
        assert (result.code, "back this up" in result.err) == (0, True)
        assert not (tmp_path / ".batchmod").exists()
        result = await b.run("run", "plan.json", "--yes", environ=key)
        assert (result.code, "back this up" in result.err) == (0, False), result.err
        assert b.outcomes() == {"changed": 2}
        assert set(b.sim.cloud.passwords.values()) == {key["PW"]}
        result = await b.run("plan", manifest, "-o", "plan.json", environ=key)
        assert json.loads((tmp_path / "plan.json").read_text())["counts"]["unchanged"] == 2


async def test_what_was_begun_of_a_plan_is_continued(tmp_path: Path) -> None:
    """After kill -9: refused without --resume, then every row once; a plan made of the same manifest at another time closes it."""
    async with bench(tmp_path, instances=16) as b:
        manifest = b.manifest(targets=b.targets(16), changes=[RENAME], limits={"rate": "8/1s"})
        for number in range(2):
            (await planned(b, manifest)).rename(tmp_path / f"plan{number}.json")
        process = await b.start("run", "plan0.json", "--yes")
        await reaches(b, MODIFY, 2)
        process.kill()
        await process.communicate()
        result = await b.run("run", "plan0.json", "--yes")
        assert result.code == 2
        assert "is unfinished" in result.err
        process = await b.start("run", "plan0.json", "--yes", "--resume")
        await reaches(b, MODIFY, 4)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 3
        result = await b.run("run", "plan1.json", "--yes", "--resume")
        assert "the plan is another than run" in result.err
        assert result.code == 0, result.err
        assert len((await b.run("runs")).out.splitlines()) == 3
        assert sum(b.outcomes().values()) == 16


async def test_a_plan_belongs_to_its_accounts(tmp_path: Path) -> None:
    """Keys of another account are refused; one that cannot be used is left out only when that is said."""
    async with bench(tmp_path, instances=8, faults=THREE) as b:
        write_profiles(b)
        accounts = {name: PROFILES[name] for name in ("a", "b")}
        await planned(b, b.manifest(accounts=accounts, targets=every("a", "b"), changes=[RENAME]))
        write_profiles(b, a=B, b=A)
        result = await b.run("run", "plan.json", "--yes")
        assert (result.code, b.modifying_calls()) == (2, 0)
        assert f"a is {B} now, and was {A}" in result.err
        write_profiles(b, a=A)
        assert (await b.run("run", "plan.json", "--yes")).code == 2
        result = await b.run("run", "plan.json", "--yes", "--skip-failed-accounts")
        assert result.code == 1, result.err
        report = b.report()
        assert [one["account"] for one in report["run"]["accounts_failed"]] == ["b"]
        assert {(row["account"], row["outcome"]) for row in report["rows"]} == {("a", "changed"), ("b", "not_started")}


async def test_the_place_of_the_manifest_is_known(tmp_path: Path) -> None:
    """State lies beside it, wherever the plan is."""
    async with bench(tmp_path, instances=1) as b:
        (tmp_path / "jobs").mkdir()
        b.manifest(targets=b.targets(1), changes=[RENAME]).rename(tmp_path / "jobs/job.yaml")
        await planned(b, tmp_path / "jobs/job.yaml")
        assert (await b.run("run", "plan.json", "--yes")).code == 0
        assert (tmp_path / "jobs/.batchmod/journal.db").exists()
