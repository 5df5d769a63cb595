"""The commands with `--store`: what they give to workers, tell them, take up again and show."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from postgres import Database
from submit_support import RENAME, ROTATE, Cluster, cluster, ends, says
from whole_support import bench

from batchmod.cluster.beginning import alone
from batchmod.cluster.campaigns import lane_key, run_key
from batchmod.cluster.lease import Leases
from batchmod.cluster.progress import heard
from batchmod.errors import UsageError
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.model.events import Phase, Proof
from batchmod.model.plan import Lane
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType
from batchmod.pg.link import connect_async

AT = 1_800_000_000.0
UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
async def c(tmp_path: Path, database: Database) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database) as made:
        yield made


async def test_a_run_is_given_to_workers(c: Cluster) -> None:
    """Planned and in the journal, in chunks of a lane and a wave, with jobs; nothing is sent, nothing is on this disk."""
    result = await c.run("submit", c.manifest(6, rollout={"waves": [2, "100%"]}), "--yes")
    run_id = result.out.strip()
    assert f"run {run_id}: 4 chunks in 2 lanes are given to the workers" in result.err
    assert f"batchmod control {run_id} pause --store" in result.err
    chunks = c.database.execute("SELECT wave, region, cardinality(rows), state FROM chunk ORDER BY n")
    assert chunks == [
        (wave, f"cn-{city}", n, "waiting") for wave, n in ((1, 1), (2, 2)) for city in ("hangzhou", "shanghai")
    ]
    assert c.database.execute("SELECT state, endpoint FROM campaign") == [("open", c.b.sim.endpoint)]
    assert c.database.execute("SELECT task_name, status::text FROM procrastinate_jobs") == [("conduct", "todo")]
    assert c.b.modifying_calls() == 0
    assert run_id in (await c.run("runs")).out
    assert len(json.loads((await c.run("report", run_id, "--format", "json")).out)["rows"]) == 6
    assert not (c.b.folder / ".batchmod").exists()


async def test_nothing_to_send_is_a_run_all_the_same(c: Cluster) -> None:
    """Its campaign is open without a chunk, for who closes it."""
    run_id = await c.submitted(changes=[{"attributes": {"release_protection": False}}])
    assert c.one("SELECT state FROM campaign WHERE run = %s", run_id) == "open"
    assert c.one("SELECT count(*) FROM chunk") == 0


async def test_what_the_workers_cannot_have_is_refused(c: Cluster) -> None:
    """A password of this machine, with its place in the manifest; a manifest or a plan that would ask first."""
    (c.b.folder / "chosen.txt").write_text("Ch0sen+password")
    for place in ({"env": "CHOSEN"}, {"file": "chosen.txt"}):
        job = c.manifest(changes=[{"password": place}])
        err = (await c.run("submit", job, "--yes", code=2, environ={"CHOSEN": "Ch0sen+password"})).err
        assert "job.yaml:1:" in err
        assert f"changes[0].password.{next(iter(place))}: " in err
        assert "the workers do not have it" in err
        assert (await c.b.run("plan", job, "-o", "plan.json", environ={"CHOSEN": "Ch0sen+password"})).code == 0
        planned = await c.run("submit", "plan.json", "--yes", code=2, environ={"CHOSEN": "Ch0sen+password"})
        assert "the workers do not have it" in planned.err
    assert "no terminal to confirm on" in (await c.run("submit", c.manifest(), code=2)).err
    assert c.one("SELECT count(*) FROM run") == 0


async def test_a_plan_is_applied_once(c: Cluster) -> None:
    """As by `run`: exactly what was reviewed; also with what the store of the workers knows of ages."""
    await c.run("plan", c.manifest(), "-o", "plan.json")
    run_id = (await c.run("submit", "plan.json", "--yes")).out.strip()
    assert c.one("SELECT rows FROM run WHERE id = %s", run_id) == 4
    await c.run("abandon", run_id, code=2)
    c.database.execute("UPDATE campaign SET state = 'ended'")
    assert "is unfinished: `batchmod resume" in (await c.run("submit", "plan.json", "--yes", code=2)).err


async def test_what_store_cannot_be(tmp_path: Path) -> None:
    """One clear line, exit 2; nothing of a password is repeated."""
    wrong = {
        ("postgresql://me:Secret1@db/x",): "a password may not stand in the URL",
        ("postgresql://db/x?password=Secret1",): "a password may not stand in the URL",
        ("mysql://db/x",): "not a URL such as postgresql://",
        (UNREACHABLE, "--state", "here"): "--state and --store",
    }
    async with bench(tmp_path, instances=1) as b:
        for arguments, words in wrong.items():
            result = await b.run("runs", "--store", *arguments)
            assert words in result.err
            assert (result.code, len(result.err.splitlines())) == (2, 1)
            assert "Secret1" not in result.err


@pytest.mark.parametrize("command", ["report", "control", "resume", "abandon", "verify", "plan"])
async def test_a_database_that_is_away(tmp_path: Path, command: str) -> None:
    """One clear line, exit 2; and a state directory beside it is refused."""
    given = {"control": ["job", "pause"], "resume": [], "verify": ["job.yaml"], "plan": ["job.yaml"]}
    async with bench(tmp_path, instances=1) as b:
        b.manifest(targets=b.targets(1), changes=[{"password": {"generate": {}, "max_age": "30d"}}])
        for more, words in (([], "cannot be"), (["--state", "here"], "--state and --store")):
            result = await b.run(command, *given.get(command, ["job"]), "--store", UNREACHABLE, *more)
            assert words in result.err
            assert (result.code, len(result.err.splitlines())) == (2, 1)


async def test_submit_and_schedule_without_a_database(tmp_path: Path) -> None:
    """None named, one that is away, a password in the environment, the extra not installed: one line, exit 2."""
    async with bench(tmp_path, instances=2) as b:
        b.manifest(targets=b.targets(2), changes=[RENAME])
        for command in (["submit", "job.yaml", "--yes"], ["schedule", "job.yaml", "--yes", "--cron", "0 2 * * sat"]):
            away = await b.run(*command, "--store", UNREACHABLE)
            none = await b.run(*command)
            told = await b.run(*command, "--store", UNREACHABLE, environ={"PGPASSWORD": "Secret1"})
            bare = "import sys\nsys.modules['psycopg'] = None\nfrom batchmod.cli import main\nsys.exit(main())\n"
            lacking = await ends(await b.start_program(bare, *command, "--store", UNREACHABLE), 2)
            assert "the store cannot be used" in away.err
            assert "--store is needed" in none.err
            assert "PGPASSWORD" in told.err
            assert "--store needs an extra" in lacking.err
            for each in (away, none, told, lacking):
                assert (each.code, len(each.err.splitlines())) == (2, 1)
        assert b.modifying_calls() == 0


async def test_options_of_one_process_are_refused(c: Cluster) -> None:
    """None is accepted and ignored."""
    run_id = await c.submitted()
    for option in (["--drain", "1m"], ["--metrics", "x.prom"], ["--serve", "127.0.0.1:0"], ["--report-dir", "x"]):
        assert f"{option[0]}: not with --store" in (await c.run("resume", run_id, *option, code=2)).err
    assert "--report-dir: needs --follow" in (await c.run("submit", "job.yaml", "--report-dir", "x", code=2)).err
    assert "--follow: needs --store" in (await c.b.run("resume", "--follow")).err


async def test_one_run_of_a_name(c: Cluster) -> None:
    """Of many submits at the same moment one comes through; the others say why not, and so does one that comes later."""
    job = c.manifest()
    async with alone(c.database.place, "job"):
        assert "just now" in (await c.run("submit", job, "--yes", code=2)).err
        with pytest.raises(UsageError, match="just now"):
            async with alone(c.database.place, "job"):
                pass
    processes = [await c.start("submit", job, "--yes") for _ in range(4)]
    codes = sorted([(await process.wait(), (await process.communicate())[1].decode()) for process in processes])
    assert [code for code, _ in codes] == [0, 2, 2, 2]
    assert all(
        "just now" in err or "is unfinished" in err or "is with the workers" in err for code, err in codes if code == 2
    )
    assert c.one("SELECT count(*) FROM run") == 1
    again = await c.run("submit", job, "--yes", code=2)
    (run_id,) = c.database.execute("SELECT id FROM run")[0]
    for command in (f"resume {run_id} --follow", f"control {run_id} stop"):
        assert f"`batchmod {command}" in again.err
    assert f"--store '{c.database.url}'" in again.err


@pytest.fixture
def no_campaigns(database: Database) -> Iterator[None]:
    """The database lets nobody begin one, for as long as the test does not say otherwise."""
    database.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no campaigns'; END $$; "
        "CREATE TRIGGER no_campaigns BEFORE INSERT ON campaign FOR EACH ROW EXECUTE FUNCTION never()"
    )
    yield
    database.execute("DROP FUNCTION never() CASCADE")


@pytest.mark.usefixtures("no_campaigns")
async def test_a_run_that_was_not_given_to_workers_is_by_resume(c: Cluster) -> None:
    """The database failed between the journal and the campaign: exit 2 with what to do, and resume does it."""
    err = (await c.run("submit", c.manifest(), "--yes", code=2)).err
    run_id = c.one("SELECT id FROM run")
    assert f"run {run_id} is in the journal, and not given to the workers: `batchmod resume {run_id} --store" in err
    c.database.execute("DROP TRIGGER no_campaigns ON campaign")
    assert "is given to the workers again" in (await c.run("resume")).err
    assert c.one("SELECT sum(cardinality(rows)) FROM chunk WHERE run = %s", run_id) == 4
    assert c.one("SELECT count(*) FROM procrastinate_jobs") == 1


async def test_resume_and_abandon_of_a_campaign_that_is_open(c: Cluster) -> None:
    """Workers are at it: nothing is done, and it is said what would be."""
    assert "nothing to resume in postgresql://" in (await c.run("resume")).err
    run_id = await c.submitted()
    before = c.database.execute("SELECT * FROM campaign")
    assert f"workers are at run {run_id}" in (await c.run("resume")).err
    assert f"`batchmod control {run_id} stop" in (await c.run("abandon", run_id, code=2)).err
    assert c.database.execute("SELECT * FROM campaign") == before


async def test_what_was_left_is_given_again(c: Cluster) -> None:
    """Only open rows, in chunks with numbers of their own; forgiven failures hold no place; a gate is opened."""
    run_id = await c.submitted(rollout={"waves": [2, "100%"], "pause": "manual", "max_failures": 3})
    with closing(PostgresJournal.open(c.database.place)) as journal:
        first = next(row.seq for row, _ in journal.states(run_id) if row.wave == 1)
        await journal.step(run_id, Step(first, Phase.ARMED, AT))
        await journal.step(run_id, Step(first, Phase.FAILED, AT + 1))
        for mark in (MarkType.WAVE_ENDED, MarkType.STOPPED, MarkType.FINISHED):
            stopped = {"stopped_by": "manual"} if mark is MarkType.STOPPED else {}
            code = 3 if mark is MarkType.FINISHED else None
            await journal.mark(run_id, Mark(type=mark, at=AT + 2, wave=1, exit_code=code, **stopped))  # type: ignore[arg-type]  # a reason by its value
    c.database.execute("UPDATE campaign SET state = 'ended', stopping = 'manual', paused = true, attempts = 1")
    c.database.execute("UPDATE chunk SET state = 'done' WHERE n = 1")
    for seq, spent in ((first, True), (first + 1, False)):
        c.database.execute("INSERT INTO slot VALUES (%s, 'failures', %s, 1, %s)", run_id, seq, spent)
    await c.run("resume", run_id, "--reset-budget")
    assert c.database.execute("SELECT state, stopping, paused, closing FROM campaign") == [("open", None, False, False)]
    chunks = c.database.execute("SELECT n, state, rows FROM chunk ORDER BY n")
    assert chunks[0][:2] == (1, "done")
    assert min(n for n, _, _ in chunks[1:] if isinstance(n, int)) == 5
    assert sorted(seq for _, _, rows in chunks[1:] if isinstance(rows, list) for seq in rows) == sorted(
        {0, 1, 2, 3} - {first}
    )
    assert c.database.execute("SELECT seq FROM slot") == [(first + 1,)]
    marks = [json.loads(str(body))["type"] for (body,) in c.database.execute("SELECT body FROM mark ORDER BY n")]
    assert marks[-2:] == ["budget reset", "pause over"]
    c.database.execute("UPDATE campaign SET state = 'ended'")
    await c.run("abandon", run_id)
    assert c.database.execute("SELECT state, closing FROM campaign") == [("open", True)]


@asynccontextmanager
async def at_work(c: Cluster, run_id: str, *keys: str, said: int = 0) -> AsyncIterator[list[Fence]]:
    """Somebody holds these leases of the run, and went by so much of what was said when it began."""
    async with Leases(c.database.place, holder="test") as leases:
        db = await connect_async(c.database.place)
        try:
            fences = [lease.fence for lease in [await leases.take(key) for key in keys] if lease is not None]
            assert len(fences) == len(keys)
            for fence in fences:
                await heard(db, run_id, fence, said)
            yield fences
        finally:
            await db.close()


async def test_a_word_to_all_who_work_on_a_run(c: Cluster) -> None:
    """It holds at once where nobody works; else it is answered when the last of them goes by it, or it is said who does
    not. Who died is not waited for.
    """
    run_id = await c.submitted()
    assert f"run {run_id}: paused: nobody works on it" in (await c.run("control", run_id, "pause")).err
    keys = (run_key(run_id), lane_key(Lane("1000000000000001", "cn-hangzhou")))
    async with at_work(c, run_id, *keys, said=1) as fences:
        asking = await c.start("control", run_id, "rate=100/1s")
        db = await connect_async(c.database.place)
        async with asyncio.timeout(30):
            while c.one("SELECT said FROM campaign") == 1:  # noqa: ASYNC110  of another process
                await asyncio.sleep(0.05)
        await heard(db, run_id, fences[0], 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asking.wait()
        await heard(db, run_id, fences[1], 2)
        answer = (await ends(asking, 0)).err
        assert f"run {run_id}: rate=100/1s for every API but DescribeInstanceAttribute" in answer
        assert "nobody" not in answer
        impatient = "import sys, batchmod.app.telling_all as t\nt.PATIENCE = 0.3\nfrom batchmod.cli import main\nsys.exit(main())\n"
        asked = await c.b.start_program(impatient, "control", run_id, "changing=none", "--store", c.database.url)
        assert "2 of 2 that work on it have not answered within 0 s" in (await ends(asked, 2)).err
        await db.close()
    c.database.execute("UPDATE lease SET holder = 'dead', renewed_at = now() - interval '6 s'")
    await c.run("control", run_id, "continue")
    await c.run("control", run_id, "stop")
    assert "is stopping (control)" in (await c.run("control", run_id, "pause", code=2)).err
    await c.run("control", run_id, "stop")
    kept = c.database.execute("SELECT paused, rate, changing, stopping, said FROM campaign")
    assert kept == [(False, "100/1s", "none", "control", 6)]
    actions = [action for (action,) in c.database.execute("SELECT action FROM request ORDER BY n")]
    assert actions == ["pause", "rate=100/1s", "changing=none", "continue", "stop", "stop"]
    c.database.execute("UPDATE campaign SET state = 'ended'")
    assert "is not running: `batchmod resume" in (await c.run("control", run_id, "pause", code=2)).err


async def test_a_run_is_followed_to_its_end(c: Cluster) -> None:
    """What its journal and its campaign say is shown as if it went on here, the report is written, and the exit code is
    the run's; the database may go and come back meanwhile.
    """
    process = await c.start(
        "submit", c.manifest(rollout={"waves": [2, "100%"]}), "--yes", "--follow", "--log-format", "json"
    )
    said = await says(process, "run_opened")
    run_id = json.loads(said.splitlines()[-1])["run_id"]
    with closing(PostgresJournal.open(c.database.place)) as journal:
        for seq in range(2):
            await journal.step(run_id, Step(seq, Phase.ARMED, AT))
            await journal.step(run_id, Step(seq, Phase.CHANGED, AT + 1, proof=Proof.READ_BACK))
        assert '"changed"' in await says(process, '"row"')
    c.database.stop()
    await says(process, "looked for again")
    c.database.start()
    with closing(PostgresJournal.open(c.database.place)) as journal:
        await journal.mark(run_id, Mark(type=MarkType.WAVE_OPENED, at=AT + 2, wave=2))
        await journal.mark(run_id, Mark(type=MarkType.CONTROLLED, at=AT + 2, reason="pause"))
        await journal.mark(run_id, Mark(type=MarkType.ACCOUNT_FAILED, at=AT + 2, account="default", reason="no more"))
        for seq in range(2, 4):
            await journal.step(run_id, Step(seq, Phase.FAILED, AT + 3, "InvalidName"))
        await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=AT + 4, exit_code=1))
        await journal.mark(run_id, Mark(type=MarkType.CLOSED, at=AT + 4))
    c.database.execute("UPDATE chunk SET trouble = 'no credentials' WHERE n = 1")
    c.database.execute("UPDATE campaign SET state = 'ended'")
    lines = [json.loads(line) for line in (await ends(process, 1)).err.splitlines()]
    events = [line["event"] for line in lines]
    assert {"wave_opened", "controlled", "account_stopped"} <= set(events)
    assert [line["outcome"] for line in lines if line["event"] == "row"].count("failed") == 2
    assert any("cn-hangzhou: no worker could work on it: no credentials" in line.get("text", "") for line in lines)
    assert (events[-1], lines[-1]["exit_code"]) == ("summary", 1)
    assert c.b.outcomes() == {"changed": 2, "failed": 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_following_is_left(c: Cluster, number: signal.Signals) -> None:
    """By a signal: the campaign goes on, and how it is followed again is said."""
    run_id = await c.submitted()
    process = await c.start("resume", run_id, "--follow", "--log-format", "json")
    await says(process, "run_opened")
    process.send_signal(number)
    assert f"`batchmod resume {run_id} --follow --store" in (await ends(process, 130)).err
    assert c.one("SELECT state FROM campaign") == "open"
    assert c.one("SELECT said FROM campaign") == 0


async def test_it_is_said_that_no_worker_is_there(c: Cluster) -> None:
    """After a while, to who follows."""
    run_id = await c.submitted()
    impatient = (
        "import sys, batchmod.app.follow as f\nf.LONELY = 0.5\nfrom batchmod.cli import main\nsys.exit(main())\n"
    )
    process = await c.b.start_program(impatient, "resume", run_id, "--follow", "-v", "--store", c.database.url)
    assert "no worker is there: `batchmod worker --store" in await says(process, "no worker is there")
    process.send_signal(signal.SIGINT)
    await ends(process, 130)


async def test_what_failed_is_retried(c: Cluster) -> None:
    """`--retry failed` reads the journal of the workers; with nothing to retry it says so."""
    assert (
        "there is no run of job in postgresql://"
        in (await c.run("submit", c.manifest(), "--yes", "--retry", "failed", code=2)).err
    )
    run_id = await c.submitted()
    with closing(PostgresJournal.open(c.database.place)) as journal:
        for seq in range(4):
            await journal.step(run_id, Step(seq, Phase.FAILED if seq == 2 else Phase.UNCHANGED, AT, "InvalidName"))
        await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=AT, exit_code=1))
        await journal.mark(run_id, Mark(type=MarkType.CLOSED, at=AT))
    c.database.execute("UPDATE campaign SET state = 'ended'")
    retried = (await c.run("submit", "job.yaml", "--yes", "--retry", "failed")).out.strip()
    assert c.one("SELECT rows FROM run WHERE id = %s", retried) == 1


async def test_verify_and_plan_look_into_the_store_of_the_workers(c: Cluster) -> None:
    """Nothing is stored there yet, and nothing is made in a database that is empty."""
    c.database.execute("DROP SCHEMA batchmod CASCADE")
    for command, code in (("verify", 0), ("plan", 0)):
        await c.run(command, c.manifest(changes=[{"password": {"generate": {}, "max_age": "30d"}}]), code=code)
    assert "no runs yet" in (await c.run("runs")).out
    assert c.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'batchmod'") == 0
    await c.submitted(changes=[ROTATE])
    assert c.one("SELECT count(*) FROM seal") == 1
