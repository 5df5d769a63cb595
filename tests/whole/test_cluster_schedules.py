"""Campaigns that begin by the clock: what is kept of them, and what comes of their time."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from postgres import Database
from submit_support import RENAME, Cluster, cluster

from batchmod.app.schedule import begin_scheduled
from batchmod.cluster.timetable import cron_problem, next_at
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import StoppedBy
from batchmod.model.runs import Mark, MarkType

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


async def begun(c: Cluster) -> tuple[str | None, str | None]:
    """The run that came of the time, and why there is none."""
    await begin_scheduled("job", c.database.place, environ_of(c))
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
    assert listed[0].split() == ["name", "cron", "next", "last", "last", "run", "last", "error"]
    assert listed[1].startswith("job   30 4 1 * *  20")
    assert "-01T04:30:00Z" in listed[1]
    assert len(listed) == 2
    assert "does not begin" in (await c.run("schedule", "--remove", "job")).err
    assert "nothing of the name 'job'" in (await c.run("schedule", "--remove", "job", code=2)).err
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
    assert "waits for an operator" in (await c.run("schedule", "--list")).out
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
    await c.run("schedule", tde, *WEEKLY, "--accept-irreversible", "4")
    assert (await begun(c))[1] is None


def test_times_are_of_utc() -> None:
    """Whatever the machine's zone is."""
    assert next_at("0 2 * * sat", after=AT) == AT + 18 * 3600
    assert cron_problem("0 2 * * sat") is None
