"""A fleet that is known by its tags alone: resolved once, at plan, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from fleet_support import RENAME, answered, every
from whole_support import bench

BOTH = ["cn-hangzhou", "cn-shanghai"]
TEAMS: dict[str, Any] = {
    "instances": {
        "*": {"tags": {"env": "prod", "team": "pay"}},
        "r-sim00000[0-3]": {"tags": {"env": "test"}},
        "r-sim00000[45]": {"engine_version": "6.0"},
    }
}


async def test_only_what_has_the_tags_is_changed(tmp_path: Path) -> None:
    """By name, by tag, by what it is; exclude holds for it too; its tags are vars."""
    async with bench(tmp_path, instances=20, faults=TEAMS) as b:
        selector = {
            "select": {"regions": BOTH, "tags": {"env": "prod"}, "engine_versions": ["7.0"], "names": ["sim-*"]}
        }
        manifest = b.manifest(
            targets=[selector], exclude=["r-sim000006"], changes=[{"attributes": {"name": "{team}-{id}"}}]
        )
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        changed = {row["instance_id"] for row in b.report()["rows"]}
        assert changed == {f"r-sim{n:06d}" for n in range(7, 20)}
        for n in range(20):
            name = f"r-sim{n:06d}"
            assert b.truth(name)["name"] == (f"pay-{name}" if name in changed else f"sim-{n:06d}")


async def test_an_explicit_target_wins_and_nothing_is_twice(tmp_path: Path) -> None:
    """Two selectors and a target that overlap."""
    async with bench(tmp_path, instances=8, faults=TEAMS) as b:
        explicit = {"id": "r-sim000006", "vars": {"team": "mine"}}
        targets = [
            {"select": {"regions": BOTH, "tags": {"env": "prod"}}},
            explicit,
            {"select": {"regions": BOTH, "tags": {"team": "pay"}}},
        ]
        manifest = b.manifest(targets=targets, changes=[{"attributes": {"name": "{team}-{id}"}}])
        planned = json.loads((await b.run("plan", str(manifest), "--format", "json")).out)
        rows = {row["instance_id"]: row["after"]["name"] for row in planned["rows"]}
        assert len(planned["rows"]) == len(rows) == 4
        assert rows["r-sim000006"] == "mine-r-sim000006"
        assert planned["rows"][0]["instance_id"] == "r-sim000006"


async def test_a_plan_says_who_is_in_which_wave(tmp_path: Path) -> None:
    """One canary of each region first; a tag keeps instances apart; what lacks it is refused before anything is sent."""
    async with bench(tmp_path, instances=20, faults=TEAMS) as b:
        selector = {"regions": BOTH, "tags": {"env": "prod"}}
        rollout = {"waves": [2, "25%"], "not_with": "team"}
        manifest = b.manifest(targets=[{"select": selector}], changes=[RENAME], rollout=rollout)
        planned = json.loads((await b.run("plan", str(manifest), "--format", "json")).out)
        waves = {row["instance_id"]: (row["wave"], row["region"]) for row in planned["rows"]}
        assert [len([1 for wave, _ in waves.values() if wave == n]) for n in (1, 2, 3)] == [2, 2, 12]
        assert sorted(region for wave, region in waves.values() if wave == 1) == BOTH
        assert {row["group"] for row in planned["rows"]} == {"pay"}
        every_one = b.manifest(targets=[{"select": {"regions": BOTH}}], changes=[RENAME], rollout=rollout)
        refused = await b.run("plan", str(every_one))
        assert refused.code == 2
        assert 'rollout.not_with: r-sim000000: this target has no var "team"' in refused.err


async def test_what_was_selected_stays(tmp_path: Path) -> None:
    """A run that is resumed asks no selector again: what has the tag by now is not touched."""
    async with bench(tmp_path, instances=8) as b:
        slow = {"ModifyInstanceAttribute": "2/1s"}
        manifest = b.manifest(targets=every("default"), changes=[RENAME], limits={"rate": "3000/1s", "apis": slow})
        process = await b.start("run", str(manifest), "--yes")
        assert process.stderr is not None
        while b.calls("ModifyInstanceAttribute") < 1:
            assert await process.stderr.readline()
        process.kill()
        await process.communicate()
        listed = b.calls("DescribeInstances")
        b.sim.cloud.instances["r-sim000007"].tags = {}
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 8}
        assert b.calls("DescribeInstances") > listed  # looks at ids
        assert b.truth("r-sim000007")["name"] == "new-r-sim000007"


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("http_500", "InternalError"),
        ("forbidden", "Forbidden.RAM"),
        ("garbled", "UnreadableReply"),
        ("reset_before", "ConnectionLost"),
    ],
)
async def test_a_page_that_fails_is_an_error_of_the_plan(tmp_path: Path, fault: str, word: str) -> None:
    """The second page, again and again: exit 2 with account, region and reason, never a part of the fleet."""
    faults = {
        "regions": ["cn-hangzhou"],
        "scripts": [{"api": "DescribeInstances", "play": ["ok", {"fault": fault, "times": 50}]}],
    }
    async with bench(tmp_path, instances=60, faults=faults) as b:
        retry = {"attempts": 2, "max_delay": "1s", "fence": "2s"}
        manifest = b.manifest(targets=every("default", regions=("cn-hangzhou",)), changes=[RENAME], retry=retry)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 2, result.err
        (line,) = result.err.strip().splitlines()
        assert "account default, region cn-hangzhou: cannot be read" in line
        assert word in line
        assert b.modifying_calls() == 0


async def test_throttled_pages_are_waited_out(tmp_path: Path) -> None:
    """Each page is asked again, and none before it."""
    play = ["ok", {"fault": "throttle", "times": 3}, "ok", "throttle"]
    faults = {"regions": ["cn-hangzhou"], "scripts": [{"api": "DescribeInstances", "play": play}]}
    async with bench(tmp_path, instances=120, faults=faults) as b:
        manifest = b.manifest(targets=every("default", regions=("cn-hangzhou",)), changes=[RENAME])
        planned = await b.run("plan", str(manifest), "--format", "json")
        assert len(json.loads(planned.out)["rows"]) == 120
        assert answered(b, "DescribeInstances") == {"OK": 4, "Throttling.User": 4}


async def test_an_empty_selection_is_refused(tmp_path: Path) -> None:
    """With its place and what to do; unless it may be empty."""
    async with bench(tmp_path, instances=4) as b:
        manifest = b.manifest(targets=every("default", tags={"env": "porduction"}), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 2
        assert "job.yaml:1:" in result.err
        assert "allow_empty" in result.err
        manifest = b.manifest(targets=every("default", tags={"env": "porduction"}, allow_empty=True), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert b.report()["rows"] == []
