"""`control`: what an operator says to a run from another shell."""

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from whole_support import Bench, bench, reaches

RENAME = {"attributes": {"name": "new-{id}"}}
MODIFY = "ModifyInstanceAttribute"
SLOW = {"rate": "5/1s"}


@asynccontextmanager
async def a_run(
    folder: Path, *, faults: Mapping[str, Any] | None = None, instances: int = 30, **sections: Any
) -> AsyncIterator[tuple[Bench, asyncio.subprocess.Process]]:
    """A slow run that has begun to send; killed at the end if it is still there."""
    async with bench(folder, instances=instances, faults=faults) as b:
        b.manifest(**{"targets": b.targets(instances), "changes": [RENAME], "limits": SLOW, **sections})
        process = await b.start("run", "job.yaml", "--yes")
        try:
            await reaches(b, MODIFY, 2)
            yield b, process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def say(b: Bench, action: str, code: int = 0) -> str:
    result = await b.run("control", "job", action)
    assert result.code == code, result.err
    assert result.out == ""
    return result.err


async def ends(process: asyncio.subprocess.Process, code: int) -> str:
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode == code, err.decode()
    return err.decode()


def said(folder: Path) -> list[str]:
    """What the journal knows of it, in order."""
    with sqlite3.connect(folder / ".batchmod/journal.db") as db:
        marks = [json.loads(body) for (body,) in db.execute("SELECT body FROM mark ORDER BY n")]
    return [mark["reason"] for mark in marks if mark["type"] == "controlled"]


async def test_a_run_is_paused_goes_on_and_is_made_faster(tmp_path: Path) -> None:
    """In a directory with a long name; nothing is sent while it is paused, and the journal knows who said what."""
    folder = tmp_path / ("long" * 20) / ("longer" * 20)
    folder.mkdir(parents=True)
    async with a_run(folder) as (b, process):
        assert (await say(b, "pause")).endswith(": paused\n")
        await asyncio.sleep(0.2)  # what was armed before is on its way
        sent = b.modifying_calls()
        await say(b, "changing=20")
        assert "rate=1000/1s for every API but DescribeInstanceAttribute" in await say(b, "rate=1000/1s")
        await asyncio.sleep(0.5)  # enough for all of them
        assert b.modifying_calls() == sent < 30
        assert (await say(b, "continue")).endswith(": goes on\n")
        err = await ends(process, 0)
        assert "control: pause" in err
        assert said(folder) == ["pause", "changing=20", "rate=1000/1s", "continue"]
        assert b.outcomes() == {"changed": 30}
        control = folder / ".batchmod/control"
        assert control.stat().st_mode & 0o077 == 0
        assert list(control.iterdir()) == []


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("how", ["stop", "signal"])
async def test_a_run_is_stopped_as_by_a_signal(tmp_path: Path, how: str, *, paused: bool) -> None:
    """Exit 3 with its report, paused or not, and it can be resumed."""
    async with a_run(tmp_path) as (b, process):
        if paused:
            await say(b, "pause")
        if how == "stop":
            assert (await say(b, "stop")).endswith(": stopping\n")
        else:
            process.send_signal(signal.SIGTERM)
        err = await ends(process, 3)
        assert f"stopped by: {'control' if how == 'stop' else how}" in err
        assert "next: batchmod resume" in err
        assert b.report()["run"]["stopped_by"] == ("control" if how == "stop" else how)
        assert "`batchmod resume" in await say(b, "continue", code=2)
        assert b.outcomes()["not_started"] > 0


async def test_a_second_signal_ends_a_run_that_was_stopped(tmp_path: Path) -> None:
    """The first one after `stop` changes nothing; nothing but a stop is heard any more."""
    async with a_run(tmp_path, faults={"durations": {"attributes": 30.0}}) as (b, process):
        await say(b, "stop")
        for action in ("pause", "rate=9/1s"):
            assert "is stopping (control)" in await say(b, action, code=2)
        await say(b, "stop")
        process.send_signal(signal.SIGTERM)
        await say(b, "stop")
        process.send_signal(signal.SIGTERM)
        await ends(process, 130)


async def test_a_disruption_budget_is_lifted(tmp_path: Path) -> None:
    """Who waited for it begins at once, beside who is in change."""
    limits = {"rate": "1000/1s", "changing": 2}
    async with a_run(tmp_path, faults={"durations": {"attributes": 4.0}}, instances=8, limits=limits) as (b, process):
        await say(b, "changing=none")
        await reaches(b, MODIFY, 8)
        assert sum(b.truth(f"r-sim{n:06}")["status"] != "Normal" for n in range(8)) > 2
        await ends(process, 0)


async def test_two_at_once_and_garbage_between_them(tmp_path: Path) -> None:
    """Each is answered; what is no request goes, and harms nobody; one to another process is not done."""
    async with a_run(tmp_path) as (b, process):
        control = tmp_path / ".batchmod/control"
        (control / "notes.txt").write_text("x" * 100_000)
        (control / "folder").mkdir()
        (control / "00000000000000000001-0000000000000001.request").write_bytes(b"\xff" * 9000)
        (control / "00000000000000000001-0000000000000002.request").write_text("[" * 4000)
        (control / "00000000000000000001-0000000000000003.request").symlink_to("/dev/zero")
        os.mkfifo(control / "00000000000000000001-0000000000000004.request")
        holder = json.loads((tmp_path / ".batchmod/lock").read_text())
        dead = {"to": holder | {"start": "2026-01-01T00:00:00Z"}, "action": "stop"}
        (control / "00000000000000000001-0000000000000005.request").write_text(json.dumps(dead))
        unknown = {"to": holder, "action": "explode"}
        (control / "00000000000000000001-0000000000000006.request").write_text(json.dumps(unknown))
        await say(b, "pause")
        await asyncio.gather(say(b, "changing=9"), say(b, "rate=1000/1s"))
        assert [path.name for path in control.iterdir()] == ["00000000000000000001-0000000000000006.answer"]
        await say(b, "continue")
        await ends(process, 0)
        assert b.outcomes() == {"changed": 30}
        assert (await b.run("run", "job.yaml", "--yes")).code == 0
        assert sorted(said(tmp_path)) == ["changing=9", "continue", "pause", "rate=1000/1s"]


@pytest.mark.parametrize(
    "action", ["", "paus", "stop=1", "rate", "rate=", "rate=0/1s", "rate=5", "changing=0", "changing=-1"]
)
async def test_what_is_no_action_is_refused_before_anything(tmp_path: Path, action: str) -> None:
    """Also where there is no run: exit 2, one line."""
    async with bench(tmp_path, instances=1) as b:
        err = await say(b, action, code=2)
        assert len(err.splitlines()) == 1
        assert not (tmp_path / ".batchmod").exists()


async def test_a_run_that_does_not_listen(tmp_path: Path) -> None:
    """Frozen, with a folder that cannot be used, ended: exit 2 and what to do."""
    async with a_run(tmp_path) as (b, process):
        process.send_signal(signal.SIGSTOP)
        impatient = (
            "import sys, batchmod.app.control as c\nc.PATIENCE = 0.3\nfrom batchmod.cli import main\nsys.exit(main())\n"
        )
        asking = await b.start_program(impatient, "control", "job", "stop")
        assert "has not answered within 0 s; nothing was changed" in await ends(asking, 2)
        control = tmp_path / ".batchmod/control"
        control.rename(tmp_path / "elsewhere")
        assert "listens to nobody yet" in await say(b, "pause", code=2)
        control.write_text("")
        assert "a request cannot be written there" in await say(b, "pause", code=2)
        control.unlink()
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.communicate()
        assert "is not running: `batchmod resume" in await say(b, "pause", code=2)
        assert (await b.run("control", "other", "pause")).code == 2
        b.manifest(targets=b.targets(30), changes=[RENAME])
        assert (await b.run("run", "job.yaml", "--yes", "--resume")).code == 0
        assert "it has ended" in await say(b, "pause", code=2)
