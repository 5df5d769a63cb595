"""What `run --resume` finds when cron calls it, and what it makes of it: every branch, with the command as a process."""

import asyncio
import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from whole_support import RETRY, Bench, bench, reaches

from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.runs import Run

MODIFY = "ModifyInstanceAttribute"
RENAME = {"attributes": {"name": "new-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
HELD_UP = "r-sim000002"  # its first call hangs and never lands: whoever dies then, dies with a row in doubt
HANG = {"scripts": [{"api": MODIFY, "match": HELD_UP, "play": [{"fault": "hang", "seconds": 60, "landed": False}]}]}
QUICK = {**RETRY, "max_delay": "200ms", "settle_timeout": "1s", "fence": "100ms"}
DIES_BEFORE_ITS_REPORT = (
    "import os, signal, sys\n"
    "os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
    "from batchmod.cli import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


def cron(manifest: Path) -> tuple[str, ...]:
    return ("run", str(manifest), "--resume", "--yes")


def runs(b: Bench) -> dict[str, Run]:
    """All runs by id, oldest first."""
    with closing(SqliteJournal.read(b.folder / ".batchmod")) as journal:
        return {run.id: run for run in journal.runs()}


async def killed(b: Bench, manifest: Path) -> str:
    """The id of a run that was killed with HELD_UP in doubt and all others done; there are three."""
    process = await b.start(*cron(manifest))
    await reaches(b, MODIFY, b.calls(MODIFY) + 2)
    async with asyncio.timeout(30):
        while b.truth(HELD_UP)["distinct_passwords_sent"] < 1:  # noqa: ASYNC110  the simulator has no event for it
            await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()
    return list(runs(b))[-1]


def report_of(b: Bench, run_id: str) -> dict[str, Any]:
    (path,) = (b.folder / "reports").glob(f"*-{run_id}.json")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def rotation(b: Bench, targets: list[dict[str, str]], **sections: Any) -> Path:
    return b.manifest(targets=targets, changes=[ROTATE], proof={"password": "login"}, retry=QUICK, **sections)


async def test_a_changed_file_of_targets_closes_the_old_run_and_begins_anew(tmp_path: Path) -> None:
    """The manifest itself is the same. What stays in doubt is unresolved in the old run's report, and no obstacle."""
    async with bench(tmp_path, instances=8, faults=HANG) as b:
        fleet = tmp_path / "fleet.csv"
        fleet.write_text("id,region\n" + "".join(f"r-sim00000{n},cn-hangzhou\n" for n in (0, 2, 4)))
        manifest = rotation(b, [{"from": "fleet.csv"}])
        old = await killed(b, manifest)
        with fleet.open("a") as file:
            file.write("r-sim000006,cn-hangzhou\n")
        result = await b.run(*cron(manifest))
        assert result.code == 0, result.err
        assert f"the manifest is another than run {old}'s: that run is settled and closed first" in result.err
        assert [run for run in runs(b) if run != old] == [b.report()["run"]["id"]]
        assert b.outcomes() == {"changed": 4}
        closed = report_of(b, old)["run"]
        assert (closed["exit_code"], closed["stopped_by"], closed["counts"]["unresolved"]) == (4, "control", 1)
        stored = await b.stored()
        assert {name: stored[name]["current"] for name in stored} == {
            name: b.sim.cloud.passwords[name] for name in stored
        }


async def test_after_an_abandoned_run_with_unresolved_rows_a_new_one_begins(tmp_path: Path) -> None:
    """It is closed: nothing of it is continued, and what it left is settled first."""
    async with bench(tmp_path, instances=6, faults=HANG) as b:
        manifest = rotation(b, b.targets(6)[::2])
        old = await killed(b, manifest)
        assert (await b.run("abandon", old)).code == 4
        before = report_of(b, old)
        result = await b.run(*cron(manifest))
        assert result.code == 0, result.err
        assert b.report()["run"]["id"] != old
        assert b.outcomes() == {"changed": 3}
        assert report_of(b, old) == before
        assert sorted((await b.stored())[HELD_UP]) == ["candidate", "current"]


async def test_a_run_that_spent_its_budget_is_left_to_an_operator(tmp_path: Path) -> None:
    """Exit 3 and the command that continues it, every night; not one call, and the journal is as it was."""
    faults = {"refuse": [{"match": "r-sim000000", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(4)[::2], changes=[RENAME], rollout={"max_failures": 1})
        assert (await b.run(*cron(manifest))).code == 3
        (run_id, *_), calls = (known := runs(b)), b.sim.cloud.state()["calls"]
        for name in ("new-{id}", "other-{id}"):  # a changed manifest closes it as little
            b.manifest(targets=b.targets(4)[::2], changes=[{"attributes": {"name": name}}], rollout={"max_failures": 1})
            result = await b.run(*cron(manifest))
            assert result.code == 3
            assert f"resume {run_id} --reset-budget" in result.err
        assert b.sim.cloud.state()["calls"] == calls
        assert runs(b) == known


@pytest.mark.parametrize("changed", [False, True])
async def test_a_run_that_died_before_its_report_gets_it(tmp_path: Path, changed: bool) -> None:
    """All its rows had ended: nothing more is sent for it. Only a changed manifest begins a new run the same night."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME])
        process = await b.start_program(DIES_BEFORE_ITS_REPORT, *cron(manifest))
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
        (old,) = runs(b)
        sent = b.modifying_calls()
        if changed:
            b.manifest(targets=b.targets(2), changes=[{"attributes": {"name": "newer-{id}"}}])
        result = await b.run(*cron(manifest))
        assert result.code == 0, result.err
        assert report_of(b, old)["run"]["counts"]["changed"] == 2
        assert b.modifying_calls() == sent + (2 if changed else 0)
        assert len(runs(b)) == (2 if changed else 1)
        if not changed:
            assert (await b.run(*cron(manifest))).code == 0
            assert b.outcomes() == {"unchanged": 2}
            assert len(runs(b)) == 2


async def test_an_unfinished_run_of_another_name_is_not_touched(tmp_path: Path) -> None:
    """Each name has its own; the other one is continued when its own line comes."""
    async with bench(tmp_path, instances=6, faults=HANG) as b:
        other = rotation(b, b.targets(6)[::2], name="other").rename(tmp_path / "other.yaml")
        old = await killed(b, other)
        known = runs(b)[old]
        assert (await b.run(*cron(b.manifest(targets=b.targets(6)[1::2], changes=[RENAME])))).code == 0
        assert b.outcomes() == {"changed": 3}
        assert runs(b)[old] == known
        assert (await b.run(*cron(other))).code == 0
        assert b.report()["run"]["id"] == old
        assert b.outcomes() == {"changed": 3}


async def test_while_another_holds_the_directory_nothing_is_done(tmp_path: Path) -> None:
    """Exit 75, whatever the branch: the same manifest, a changed one, another name. The holder goes on."""
    async with bench(tmp_path, instances=4) as b:
        slow = {"targets": b.targets(4)[::2], "limits": {"apis": {MODIFY: "1/60s"}}}
        manifest = b.manifest(changes=[RENAME], **slow)
        holder = await b.start(*cron(manifest), "--drain", "100ms")
        await reaches(b, MODIFY, 1)
        (run_id,) = runs(b)
        for sections in ({}, {"changes": [{"attributes": {"name": "x-{id}"}}]}, {"name": "other"}):
            result = await b.run(*cron(b.manifest(**{"changes": [RENAME], **slow, **sections})))
            assert result.code == 75, result.err
            assert f"run {run_id} (pid {holder.pid} on " in result.err
        assert b.modifying_calls() == 1
        holder.send_signal(signal.SIGTERM)
        await holder.communicate()
        assert holder.returncode == 3  # it was at work all the time
        assert list(runs(b)) == [run_id]
