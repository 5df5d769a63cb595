"""Only what failed is repeated; the second of two runs does nothing."""

from pathlib import Path
from typing import Any

import pytest
from whole_support import Bench, Result, bench, reaches

RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
MODIFY = "ModifyInstanceAttribute"
NO = "refuse:InvalidParameter.Nonsense"
FAILS: dict[str, Any] = {"scripts": [{"api": MODIFY, "match": f"r-sim00000{n}", "play": [NO]} for n in (1, 3, 4)]}
SELECT = {"select": {"regions": ["cn-hangzhou", "cn-shanghai"], "tags": {"env": "prod"}}}


async def retried(b: Bench, manifest: Path, *more: str) -> Result:
    return await b.run("run", str(manifest), "--yes", "--retry", "failed", *more)


def ended(b: Bench) -> list[tuple[str, str]]:
    return [(row["instance_id"], row["outcome"]) for row in b.report()["rows"]]


@pytest.mark.parametrize("selected", [False, True])
async def test_only_what_failed_is_repeated(tmp_path: Path, selected: bool) -> None:
    """Explicit or selected; nothing else is in the plan, and a target that is gone from the manifest is counted."""
    async with bench(tmp_path, instances=6, faults=FAILS) as b:
        manifest = b.manifest(targets=[SELECT] if selected else b.targets(6), changes=[RENAME])
        first = await b.run("run", str(manifest), "--yes")
        assert (first.code, b.outcomes()) == (1, {"changed": 3, "failed": 3})
        b.manifest(
            targets=[SELECT] if selected else [one for one in b.targets(6) if one["id"] != "r-sim000003"],
            changes=[{"attributes": {"name": "newer-{id}"}}],
            exclude=["r-sim000003"] if selected else [],
        )
        sent = b.modifying_calls()
        result = await retried(b, manifest)
        assert result.code == 0, result.err
        assert "1 of 3 rows that failed in run" in result.err
        assert sorted(ended(b)) == [("r-sim000001", "changed"), ("r-sim000004", "changed")]
        assert b.modifying_calls() == sent + 2
        asked = b.sim.cloud.state()["calls"]
        result = await retried(b, manifest)
        assert (result.code, "nothing to retry" in result.err) == (0, True)
        assert b.sim.cloud.state()["calls"] == asked


async def test_what_the_plan_found_missing_failed_too(tmp_path: Path) -> None:
    """It is tried again; without an earlier run there is nothing to repeat."""
    async with bench(tmp_path, instances=2) as b:
        ghost = {"id": "r-none", "region": "cn-hangzhou"}
        manifest = b.manifest(targets=[ghost, *b.targets(2)], changes=[RENAME])
        result = await retried(b, manifest)
        assert (result.code, "there is no run of job" in result.err) == (2, True)
        assert not b.sim.cloud.state()["calls"]
        assert (await b.run("run", str(manifest), "--yes")).code == 1
        assert (await retried(b, manifest)).code == 1
        assert ended(b) == [("r-none", "failed")]
        b.manifest(targets=b.targets(2), changes=[RENAME])
        asked = b.sim.cloud.state()["calls"]
        result = await retried(b, manifest)
        assert (result.code, "in the manifest any more" in result.err) == (0, True)
        assert b.sim.cloud.state()["calls"] == asked


async def test_with_resume_an_unfinished_run_comes_first(tmp_path: Path) -> None:
    """The killed run is continued to its end; the next such run repeats what failed in it."""
    async with bench(tmp_path, instances=6, faults=FAILS) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME], limits={"rate": "20/1s"})
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 2)
        process.kill()
        await process.communicate()
        assert (await retried(b, manifest)).code == 2
        assert (await retried(b, manifest, "--resume")).code == 1
        failed = [name for name, outcome in ended(b) if outcome == "failed"]
        assert (len(ended(b)), bool(failed)) == (6, True)
        assert (await retried(b, manifest, "--resume")).code == 0
        assert ended(b) == [(name, "changed") for name in failed]


async def test_of_two_runs_one_does_the_work(tmp_path: Path) -> None:
    """The second asks nothing of anybody and ends with 75; after kill -9 of the first it takes over."""
    hangs = {"scripts": [{"api": MODIFY, "match": "r-sim000002", "play": [{"fault": "hang", "seconds": 60}]}]}
    async with bench(tmp_path, instances=6, faults=hangs) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME], timeouts={"read": "60s"})
        first = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 5)
        asked = b.calls("GetCallerIdentity")
        for command in (
            ("run", str(manifest), "--yes"),
            ("resume",),
            ("abandon", "job"),
            ("run", str(manifest), "--resume"),
        ):
            result = await b.run(*command)
            assert result.code == 75, (command, result.err)
            assert str(first.pid) in result.err
        assert b.calls("GetCallerIdentity") == asked
        first.kill()
        await first.communicate()
        result = await b.run("run", str(manifest), "--yes", "--resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 6}
