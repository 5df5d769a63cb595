"""`--metrics FILE` of real runs, read by Prometheus' own parser."""

import stat
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from whole_support import bench

from batchmod.report.metrics import METRICS

ROTATE = {"password": {"generate": {"length": 24}}}
FAULTS = {"refuse": [{"match": "r-sim000002", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
OFTEN = "import sys, batchmod.app.measuring as m\nm.EVERY = 0.02\nfrom batchmod.cli import main\nsys.exit(main())\n"
HANGS = """
import os, sys, threading, batchmod.app.measuring as m
m.LIMIT = m.PATIENCE = 0.2
fchmod, calls = os.fchmod, []
def later(*given):
    calls.append(1)
    return fchmod(*given) if len(calls) == 1 else threading.Event().wait()
os.fchmod = later
from batchmod.cli import main
sys.exit(main())
"""
MODIFY = "ModifyInstanceAttribute"


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Every sample by its metric and what its labels say, the campaign's and the account's left out."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        for sample in family.samples:
            labels = [sample.labels[name] for name in METRICS[sample.name].labels if name not in {"name", "account_id"}]
            found[sample.name.removeprefix("batchmod_"), *labels] = sample.value
    return found


async def test_a_run_is_measured_from_its_first_call_to_its_end(tmp_path: Path) -> None:
    """Rows, calls and proofs; one that is refused; while it goes on; a file that cannot be written, first or later."""
    async with bench(tmp_path, instances=3, faults=FAULTS) as b:
        path = b.folder / "out" / "job.prom"
        body = {"targets": b.targets(3), "changes": [ROTATE], "proof": {"password": "accepted"}}
        run = ("run", str(b.manifest(**body)), "--yes", "--metrics", str(path))
        refused = await b.run(*run)
        assert (refused.code, b.calls("GetCallerIdentity")) == (2, 0)
        assert refused.err == f"--metrics {path}: cannot be written: No such file or directory\n"

        path.parent.mkdir()
        wrong = await b.run(*run, environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"})
        told = read(path)
        assert (wrong.code, told["run_exit_code",]) == (2, 2)
        assert told["run_finished_timestamp_seconds",] >= told["run_started_timestamp_seconds",]

        hung = await b.start_program(HANGS, *run)
        _, err = await hung.communicate()
        assert hung.returncode == 1, err
        assert err.decode().count(f"--metrics {path}: was given up") == 1
        for part in path.parent.glob(".*.part"):
            part.unlink()

        result = await b.run(*run)
        assert result.code == 1, result.err
        assert [each.name for each in path.parent.iterdir()] == ["job.prom"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        told = read(path)
        assert told["run_exit_code",] == 1
        assert told["rows", "cn-hangzhou", "password", "changed"] == 1
        assert told["rows", "cn-hangzhou", "password", "failed"] == 1
        assert told["rows", "cn-shanghai", "password", "changed"] == 1
        assert told["calls_total", "cn-hangzhou", MODIFY, "IncorrectDBInstanceLockMode"] == 1
        assert told["calls_total", "cn-shanghai", MODIFY, "OK"] == 1
        assert told["throttled_total", "cn-shanghai", MODIFY] == 0
        assert told["quota_calls_per_second", "cn-shanghai", MODIFY] == 3000
        assert told["passwords_unproved", "cn-hangzhou"] == 1
        assert told["passwords_unproved", "cn-shanghai"] == 0
        began, ended = told["run_started_timestamp_seconds",], told["run_finished_timestamp_seconds",]
        assert began <= told["oldest_proof_timestamp_seconds", "cn-shanghai"] <= ended

        waits = f"until grep -q 'changed.* 1.0' {path}; do sleep 0.02; done; mv {path.parent} gone"
        b.manifest(**{**body, "targets": b.targets(2)}, rollout={"waves": [1, "100%"], "check": ["sh", "-c", waits]})
        process = await b.start_program(OFTEN, *run)
        _, err = await process.communicate()
        assert process.returncode == 0, err
        assert err.decode().count(f"--metrics {path}: cannot be written: No such file or directory\n") == 1
