"""Every sample job does what it says, against the simulator, just as it is committed."""

import shutil
from pathlib import Path

import pytest
from whole_support import bench

JOBS = Path(__file__).parents[2] / "jobs"
FAULTS = {"quotas": {"default": "200/60s"}, "durations": {"attributes": 0.5, "password": 1.0, "tde": 3.0}, "lag": 0.2}
EXPECTED = {
    "fleet-by-tag.yaml": ((), {"changed": 10}),
    "rotate-passwords.yaml": (("--resume", "--quiet"), {"changed": 10}),
    "migration-campaign.yaml": (("--accept-irreversible", "10"), {"changed": 20}),
    "nightly-compliance.yaml": (("--resume",), {"changed": 20}),
}


@pytest.mark.parametrize("job", sorted(EXPECTED))
async def test_a_sample_job_runs(tmp_path: Path, job: str) -> None:
    """Exit 0, every row as expected; a second run changes nothing."""
    flags, outcomes = EXPECTED[job]
    shutil.copytree(JOBS, tmp_path / "jobs")
    async with bench(tmp_path, instances=20, faults=FAULTS, speed=20) as b:
        result = await b.run("run", f"jobs/{job}", "--yes", *flags)
        assert result.code == 0, result.err
        assert b.outcomes() == outcomes
        again = await b.run("run", f"jobs/{job}", "--yes", *flags)
        assert again.code == 0, again.err
        assert b.outcomes() == {"unchanged": outcomes["changed"]}


def test_no_sample_is_forgotten() -> None:
    """Every manifest in jobs/ is run by a test."""
    manifests = {path.name for path in JOBS.glob("*.yaml") if not path.name.endswith("-faults.yaml")}
    assert manifests == {*EXPECTED, "demo.yaml"}


async def test_the_demo(tmp_path: Path) -> None:
    """Sixty instances in two regions over the wire, TaskExists and throttling met, logins proved, every report."""
    async with bench(tmp_path, instances=1) as b:
        result = await b.run("demo")
        assert result.code == 0, result.err
        assert "throttled" in result.err
        rows = b.report()["rows"]
        assert b.outcomes() == {"changed": 120}
        assert {row["region"] for row in rows} == {"cn-hangzhou", "cn-shanghai"}
        assert {row["proof"] for row in rows if row["change"] == "password"} == {"login"}
        assert any(row["attempts"] > 1 for row in rows)
        assert sorted(path.suffix for path in (tmp_path / "reports").iterdir()) == [".csv", ".html", ".json"]
