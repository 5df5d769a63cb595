"""`submit`, `worker`, `control`, `resume` and `abandon` together, each a process of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from postgres import Database
from soaking import SOAKS
from submit_support import RENAME, ROTATE, Cluster, cluster, ends, says, until, worker
from whole_support import reaches

MODIFY = "ModifyInstanceAttribute"
SLOW = {"rate": "1/1s"}  # for each of two lanes


@pytest.fixture
async def c(tmp_path: Path, database: Database) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database, instances=40) as made:
        yield made


async def test_a_run_is_submitted_and_followed(c: Cluster) -> None:
    """Two lanes, two waves, names and passwords: the board's lines, the summary, the exit code and the report here."""
    job = c.manifest(8, changes=[RENAME, ROTATE], rollout={"waves": [2, "100%"]})
    async with worker(c):
        followed = await c.run("submit", job, "--yes", "--follow", "-v", "--report-dir", "here")
    assert "wave 2" in followed.err
    assert "exit 0" in followed.err
    ((path),) = (c.b.folder / "here").glob("*.json")
    run = json.loads(path.read_text())["run"]
    assert (run["counts"]["changed"], run["exit_code"]) == (16, 0)
    assert c.one("SELECT state FROM campaign") == "ended"
    assert all(c.b.truth(f"r-sim{n:06}")["name"] == f"new-r-sim{n:06}" for n in range(8))
    exported = json.loads((await c.run("secrets", "export")).out)
    assert {one["stage"] for one in exported} == {"current"}
    verified = await c.run("verify", job)
    assert "8 unchanged" in verified.err or "CannotTell" in verified.out


async def test_nothing_to_send_is_closed_by_a_worker(c: Cluster) -> None:
    """With exit 0, and a report."""
    async with worker(c):
        await c.run("submit", c.manifest(changes=[{"attributes": {"release_protection": False}}]), "--yes", "--follow")
    assert c.b.outcomes() == {"unchanged": 4}


async def test_paused_made_faster_stopped_and_taken_up(c: Cluster) -> None:
    """After `paused` nothing goes out that was not armed; a stopped run is exit 3 for who follows, and resume goes on."""
    following = await c.start("submit", c.manifest(40, limits=SLOW), "--yes", "--follow", "-v")
    async with worker(c):
        await reaches(c.b, MODIFY, 2)
        run_id = c.one("SELECT id FROM run")
        assert (await c.run("control", run_id, "pause")).err.endswith(": paused\n")
        armed = c.one("SELECT count(*) FROM step WHERE phase = 'armed'")
        await asyncio.sleep(1.5)  # enough for some more
        assert c.one("SELECT count(*) FROM step WHERE phase = 'armed'") == armed < 40
        assert c.b.modifying_calls() == armed
        await c.run("control", run_id, "continue")
        await reaches(c.b, MODIFY, armed + 1)
        await c.run("control", run_id, "stop")
        ended = await ends(following, 3)
        assert "stopped by: control" in ended.err
        assert f"batchmod resume {run_id} --store" in ended.err
        assert "control: pause" in ended.err
        resuming = await c.start("resume", run_id, "--follow", "-v")
        await until(lambda: c.one("SELECT state FROM campaign") == "open")
        assert " for every API but" in (await c.run("control", run_id, "rate=1000/1s")).err
        resumed = await ends(resuming, 0)
        assert "exit 0" in resumed.err
    assert c.b.outcomes() == {"changed": 40}
    assert c.b.modifying_calls() == 40


async def test_a_run_is_abandoned(c: Cluster) -> None:
    """What is open is not sent any more, and the run is closed."""
    run_id = await c.submitted(count=40, limits=SLOW)
    async with worker(c):
        await reaches(c.b, MODIFY, 2)
        await c.run("control", run_id, "stop")
        await until(lambda: c.one("SELECT state FROM campaign") == "ended")
        sent = c.b.modifying_calls()
        assert "settle what is in doubt" in (await c.run("abandon", run_id)).err
        await until(lambda: c.one("SELECT state FROM campaign") == "ended")
    assert "abandoned" in (await c.run("runs")).out
    assert c.b.modifying_calls() == sent
    assert "nothing to resume" in (await c.run("resume")).err


async def test_what_stands_in_the_way_is_said(c: Cluster) -> None:
    """A worker for another endpoint works on nothing, and who follows hears why."""
    following = await c.start("submit", c.manifest(), "--yes", "--follow", "-v")
    async with worker(c, "--endpoint", "http://127.0.0.1:9"):
        said = await says(following, "could")
        assert "no worker for the endpoint" in said
    async with worker(c):
        assert "exit 0" in (await ends(following, 0)).err


@SOAKS
async def test_a_schedule_begins_on_a_worker(c: Cluster) -> None:
    """Once, though two keep time."""
    async with worker(c), worker(c):
        await c.run("schedule", c.manifest(), "--cron", "* * * * *", "--yes")
        await until_long(c)
        await c.run("schedule", "--remove", "job")
    assert c.one("SELECT count(*) FROM run") == 1
    assert c.b.outcomes() == {"changed": 4}


async def until_long(c: Cluster) -> None:
    """A minute and the look for schedules."""
    async with asyncio.timeout(100):
        while c.one("SELECT count(*) FROM campaign WHERE state = 'ended'") == 0:  # noqa: ASYNC110  of other processes
            await asyncio.sleep(0.2)
