"""A quota that nobody told: found, kept, reported, and remembered for the next run."""

import json
from contextlib import closing
from pathlib import Path

from whole_support import bench

from batchmod.app.session import found_quotas
from batchmod.engine.clock import Clock
from batchmod.journal.sqlite import SqliteJournal

MODIFY = "ModifyInstanceAttribute"
QUOTAS = {"quotas": {"default": "5000/1s", "DescribeInstances": "5000/1s", MODIFY: "12/1s"}}


async def test_an_unknown_quota_is_found_told_and_remembered(tmp_path: Path) -> None:
    """The report has it, also when it is rebuilt from the journal, and so has the next run."""
    async with bench(tmp_path, instances=50, faults=QUOTAS) as b:
        targets = [{"id": f"r-sim{n:06d}", "region": "cn-hangzhou"} for n in range(0, 50, 2)]
        b.manifest(targets=targets, changes=[{"attributes": {"name": "new-{id}"}}], limits={"rate": "auto"})
        result = await b.run("run", "job.yaml", "--yes")
        assert result.code == 0, result.err
        run = b.report()["run"]
        again = json.loads((await b.run("report", run["id"], "--format", "json")).out)
        assert again["run"]["pacing"] == run["pacing"]
    (paced,) = [each for each in run["pacing"] if each["api"] == MODIFY]
    assert paced["calls"] - paced["throttled"] == 25
    assert paced["throttled"] > 0
    assert 0 < paced["used"] <= 1.1
    with closing(SqliteJournal.read(tmp_path / ".batchmod")) as journal:
        found = found_quotas(journal, Clock())
    assert list(found) == [(paced["account_id"], "cn-hangzhou", MODIFY)]
    assert found[paced["account_id"], "cn-hangzhou", MODIFY].rate.per_second <= 13
