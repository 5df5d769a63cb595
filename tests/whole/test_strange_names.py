"""Names that no console allows, as a broken service might tell them."""

import json
from pathlib import Path

from canary_wire import Sent, reply, wire_to
from whole_support import bench

HALF = "half \ud83d of a character"


def described(_: Sent) -> bytes:
    instance = {
        "InstanceId": "r-sim000000",
        "InstanceStatus": "Normal",
        "InstanceName": HALF,
        "RegionId": "cn-hangzhou",
    }
    found = {"RequestId": "1", "TotalCount": 1, "Instances": {"KVStoreInstance": [instance]}}
    return reply(200, json.dumps(found))


async def test_half_a_character_in_a_name_is_shown_escaped(tmp_path: Path) -> None:
    """By plan, run and report; nothing crashes, and nothing else changes."""
    async with bench(tmp_path, instances=1) as b, wire_to(b.sim.endpoint) as wire:
        wire.plays["DescribeInstances"] = described
        environ = {"BATCHMOD_ENDPOINT": wire.endpoint}
        retry = {"settle_timeout": "1s", "settle_quiet": "100ms", "fence": "1s"}
        for kind in (
            {"attributes": {"name": "new-name"}},
            {"attributes": {"name": {"pattern": "half", "replace": "x"}}},
        ):
            b.manifest(targets=b.targets(1), changes=[kind], retry=retry)
            for form in ("table", "json"):
                planned = await b.run("plan", "job.yaml", "-v", "--format", form, environ=environ)
                assert "Traceback" not in planned.err
        b.manifest(targets=b.targets(1), changes=[{"attributes": {"name": "new-name"}}], retry=retry)
        result = await b.run("run", "job.yaml", "--yes", "-v", environ=environ)
        assert "Traceback" not in result.err
        for form in ("csv", "json", "html"):
            told = await b.run("report", "job", "--format", form)
            assert told.code == 0, told.err
            assert "d83d" in told.out
