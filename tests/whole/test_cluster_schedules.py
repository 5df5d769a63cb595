"""Campaigns that begin by the clock: what is kept of them, and what comes of their time."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from postgres import Database
from submit_support import RENAME, Cluster, cluster, says, until
from webhook import webhook

from batchmod.app.on_time import begin_scheduled
from batchmod.app.schedule import loaded_again
from batchmod.cluster.beginning import alone
from batchmod.cluster.due import enqueue_due, manager_without_pool
from batchmod.cluster.timetable import come, cron_problem, next_at, schedules
from batchmod.errors import UsageError
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import Phase, Proof, StoppedBy
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType
from batchmod.pg.link import linked

AT = 1_800_000_000.0  # 2027-01-15T08:00:00Z, a Friday
WEEKLY = ("--cron", "0 2 * * sat", "--yes")


@pytest.fixture
async def c(tmp_path: Path, database: Database) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database) as made:
        yield made


def with_files(c: Cluster, **sections: object) -> Path:
    """A manifest whose targets are in files beside it, below it and above it."""
    folder = c.b.folder / "jobs/here"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("fleet.csv", "more/fleet.csv", "../fleet.csv")):
        (folder / name).write_text(f"id,region\nr-sim00000{number},cn-hangzhou\n")
    job = c.b.manifest(
        targets=[{"from": "fleet.csv"}, {"from": "more/fleet.csv"}, {"from": "./more/../../fleet.csv"}],
        changes=[RENAME],
        **sections,
    )
    return job.rename(folder / "job.yaml")


def environ_of(c: Cluster) -> Mapping[str, str]:
    """What a worker has, that speaks to the vendor's own endpoint unless it is told another."""
    return {name: value for name, value in c.b.environ.items() if name != "BATCHMOD_ENDPOINT"}


async def comes(c: Cluster, run_id: str | None = None) -> bool:
    """The next time has come."""
    n = 1 + c.one("SELECT greatest(extract(epoch FROM max(due_at))::bigint, %s) FROM schedule", int(time.time()))
    async with linked(c.database.place) as db:
        return await come(db, "job", n, run_id or f"run-{n}")


async def begun(c: Cluster, **environ: str) -> tuple[str | None, str | None]:
    """The run that came of the next time, and why there is none."""
    assert await comes(c)
    return await tried(c, **environ)


async def tried(c: Cluster, **environ: str) -> tuple[str | None, str | None]:
    """The same, of the time that has come."""
    await begin_scheduled("job", c.database.place, {**environ_of(c), **environ})
    ((run_id, error),) = c.database.execute("SELECT last_run, last_error FROM schedule WHERE last_at IS NOT NULL")
    assert run_id is None or isinstance(run_id, str)
    assert error is None or isinstance(error, str)
    return run_id, error


async def test_a_time_comes_when_the_files_are_gone(c: Cluster) -> None:
    """The manifest and its files are kept as they were, with endpoint and options; other paths start where they did."""
    job = with_files(c)
    assert "begins at 20" in (await c.run("schedule", str(job), *WEEKLY)).err
    for path in [job, *c.b.folder.rglob("fleet.csv")]:
        path.unlink()
    run_id, error = await begun(c)
    assert error is None
    assert c.one("SELECT rows FROM run WHERE id = %s", run_id) == 3
    assert f'"directory":"{job.parent}"' in c.one("SELECT body FROM run")
    assert c.one("SELECT endpoint FROM campaign") == c.b.sim.endpoint
    run_id, error = await begun(c)
    assert f"workers are still at run {run_id}" in (error or "")


async def test_what_is_kept_is_listed_replaced_and_removed(c: Cluster) -> None:
    """By name; what is removed does not begin."""
    assert "nothing begins by the clock" in (await c.run("schedule", "--list")).out
    await c.run("schedule", c.manifest(), *WEEKLY)
    await c.run("schedule", c.manifest(), "--cron", "30 4 1 * *", "--yes")
    listed = (await c.run("schedule", "--list")).out.splitlines()
    assert listed[0].split() == ["name", "cron", "next", "last", "last", "run"]
    assert listed[1].startswith("job   30 4 1 * *  20")
    assert "-01T04:30:00Z" in listed[1]
    assert len(listed) == 2
    assert "does not begin" in (await c.run("schedule", "--remove", "job")).err
    assert "nothing of the name 'job'" in (await c.run("schedule", "--remove", "job", code=2)).err
    assert not await comes(c)
    await begin_scheduled("job", c.database.place, environ_of(c))
    assert c.one("SELECT count(*) FROM run") == 0


async def test_what_could_not_begin_is_refused(c: Cluster) -> None:
    """Without --yes, at a time that never comes, with a password of this machine, with a file that cannot be kept."""
    job = c.manifest()
    assert "say --yes" in (await c.run("schedule", job, "--cron", "0 2 * * sat", code=2)).err
    for cron in ("0 2 * *", "0 2 30 2 *", "*/2 * * * * *", "@daily", "61 2 * * *", "0 2 * * someday"):
        err = (await c.run("schedule", job, "--cron", cron, "--yes", code=2)).err
        assert err.startswith("--cron: ")
        assert len(err.splitlines()) == 1
    for arguments in ([], [job], [job, "--list"], ["--cron", "0 2 * * sat"]):
        await c.run("schedule", *arguments, code=2)
    await c.run("schedule", c.manifest(changes=[{"password": {"env": "CHOSEN"}}]), *WEEKLY, code=2)
    fleet = c.b.folder / "fleet.csv"
    fleet.write_text("id,region\nr-sim000000,cn-hangzhou\n")
    absolute = c.manifest(targets=[{"from": str(fleet)}])
    assert "write it from the manifest's directory" in (await c.run("schedule", absolute, *WEEKLY, code=2)).err
    await c.run("plan", c.manifest(), "-o", "plan.json")
    assert "needs the manifest" in (await c.run("schedule", "plan.json", *WEEKLY, code=2)).err
    assert c.one("SELECT count(*) FROM schedule") == 0


async def test_what_waits_for_an_operator_is_not_taken_up(c: Cluster) -> None:
    """The reason is kept and listed; a run that was left otherwise is given to the workers again."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    run_id, error = await begun(c)
    assert error is None
    assert run_id is not None
    c.database.execute("UPDATE campaign SET state = 'ended'")
    journal = PostgresJournal.open(c.database.place)
    await journal.mark(run_id, Mark(type=MarkType.STOPPED, at=AT, stopped_by=StoppedBy.MANUAL))
    await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=AT, exit_code=3))
    assert "waits for an operator" in (await begun(c))[1]  # type: ignore[operator]  # a text, or the test fails
    listed = (await c.run("schedule", "--list", environ={"COLUMNS": "40"})).out
    assert f"  last error: run {run_id} waits for an operator between two waves: only `batchmod resume " in listed
    assert f"--store '{c.database.url}'` continues it\n" in listed
    assert c.one("SELECT state FROM schedule") == "waiting"
    await journal.mark(run_id, Mark(type=MarkType.RESUMED, at=AT))
    await journal.mark(run_id, Mark(type=MarkType.STOPPED, at=AT, stopped_by=StoppedBy.SIGNAL))
    journal.close()
    assert await begun(c) == (run_id, None)
    assert c.one("SELECT state FROM campaign") == "open"


async def test_what_cannot_be_agreed_to_is_kept_as_the_reason(c: Cluster) -> None:
    """TDE needs the number that was agreed to, at each time again."""
    tde = c.manifest(changes=[{"tde": {}}])
    await c.run("schedule", tde, *WEEKLY, "--accept-irreversible", "3")
    run_id, error = await begun(c)
    assert run_id is None
    assert "say --accept-irreversible 4, not 3" in (error or "")
    assert c.one("SELECT state FROM schedule") == "waiting"
    await c.run("schedule", tde, *WEEKLY, "--accept-irreversible", "4")
    assert (await begun(c))[1] is None


async def jobs_of(c: Cluster) -> int:
    """How many jobs begin something, once what is due has one."""
    async with linked(c.database.place) as db:
        await enqueue_due(manager_without_pool(), db)
    return int(c.one("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'begin' AND status = 'todo'"))


async def test_what_failed_in_passing_is_tried_again(c: Cluster) -> None:
    """By any worker, later and later, until it is too late; nobody is told before; then the run has the time's own id."""
    await c.run("schedule", c.manifest(notify=[{"env": "HOOK"}]), *WEEKLY)
    async with webhook() as hook:
        assert await comes(c, "run-of-the-time")
        assert await jobs_of(c) == 1
        c.database.execute("DELETE FROM procrastinate_jobs")
        async with alone(c.database.place, "job"):
            for troubles, seconds in ((1, 5), (2, 10)):
                assert "just now" in str((await tried(c, HOOK=hook.url("told")))[1])
                assert c.database.execute(
                    "SELECT state, troubles, round(extract(epoch FROM not_before - last_at)) FROM schedule"
                ) == [("due", troubles, seconds)]
        assert await jobs_of(c) == 0
        c.database.execute("UPDATE schedule SET not_before = now()")
        assert await jobs_of(c) == 1
        assert await tried(c) == ("run-of-the-time", None)
        assert c.one("SELECT state FROM schedule") == "waiting"
        c.database.execute("DELETE FROM procrastinate_jobs")
        assert await jobs_of(c) == 0
        assert hook.heard == []


@pytest.mark.filterwarnings("ignore:.imghdr.:DeprecationWarning")  # of what apprise imports
async def test_who_is_named_is_told_that_nothing_began(c: Cluster) -> None:
    """Once it is not tried again: an hour after the time. The message holds the command that says why."""
    await c.run("schedule", c.manifest(notify=[{"env": "HOOK"}, {"env": "OTHER", "on": ["unresolved"]}]), *WEEKLY)
    async with webhook() as hook:
        environ = {"HOOK": hook.url("told"), "OTHER": hook.url("other")}
        for late, troubles, words in (
            (3597, 0, "just now"),
            (7200, 0, "no worker could begin it within 1h 00m"),
            (7200, 1, "no worker could begin it within 1h 00m: no worker"),
        ):
            assert await comes(c)
            late_by = "UPDATE schedule SET due_at = now() - make_interval(secs => %s), troubles = %s"
            c.database.execute(late_by, late, troubles)
            async with alone(c.database.place, "job"):
                assert words in str((await tried(c, **environ))[1])
            assert c.one("SELECT state FROM schedule") == "waiting"
        assert len(hook.of("told")) == len(hook.heard) == 3
        told = hook.of("told")[0]
        assert (told["event"], told["name"], told["exit_code"]) == ("stopped", "job", 2)
        assert told["next"] == [f"batchmod schedule --list --store '{c.database.url}'"]
    assert c.one("SELECT count(*) FROM run") == 0


async def test_a_begin_that_is_repeated_is_once(c: Cluster) -> None:
    """Killed between the journal and the campaign, after both, and when the run has ended already."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    c.database.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no campaigns'; END $$; "
        "CREATE TRIGGER no_campaigns BEFORE INSERT ON campaign FOR EACH ROW EXECUTE FUNCTION never()"
    )
    assert await comes(c, "once")
    assert "no campaigns" in str((await tried(c))[1])
    c.database.execute("DROP FUNCTION never() CASCADE")
    assert await tried(c) == ("once", None)
    due = "UPDATE schedule SET state = 'due', last_run = NULL"
    c.database.execute(due)
    assert await tried(c) == ("once", None)
    with closing(PostgresJournal.open(c.database.place)) as journal:
        for seq in range(4):
            await journal.step("once", Step(seq, Phase.ARMED, AT))
            await journal.step("once", Step(seq, Phase.CHANGED, AT + 1, proof=Proof.READ_BACK))
        await journal.mark("once", Mark(type=MarkType.FINISHED, at=AT, exit_code=0))
        await journal.mark("once", Mark(type=MarkType.CLOSED, at=AT))
    c.database.execute("UPDATE campaign SET state = 'ended'")
    c.database.execute(due)
    assert await tried(c) == ("once", None)
    assert c.one("SELECT count(*) FROM run") == 1


async def test_that_it_has_begun_is_kept_with_the_campaign(c: Cluster) -> None:
    """In one transaction: when it cannot be kept, the campaign is not there either; so too of a run that is taken up."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    c.database.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not kept'; END $$; "
        "CREATE TRIGGER not_kept BEFORE UPDATE OF last_run ON schedule FOR EACH ROW EXECUTE FUNCTION never()"
    )
    for _ in range(2):
        assert "not kept" in str((await begun(c))[1])
        assert c.one("SELECT count(*) FROM campaign") == 0
    assert c.one("SELECT count(*) FROM run") == 1


async def test_a_time_comes_once(c: Cluster) -> None:
    """However often its job is tried, also after it has begun; an earlier one does not come after it."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    later = int(time.time()) + 60
    async with linked(c.database.place) as db:
        assert not await come(db, "job", later - 600, "before it was scheduled")
        assert await come(db, "job", later, "this")
        assert not await come(db, "job", later, "again")
        assert await tried(c) == ("this", None)
        for at in (later, later - 1):
            assert not await come(db, "job", at, "again")
    assert c.one("SELECT state FROM schedule") == "waiting"


async def test_a_worker_tries_until_it_begins(c: Cluster) -> None:
    """What went wrong is on its log; nothing but the table says that it is to be done."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    async with alone(c.database.place, "job"):
        assert await comes(c, "kept-at-it")
        process = await c.start("worker")
        try:
            await says(process, "schedule job: another process submits or takes up a run of job just now")
            await says(process, "schedule job: tried again in 5 s")
        except BaseException:
            process.kill()
            raise
    ending = asyncio.create_task(process.communicate())
    try:
        await until(lambda: c.one("SELECT count(*) FROM campaign WHERE state = 'ended'") == 1)
        process.send_signal(signal.SIGTERM)
        await ending
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    assert c.one("SELECT last_run FROM schedule") == "kept-at-it"
    assert c.b.outcomes() == {"changed": 4}


async def test_files_are_laid_out_below_one_directory_only(c: Cluster) -> None:
    """Whoever can write the table does not write over the worker's files so."""
    await c.run("schedule", c.manifest(), *WEEKLY)
    async with linked(c.database.place) as db:
        (kept,) = await schedules(db)
    victim = c.b.folder / "victim"
    victim.write_text("mine")
    with pytest.raises(UsageError, match="no path from the manifest's directory"):
        loaded_again(replace(kept, files={**kept.files, str(victim): b"yours"}))
    with pytest.raises(UsageError, match="no path from the manifest's directory"):
        loaded_again(replace(kept, manifest=str(victim)))
    assert victim.read_text() == "mine"


def test_times_are_of_utc() -> None:
    """Whatever the machine's zone is."""
    assert next_at("0 2 * * sat", after=AT) == AT + 18 * 3600
    assert cron_problem("0 2 * * sat") is None
