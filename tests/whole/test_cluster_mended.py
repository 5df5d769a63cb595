"""Commands with `--store` at moments at which something else happens: a prompt, an end, a database that goes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from postgres import Database
from soaking import SOAKS
from submit_support import Cluster, cluster, ends, until, worker
from whole_support import reaches

from batchmod.cluster.campaigns import run_key
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import Phase, Proof, StoppedBy
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType

AT = 1_800_000_000.0


@pytest.fixture
async def c(tmp_path: Path, database: Database) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database, instances=40) as made:
        yield made


@contextmanager
def refusing(c: Cluster, what: str) -> Iterator[None]:
    """The database does not do this, for as long as the block."""
    c.database.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$; "
        f"CREATE TRIGGER never BEFORE {what} FOR EACH ROW EXECUTE FUNCTION never()"
    )
    yield
    c.database.execute("DROP FUNCTION never() CASCADE")


async def end(c: Cluster, run_id: str, code: int, *phases: Phase) -> None:
    """The run has ended so, and is closed."""
    with closing(PostgresJournal.open(c.database.place)) as journal:
        for seq, phase in enumerate(phases):
            await journal.step(run_id, Step(seq, Phase.ARMED, AT))
            await journal.step(run_id, Step(seq, phase, AT + 1, proof=Proof.READ_BACK))
        await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=AT + 2, exit_code=code))
        await journal.mark(run_id, Mark(type=MarkType.CLOSED, at=AT + 2))
    c.database.execute("UPDATE campaign SET state = 'ended' WHERE run = %s", run_id)


@asynccontextmanager
async def asked(c: Cluster, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A command that waits for an answer on its terminal; the terminal's other end."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batchmod", *arguments, "--store", c.database.url),
        cwd=c.b.folder,
        env=dict(c.b.environ),
        stdin=theirs,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        await asyncio.to_thread(heard, ours, "taken as yes")
        yield process, ours
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


def heard(terminal: int, text: str) -> str:
    """What came there, up to the text."""
    found = ""
    while text not in found:
        found += os.read(terminal, 4096).decode()
    return found


async def test_who_thinks_about_a_plan_keeps_nobody_from_the_name(c: Cluster) -> None:
    """Another one submits meanwhile; who says yes after that is refused, also when that run has ended."""
    job = c.manifest()
    async with asked(c, "submit", job) as (process, terminal):
        first = await c.submitted()
        os.write(terminal, b"yes\n")
        assert f"run {first} of job is unfinished" in await asyncio.to_thread(heard, terminal, "closes it")
        assert await asyncio.wait_for(process.wait(), 60) == 2
    await end(c, first, 0, *[Phase.CHANGED] * 4)
    async with asked(c, "submit", job) as (process, terminal):
        second = await c.submitted()
        await end(c, second, 0, *[Phase.CHANGED] * 4)
        os.write(terminal, b"yes\n")
        told = await asyncio.to_thread(heard, terminal, "what came of it")
        assert f"run {second} of job began and ended while this one was planned" in told
        assert await asyncio.wait_for(process.wait(), 60) == 2
    assert c.one("SELECT count(*) FROM run") == 2


async def test_a_run_that_ended_is_followed_to_its_exit_code(c: Cluster) -> None:
    """Its report is written here; without a name there is nothing to do."""
    run_id = await c.submitted(count=2)
    await end(c, run_id, 1, Phase.CHANGED, Phase.FAILED)
    err = (await c.run("resume", run_id, "--follow", code=1)).err
    assert f"run {run_id} has ended" in err
    assert "exit 1" in err
    assert c.b.outcomes() == {"changed": 1, "failed": 1}
    assert "nothing to resume in" in (await c.run("resume", "--follow")).err
    await c.run("resume", run_id)


@SOAKS
async def test_a_stop_before_a_run_is_given_up_is_not_its_end(c: Cluster) -> None:
    """Said before a worker has taken it up: the end from before is not the one that is meant, and a later `abandon` closes it."""
    run_id = await c.submitted(count=40, limits={"rate": "1/1s"})
    async with worker(c):
        await reaches(c.b, "ModifyInstanceAttribute", 1)
        await c.run("control", run_id, "stop")
        await until(lambda: c.one("SELECT state FROM campaign") == "ended")
    await c.run("abandon", run_id)
    await c.run("control", run_id, "stop")
    ends_of = 'SELECT count(*) FROM mark WHERE strpos(body, \'"type":"finished"\') > 0'
    assert c.one(ends_of) == 1
    async with worker(c):
        await until(lambda: c.one("SELECT state FROM campaign") == "ended")
        assert c.one(ends_of) == 2
        await c.run("abandon", run_id)
        await until(lambda: c.one("SELECT state FROM campaign") == "ended")
    assert "abandoned" in (await c.run("runs")).out


async def test_a_budget_that_was_reset_is_so_for_the_next_resume(c: Cluster) -> None:
    """When the campaign could not be given, a plain one does what the first had begun; only once."""
    run_id = await c.submitted(rollout={"max_failures": 1})
    with closing(PostgresJournal.open(c.database.place)) as journal:
        await journal.mark(run_id, Mark(type=MarkType.STOPPED, at=AT, stopped_by=StoppedBy.MAX_FAILURES))
        await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=AT, exit_code=3))
        c.database.execute("INSERT INTO slot VALUES (%s, 'failures', 0, 1, true)", run_id)
        c.database.execute("UPDATE campaign SET state = 'ended', attempts = 1")
        with refusing(c, "UPDATE ON campaign"):
            assert "not now" in (await c.run("resume", run_id, "--reset-budget", code=2)).err
        assert c.one("SELECT count(*) FROM slot") == 1
        await c.run("resume", run_id)
        assert c.one("SELECT count(*) FROM slot") == 0
        await journal.mark(run_id, Mark(type=MarkType.RESUMED, at=AT + 1))
    c.database.execute("INSERT INTO slot VALUES (%s, 'failures', 0, 1, true)", run_id)
    c.database.execute("UPDATE campaign SET state = 'ended'")
    await c.run("resume", run_id)
    assert c.one("SELECT count(*) FROM slot") == 1


async def test_a_word_that_was_said_holds(c: Cluster) -> None:
    """The database goes away before anybody has heard it: that is what is said, and not that nothing was done."""
    run_id = await c.submitted()
    with refusing(c, "INSERT ON request"):
        err = (await c.run("control", run_id, "pause", code=2)).err
        assert f"run {run_id}: it is not known whether pause was said: say it again: " in err
    c.database.execute("INSERT INTO lease VALUES (%s, 1, 'test', now() + interval '1 hour')", run_key(run_id))
    c.database.execute("INSERT INTO heard VALUES (%s, %s, 1, 0)", run_id, run_key(run_id))
    process = await c.start("control", run_id, "pause")
    await until(lambda: c.one("SELECT said FROM campaign") == 1)
    c.database.stop()
    err = (await ends(process, 2)).err
    assert f"run {run_id}: pause was said and holds; it is not known who has heard it: " in err
    c.database.start()
    assert c.one("SELECT paused FROM campaign")
