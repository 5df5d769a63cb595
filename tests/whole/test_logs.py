"""What a cron line reads: one line with --quiet, one object a line with --log-format json, whatever happens."""

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

from whole_support import Bench, Result, bench, reaches

RENAME = {"attributes": {"name": "new-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
MODIFY = "ModifyInstanceAttribute"
JSON = ("--log-format", "json")


def events(result: Result) -> list[dict[str, Any]]:
    """Every line of stderr, as an object with time, level and event."""
    found = [json.loads(line) for line in result.err.splitlines()]
    for one in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
        assert one["level"] in {"info", "warning", "error"}
        assert one["event"]
    return found


async def ended(process: asyncio.subprocess.Process) -> Result:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def test_a_run_as_json(tmp_path: Path) -> None:
    """Every row that ended, every call at -v, and the last words as fields."""
    faults = {"refuse": [{"match": "r-sim000001", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=3, faults=faults) as b:
        b.manifest(targets=b.targets(3), changes=[RENAME])
        result = await b.run("run", "job.yaml", "--yes", "-v", *JSON)
        told = events(result)
        assert result.code == 1
        assert [one["event"] for one in told if one["event"] not in {"call", "message"}] == [
            "run_opened", "row", "row", "row", "summary",
        ]  # fmt: skip
        rows = {one["instance_id"]: one for one in told if one["event"] == "row"}
        assert rows["r-sim000001"]["outcome"] == "failed"
        assert rows["r-sim000001"]["level"] == "warning"
        assert rows["r-sim000001"]["code"] == "IncorrectDBInstanceLockMode"
        (run_id,) = {one.get("run_id") for one in told}
        reported = {row["instance_id"]: row for row in b.report()["rows"]}["r-sim000000"]
        same = ("account_id", "request_id", "seconds")
        assert all(reported[name] for name in (*same, "run_id"))
        assert rows["r-sim000000"] | {"time": ""} == {
            "time": "", "level": "info", "event": "row", "run_id": run_id, "seq": 0, "instance_id": "r-sim000000",
            "region": "cn-hangzhou", "account": "default", "change": "attributes", "wave": 1, "outcome": "changed",
            "proof": "read-back", "attempts": 1, "code": None, "message": None, "detail": None,
            **{name: reported[name] for name in same},
        }  # fmt: skip
        assert run_id == reported["run_id"]
        calls = [one for one in told if one["event"] == "call"]
        assert {one["api"] for one in calls} >= {MODIFY, "DescribeInstances"}
        assert reported["request_id"] in {one["request_id"] for one in calls if one["api"] == MODIFY}
        last = told[-1]
        assert (last["exit_code"], last["stopped_by"], last["open_rows"], last["closed_first"]) == (1, None, 0, None)
        assert last["counts"] == {
            "changed": 2, "unchanged": 0, "skipped": 0, "failed": 1, "unresolved": 0, "not_started": 0,
        }  # fmt: skip
        assert [Path(path).suffix for path in last["reports"]] == [".csv", ".json"]
        assert last["next"] == ["see error_code of the 1 failed rows; nothing was changed there"]
        assert (await b.run("plan", "job.yaml", *JSON)).out.startswith("job: 3 rows")
        assert [one["event"] for one in events(await b.run("plan", "job.yaml", *JSON))] == ["message"]


async def test_errors_as_json(tmp_path: Path) -> None:
    """Of the manifest all at once, of the command line, of a prompt that nobody answers, and a bug."""
    async with bench(tmp_path, instances=1) as b:
        b.manifest(targets=[{"id": "r-x"}, {"id": "r-x"}], changes=[], nmae="x")
        (error,) = events(await b.run("run", "job.yaml", *JSON))
        assert (error["event"], error["level"], error["exit_code"]) == ("error", "error", 2)
        assert len(error["problems"]) > 1
        for arguments in (("run", "--log-format=json"), ("run", "job.yaml", "--nonsense", *JSON)):
            (error,) = events(await b.run(*arguments))
            assert (error["event"], error["exit_code"]) == ("error", 2)
        b.manifest(targets=b.targets(1), changes=[RENAME])
        *_, error = events(await b.run("run", "job.yaml", *JSON))
        assert "--yes" in error["problems"][0]
        broken = "import sys, batchmod.app.run as r\nr.job_of = None\nfrom batchmod.cli import main\nsys.exit(main())\n"
        result = await ended(await b.start_program(broken, "run", "job.yaml", "--yes", "--quiet", *JSON))
        (bug,) = events(result)
        assert (result.code, bug["event"]) == (70, "bug")
        assert "TypeError" in bug["text"]


async def interrupted(b: Bench, *options: str) -> Result:
    """A run that was stopped by a signal after its first writes."""
    sent = b.modifying_calls()
    process = await b.start("run", "job.yaml", "--yes", *options)
    await reaches(b, MODIFY, sent + 2)
    process.send_signal(signal.SIGTERM)
    return await ended(process)


def line(result: Result, code: int, *words: str) -> str:
    assert (result.code, result.out) == (code, ""), result.err
    (text,) = result.err.splitlines()
    assert all(word in text for word in words), text
    return text


def manifest(b: Bench, name: str, **more: Any) -> None:
    b.manifest(**{"targets": b.targets(6), "changes": [{"attributes": {"name": f"{{id}}-{name}"}}], **more})


SLOW = {"limits": {"rate": "5/1s"}}


async def test_quiet_is_one_line_in_every_branch(tmp_path: Path) -> None:
    """Stopped, closed for another manifest, nothing to resume, a budget that is spent, given up, refused."""
    refuse = {"refuse": [{"match": "r-sim000006", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=7, faults=refuse) as b:
        run = ("run", "job.yaml", "--yes", "--quiet")
        manifest(b, "a", **SLOW)
        text = line(await interrupted(b, "--quiet"), 3, "not_started; stopped by signal; exit 3; ", ".csv")
        old = re.search(r"\d{8}T\d{6}Z-[0-9a-f]{4}", text)
        assert old is not None
        manifest(b, "b")
        line(await b.run(*run, "--resume"), 0, "changed; exit 0; ", f"; run {old[0]} (exit 0) was closed first")
        line(await b.run("resume", "--quiet"), 0, "nothing to resume")
        manifest(b, "c", targets=b.targets(7), rollout={"max_failures": 1}, limits={"changing": 1})
        line(await b.run(*run), 3, "stopped by max_failures; exit 3")
        line(await b.run(*run, "--resume"), 3, "--reset-budget")
        line(await b.run(*run), 2, "unfinished")
        line(await b.run("abandon", "job", "--quiet"), 1, "1 failed")
        line(await b.run("abandon", "job", "--quiet"), 0, "nothing to abandon")


async def test_quiet_json_is_one_object(tmp_path: Path) -> None:
    """With the run that was closed before."""
    async with bench(tmp_path, instances=6) as b:
        manifest(b, "a", **SLOW)
        (stopped,) = events(await interrupted(b, "--quiet", *JSON))
        assert (stopped["event"], stopped["stopped_by"]) == ("summary", "signal")
        manifest(b, "b")
        (last,) = events(await b.run("run", "job.yaml", "--yes", "--resume", "--quiet", *JSON))
        assert (last["exit_code"], last["closed_first"]) == (0, stopped["run_id"])
        assert last["run_id"] == b.report()["run"]["id"]
        (nothing,) = events(await b.run("resume", "--quiet", *JSON))
        assert nothing["event"] == "message"


async def test_quiet_still_says_what_must_not_be_missed(tmp_path: Path) -> None:
    """The age key that was made, and errors."""
    async with bench(tmp_path, instances=1) as b:
        b.manifest(targets=b.targets(1), changes=[ROTATE], proof={"password": "accepted"})
        result = await b.run("run", "job.yaml", "--yes", "--quiet")
        key, last = result.err.splitlines()
        assert "back this up" in key
        assert last.startswith("job ")
        assert (await b.run("run", "nothing.yaml", "--quiet")).err.startswith("nothing.yaml: ")
