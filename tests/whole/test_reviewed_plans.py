"""A plan that somebody has read is what is done: exactly it, and nothing that has moved since."""

import json
from pathlib import Path
from typing import Any

import pytest
from rollout_support import (
    ACCEPTED,
    CANARY_PLAN,
    ENCRYPT,
    RENAME,
    by_id,
    in_waves,
    move_cloud,
    reached,
    require_order,
    run_at,
    sent_to,
)
from whole_support import Bench, Result, bench

LATER = 600.0  # seconds; an observation is looked at again after 300


async def planned(b: Bench, environ: dict[str, str] | None = None, **sections: Any) -> Path:
    """A plan file of a fleet of six that is to be renamed, if nothing else is said."""
    manifest = b.manifest(**{"targets": b.targets(6), "changes": [RENAME], **sections})
    result = await b.run("plan", str(manifest), "-o", "plan.json", environ=environ)
    assert result.code == 0, result.err
    return b.folder / "plan.json"


async def require_refused(b: Bench, result: Result, *words: str) -> None:
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err
    assert b.modifying_calls() == 0
    assert "no runs" in (await b.run("runs")).out


async def test_a_plan_file_is_applied(tmp_path: Path) -> None:
    """In its waves; it is readable, private, and the plan table still goes to people."""
    async with bench(tmp_path) as b:
        path = await planned(b, rollout=CANARY_PLAN)
        assert b.modifying_calls() == 0
        assert json.loads(path.read_text())["schema"] == "batchmod.plan/2"
        printed = await b.run("plan", "job.yaml", "--format", "json")
        assert json.loads(printed.out).keys() == json.loads(path.read_text()).keys()
        result = await b.run("run", str(path), "--yes")
        assert (result.code, b.outcomes()) == (0, {"changed": 6}), result.err
        waves = in_waves(b.targets(6), [1, 2])
        assert {row["instance_id"]: row["wave"] for row in b.report()["rows"]} == {
            name: number for number, wave in enumerate(waves, 1) for name in wave
        }
        require_order(b, waves)


async def test_nothing_but_the_plan_is_applied(tmp_path: Path) -> None:
    """What a selector would find now is not touched."""
    faults = {"instances": {"r-sim000005": {"tags": {"env": "dev"}}}}
    async with bench(tmp_path, instances=6, faults=faults) as b:
        select = {"regions": ["cn-hangzhou", "cn-shanghai"], "tags": {"env": "prod"}}
        path = await planned(b, targets=[{"select": select}])
        b.sim.cloud.instances["r-sim000005"].tags["env"] = "prod"
        result = await b.run("run", str(path), "--yes")
        assert (result.code, b.outcomes()) == (0, {"changed": 5}), result.err
        assert "r-sim000005" not in sent_to(b)


async def test_what_moved_since_the_plan_is_skipped(tmp_path: Path) -> None:
    """Renamed by somebody else: skipped; gone: failed; each with its reason, and nothing else is touched."""
    async with bench(tmp_path, instances=8) as b:
        path = await planned(b)
        b.sim.cloud.instances["r-sim000001"].name = "by-hand"
        b.sim.cloud._vanish(b.sim.cloud.instances["r-sim000002"])  # by somebody else; a script would need its moment
        move_cloud(b, LATER)
        result = await run_at(b, LATER, "run", str(path), "--yes")
        assert result.code == 1, result.err
        rows = by_id(b.report())
        assert b.outcomes() == {"changed": 4, "skipped": 1, "failed": 1}
        assert rows["r-sim000001"]["outcome"] == "skipped"
        assert "by-hand" in rows["r-sim000001"]["detail"]
        assert (rows["r-sim000002"]["outcome"], rows["r-sim000002"]["error_code"]) == (
            "failed",
            "InvalidInstanceId.NotFound",
        )
        assert b.truth("r-sim000001")["name"] == "by-hand"
        assert sent_to(b) == {"r-sim000000", "r-sim000003", "r-sim000004", "r-sim000005"}


async def test_what_was_done_by_hand_is_not_done_again(tmp_path: Path) -> None:
    """It has moved too, to where the plan wanted it: nothing is sent."""
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b)
        b.sim.cloud.instances["r-sim000001"].name = "new-r-sim000001"
        move_cloud(b, LATER)
        result = await run_at(b, LATER, "run", str(path), "--yes")
        assert result.code == 0, result.err
        assert by_id(b.report())["r-sim000001"]["outcome"] in {"skipped", "unchanged"}
        assert "r-sim000001" not in sent_to(b)


@pytest.mark.parametrize("where", [0.0, 0.02, 0.3, 0.6, 0.9, 1.0])
async def test_a_plan_that_was_edited_by_one_byte_is_refused(tmp_path: Path, where: float) -> None:
    """Wherever it is, also in white space: exit 2, no run, no call that changes."""
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b)
        body = bytearray(path.read_bytes())
        place = int((len(body) - 1) * where)
        body[place] = ord(" ") if body[place] != ord(" ") else ord("\n")
        path.write_bytes(body)
        await require_refused(b, await b.run("run", str(path), "--yes"), "plan.json")


@pytest.mark.parametrize("form", ["older", "cut", "longer", "empty", "nothing of the kind"])
async def test_a_plan_of_another_form_is_refused(tmp_path: Path, form: str) -> None:
    """With its name, and nothing of it is applied."""
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b)
        text = path.read_text()
        path.write_text(
            {
                "older": text.replace("batchmod.plan/2", "batchmod.plan/1"),
                "cut": text[: len(text) // 2],
                "longer": text + "\n",
                "empty": "",
                "nothing of the kind": "{}",
            }[form]
        )
        await require_refused(b, await b.run("run", str(path), "--yes"), "plan.json")


async def test_a_chosen_password_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    """The plan knows it by its HMAC alone: no secret and no plain digest of one is in the file."""
    first, second = {"PW": "First-Passw0rd"}, {"PW": "Second-Passw0rd"}
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b, environ=first, changes=[{"password": {"env": "PW"}}], proof=ACCEPTED)
        assert first["PW"] not in path.read_text()
        await require_refused(b, await b.run("run", str(path), "--yes", environ=second))
        await require_refused(b, await b.run("run", str(path), "--yes"), "PW")
        result = await b.run("run", str(path), "--yes", environ=first)
        assert (result.code, b.outcomes()) == (0, {"changed": 6}), result.err


async def test_encryption_needs_its_number_for_a_plan_too(tmp_path: Path) -> None:
    """A file that somebody wrote is no agreement: exit 2 and no Modify call."""
    async with bench(tmp_path, instances=2) as b:
        path = await planned(b, targets=b.targets(2), changes=[ENCRYPT])
        for more in ((), ("--accept-irreversible", "3"), ("--accept-irreversible", "1")):
            await require_refused(b, await b.run("run", str(path), "--yes", *more), "--accept-irreversible 2")
        result = await b.run("run", str(path), "--yes", "--accept-irreversible", "2")
        assert (result.code, b.outcomes()) == (0, {"changed": 2}), result.err


async def test_a_plan_needs_yes_like_a_manifest(tmp_path: Path) -> None:
    """Without a terminal and without --yes nothing is applied."""
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b)
        await require_refused(b, await b.run("run", str(path)), "--yes")


async def test_a_plan_that_was_killed_is_resumed_as_it_was(tmp_path: Path) -> None:
    """From the journal: the file is not needed any more."""
    async with bench(tmp_path, instances=6) as b:
        path = await planned(b, limits={"rate": "4/1s"})
        process = await b.start("run", str(path), "--yes")
        await reached(b, 2, process)
        process.kill()
        await process.communicate()
        path.unlink()
        result = await b.run("resume")
        assert (result.code, b.outcomes()) == (0, {"changed": 6}), result.err
