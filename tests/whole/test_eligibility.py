"""What cannot be changed is not sent, with the reason; what cannot be changed yet is waited for."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from fleet_support import RENAME, answered
from whole_support import Bench, Result, bench, reaches

MODIFY = "ModifyInstanceAttribute"
PROTECT: dict[str, Any] = {"attributes": {"release_protection": True}}
ENCRYPT: dict[str, Any] = {"tde": {}}
ROTATE: dict[str, Any] = {"password": {"generate": {}}}


async def test_what_can_never_be_is_skipped_with_its_reason(tmp_path: Path) -> None:
    """TDE where it is not supported, protection of a subscription, anything on a locked or released instance."""
    instances = {
        "r-sim000000": {"support_tde": False},
        "r-sim000001": {"charge_type": "PrePaid"},
        "r-sim000002": {"status": "Inactive"},
        "r-sim000003": {"status": "Released"},
    }
    async with bench(tmp_path, instances=5, faults={"instances": instances}) as b:
        manifest = b.manifest(targets=b.targets(5), changes=[PROTECT, ROTATE, ENCRYPT], proof={"password": "accepted"})
        result = await b.run("run", str(manifest), "--yes", "--accept-irreversible", "2")
        assert result.code == 0, result.err
        skipped = [
            (row["instance_id"][-1], row["change"], row["error_code"], row["detail"])
            for row in b.report()["rows"]
            if row["outcome"] == "skipped"
        ]
        assert skipped == [
            ("0", "tde", "InstanceType.NotSupport", "this instance cannot do TDE"),
            ("1", "attributes", None, "release protection does not apply to a subscription instance"),
            *(("2", kind, None, "the instance is locked: disabled or expired (Inactive)") for kind in KINDS),
            *(("3", kind, None, "the instance is released") for kind in KINDS),
        ]
        assert b.outcomes() == {"changed": 7, "skipped": 8}
        assert answered(b, "ModifyInstanceTDE")["OK"] == 2
        assert not await passwords_of(b, "r-sim000002", "r-sim000003")


KINDS = ("attributes", "password", "tde")


async def passwords_of(b: Any, *ids: str) -> list[str]:
    """What is stored for these instances."""
    stored = await b.stored()
    return [name for name in ids if name in stored]


async def waited_for(b: Bench, run: Awaitable[Result]) -> Result:
    """What a run ends with whose busy instance is free only after it was looked at three times."""
    running = asyncio.ensure_future(run)
    await reaches(b, "DescribeInstances", b.calls("DescribeInstances") + 3)
    b.sim.cloud.instances["r-sim000000"].task = None
    return await running


@pytest.mark.parametrize("status", ["Changing", "MinorVersionUpgrading", "Creating", "SomethingNew"])
async def test_a_status_other_than_normal_means_wait(tmp_path: Path, status: str) -> None:
    """Whatever it is called: nothing is sent until it is over, then everything is changed."""
    busy = {"match": "r-sim000000", "seconds": 600, "status": status}
    async with bench(tmp_path, instances=2, faults={"busy": [busy]}) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME, ROTATE], proof={"password": "accepted"})
        planned = await b.run("plan", str(manifest))
        assert f"not Normal now, and waited for: 1 {status}" in planned.out
        result = await waited_for(b, b.run("run", str(manifest), "--yes"))
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 4}
        assert set(answered(b, MODIFY)) == {"OK"}


async def test_an_instance_that_is_locked_while_it_is_waited_for(tmp_path: Path) -> None:
    """Skipped with the reason, nothing sent."""
    busy = {"match": "r-sim000000", "seconds": 600}
    async with bench(tmp_path, instances=1, faults={"busy": [busy]}) as b:
        process = await b.start(
            "run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof={"password": "accepted"})), "--yes"
        )
        await reaches(b, "DescribeInstances", 3)  # the plan, and looks at what is busy
        b.sim.cloud.instances["r-sim000000"].task = None
        b.sim.cloud.instances["r-sim000000"].status = "Inactive"
        _, err = await process.communicate()
        assert process.returncode == 0, err
        (row,) = b.report()["rows"]
        assert (row["outcome"], row["detail"]) == ("skipped", "the instance is locked: disabled or expired (Inactive)")
        assert b.calls(MODIFY) == 0


async def test_a_killed_run_goes_on_with_its_wait(tmp_path: Path) -> None:
    """A run that is killed while it waits goes on waiting, and sends once."""
    busy = {"match": "r-sim000000", "seconds": 600}
    async with bench(tmp_path, instances=1, faults={"busy": [busy]}) as b:
        process = await b.start(
            "run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof={"password": "accepted"})), "--yes"
        )
        await reaches(b, "DescribeInstances", 3)  # the plan, and looks at what is busy
        process.kill()
        await process.communicate()
        result = await waited_for(b, b.run("resume"))
        assert result.code == 0, result.err
        assert (b.outcomes(), answered(b, MODIFY)) == ({"changed": 1}, {"OK": 1})


async def test_an_instance_that_vanishes_between_plan_and_send(tmp_path: Path) -> None:
    """Failed with the code; the others are changed."""
    busy = {"match": "r-sim000000", "seconds": 600}
    async with bench(tmp_path, instances=3, faults={"busy": [busy]}) as b:
        process = await b.start("run", str(b.manifest(targets=b.targets(3), changes=[RENAME])), "--yes")
        await reaches(b, "DescribeInstances", 3)  # the plan, and looks at what is busy
        del b.sim.cloud.instances["r-sim000000"]
        _, err = await process.communicate()
        assert process.returncode == 1, err
        rows = {row["instance_id"]: (row["outcome"], row["error_code"]) for row in b.report()["rows"]}
        assert rows["r-sim000000"] == ("failed", "InvalidInstanceId.NotFound")
        assert b.outcomes() == {"changed": 2, "failed": 1}


async def test_an_instance_that_vanishes_in_doubt(tmp_path: Path) -> None:
    """A lost answer and then no instance: unresolved, never failed; the value stays in the store."""
    faults = {
        "scripts": [{"api": MODIFY, "match": "r-sim000000", "play": ["reset_after"]}],
        "durations": {"password": 600},
    }
    async with bench(tmp_path, instances=1, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE], proof={"password": "settled"})
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 1)
        del b.sim.cloud.instances["r-sim000000"]
        _, err = await process.communicate()
        assert process.returncode == 4, err
        (row,) = b.report()["rows"]
        assert (row["outcome"], row["error_code"]) == ("unresolved", "InvalidInstanceId.NotFound")
        assert list((await b.stored())["r-sim000000"]) == ["pending"]
