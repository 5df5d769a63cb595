"""Ten thousand instances in four regions of three accounts, known by a tag alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleet_support import PROFILES, A, B, C, every, write_profiles
from whole_support import Bench, bench

FLEET = 10_000
REGIONS = ("cn-hangzhou", "cn-shanghai", "cn-beijing", "eu-central-1")
PAGES = 17 + 1  # of fifty, for the 833 or 834 instances of one account in one region; the first is read twice
CALLS = 1 + PAGES * len(REGIONS)  # of one account until its plan is made: who it is, and its lists
FAULTS: dict[str, Any] = {
    "regions": list(REGIONS),
    "accounts": {A: {}, B: {"revoke_key_after": 2 * CALLS}, C: {}},  # `plan`, and then the plan of `run`
    "durations": {"attributes": 0.0},
}


def reads(b: Bench) -> int:
    return sum(b.calls(api) for api in b.sim.cloud.state()["calls"] if api.startswith("Describe"))


@pytest.mark.timeout(300)
async def test_ten_thousand_instances_by_tag(tmp_path: Path) -> None:
    """Planned with at most 1.1 reads for 30 instances; an account whose key is revoked after the plan fails alone."""
    async with bench(tmp_path, instances=FLEET, faults=FAULTS) as b:
        write_profiles(b)
        manifest = b.manifest(
            accounts=PROFILES,
            targets=every("a", "b", "c", regions=REGIONS),
            changes=[{"attributes": {"name": "new-{id}"}}],
        )
        planned = await b.run("plan", str(manifest), "--format", "json")
        assert planned.code == 0, planned.err
        assert json.loads(planned.out)["counts"]["planned"] == FLEET
        assert reads(b) == PAGES * len(REGIONS) * len(PROFILES) <= 1.1 * FLEET / 30
        result = await b.run("run", str(manifest), "--yes", "--quiet")
        assert result.code == 1, result.err
        report = b.report()
        outcomes = Counter((row["account"], row["outcome"], row["error_code"]) for row in report["rows"])
        assert outcomes == {
            ("a", "changed", None): 3336,
            ("b", "not_started", "InvalidAccessKeyId.Inactive"): 3332,
            ("c", "changed", None): 3332,
        }
        assert [failed["account"] for failed in report["run"]["accounts_failed"]] == ["b"]
        truth = b.sim.cloud.state()["instances"]
        for row in report["rows"]:
            assert (truth[row["instance_id"]]["name"] == f"new-{row['instance_id']}") == (row["outcome"] == "changed")
