"""`doctor` finds what would keep a run from working, each thing by itself, and leaves no trace."""

import json
import os
from pathlib import Path
from typing import Any

from rollout_support import ended
from whole_support import Bench, bench, reaches

ALL: list[dict[str, Any]] = [
    {"attributes": {"name": "new-{id}"}},
    {"password": {"generate": {}}},
    {"tde": {}},
]
LOGIN = {"password": "login", "timeout": "2s"}


async def looked(b: Bench, manifest: Path, *more: str, code: int = 0) -> dict[str, tuple[bool, str]]:
    """What was found, by name."""
    result = await b.run("doctor", str(manifest), "--format", "json", *more)
    assert result.code == code, (result.code, result.out, result.err)
    document = json.loads(result.out)
    assert (document["schema"], document["ok"]) == ("batchmod.doctor/1", code == 0)
    return {one["what"]: (one["ok"], one["text"]) for one in document["findings"]}


def failed(found: dict[str, tuple[bool, str]]) -> dict[str, str]:
    return {what: text for what, (fine, text) in found.items() if not fine}


async def test_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    """No state, no key, no reports, no change; the same after a run, as lines."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=ALL, proof=LOGIN, report={"dir": "reports"})
        before = b.files()
        found = await looked(b, manifest)
        assert not failed(found)
        home = list(Path(os.environ["HOME"]).rglob("age.key"))  # noqa: ASYNC240  short
        assert (b.files(), home, b.modifying_calls()) == (before, [], 0)
        assert {"state directory", "journal", "age key", "store", "report directory", "account default"} <= set(found)
        assert "route to r-sim000000" in found
        assert "DescribeInstanceTDEStatus default cn-shanghai" in found
        assert (await b.run("run", str(manifest), "--yes", "--accept-irreversible", "3")).code == 0
        before = b.files()
        result = await b.run("doctor", str(manifest))
        assert result.code == 0, result.out
        assert all(line.startswith("ok    ") for line in result.out.splitlines())
        assert "opens with the age key, 3 generations" in result.out
        assert b.files() == before


async def test_each_fault_is_found_by_itself(tmp_path: Path) -> None:
    """A route, an instance and a chosen password that are missing; a place and a journal that cannot be used."""
    faults = {"instances": {"r-sim000000": {"address": "127.0.0.1:1"}}}
    async with bench(tmp_path, instances=3, faults=faults) as b:
        (tmp_path / "taken").write_text("a file")
        targets = [{"id": "r-sim000000", "region": "cn-hangzhou"}, {"id": "r-none", "region": "cn-shanghai"}]
        changes = [ALL[0], {"password": {"env": "NOT_SET"}}]
        manifest = b.manifest(targets=targets, changes=changes, proof=LOGIN, report={"dir": "taken"})
        state = tmp_path / ".batchmod"
        state.mkdir()
        (state / "journal.db").write_bytes(b"this is no journal" * 100)
        found = await looked(b, manifest, code=2)
        wrong = failed(found)
        assert set(wrong) == {
            "journal",
            "report directory",
            "chosen password",
            "DescribeInstances default cn-shanghai",
            "route to r-sim000000",
        }
        assert "r-none" in wrong["DescribeInstances default cn-shanghai"]
        assert "NOT_SET" in wrong["chosen password"]
        refused = await b.run(
            "doctor", str(manifest), environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "Wr0ng-access-key-secret"}
        )
        assert refused.code == 2
        assert "FAIL  account default: " in refused.out
        assert "ok    age key: " in refused.out
        assert "FAIL  journal: " in refused.out


async def test_a_run_at_work_is_named(tmp_path: Path) -> None:
    """Another could not begin now; when it has died it is unfinished, and its store is fine."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=ALL[1:2], limits={"rate": "1/1s"})
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, "ModifyInstanceAttribute", 1)
        (held,) = failed(await looked(b, manifest, code=2)).values()
        assert f"pid {process.pid} " in held
        process.kill()
        await ended(process)
        found = await looked(b, manifest)
        assert "unfinished: " in found["journal"][1]
        key = next(iter(Path(os.environ["HOME"]).rglob("age.key")))  # noqa: ASYNC240  short
        key.chmod(0o644)
        assert set(failed(await looked(b, manifest, code=2))) == {"age key", "store"}
        key.unlink()
        assert set(failed(await looked(b, manifest, code=2))) == {"age key", "store"}
