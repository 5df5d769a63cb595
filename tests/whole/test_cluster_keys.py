"""An age key is made where somebody submits or schedules, and by no worker: it would end with the worker's machine."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from grants_support import roled
from postgres import Database
from submit_support import RENAME, ROTATE, Cluster, cluster, until, worker

from batchmod.app.options import Options
from batchmod.app.stores import fingerprints
from batchmod.errors import UsageError
from batchmod.model.secret import Secret
from batchmod.pg.tables import VERSIONS


@pytest.fixture
async def c(tmp_path: Path, database: Database) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, database) as made:
        yield made


def keys() -> list[Path]:
    return list(Path(os.environ["HOME"]).rglob("age.key"))


async def test_a_schedule_seals_the_store(c: Cluster) -> None:
    """Of a manifest that changes passwords: with a key that its operator is told to back up, and once."""
    await c.run("schedule", c.manifest(), "--cron", "0 2 * * sat", "--yes")
    assert (keys(), c.one("SELECT count(*) FROM seal")) == ([], 0)
    for times in (1, 0):
        said = await c.run("schedule", c.manifest(changes=[ROTATE]), "--cron", "0 2 * * sat", "--yes")
        assert said.err.count("back this up") == times
    assert (len(keys()), c.one("SELECT count(*) FROM seal")) == (1, 1)


async def test_no_key_is_made_when_the_time_comes(c: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that finds none begins nothing and says so, even where nobody has sealed the store."""
    await c.run("schedule", c.manifest(changes=[ROTATE]), "--cron", "* * * * *", "--yes")
    c.database.execute("DELETE FROM seal")
    c.database.execute("UPDATE schedule SET created_at = created_at - interval '2 minutes'")
    monkeypatch.setitem(c.b.environ, "BATCHMOD_AGE_KEY", str(tmp_path / "none/age.key"))
    told = "SELECT count(*) FROM schedule WHERE last_error LIKE '%%copy the age key to this machine%%'"
    async with worker(c):
        await until(lambda: c.one(told) == 1)
    assert not (tmp_path / "none").exists()
    assert (c.one("SELECT count(*) FROM run"), c.one("SELECT count(*) FROM seal")) == (0, 0)


def test_a_password_is_recognised_by_the_key_of_who_submitted_it(tmp_path: Path) -> None:
    """A store that needs no key of ours, such as OpenBao, goes by it, too: a worker is told to get it."""
    environ = {"BATCHMOD_AGE_KEY": str(tmp_path / "age.key")}
    working = fingerprints(Options(environ=environ, store="postgresql:///x", may_make_key=False), create=True)
    with pytest.raises(UsageError, match="copy the age key to this machine"):
        working(Secret("one"))
    assert not (tmp_path / "age.key").exists()
    made = fingerprints(Options(environ=environ, store="postgresql:///x"), create=True)(Secret("one"))
    assert working(Secret("one")) == made


async def found(
    c: Cluster, url: str, *, environ: Mapping[str, str | None] | None = None
) -> dict[str, tuple[bool, str]]:
    """What `doctor` found, by name."""
    job = c.manifest(changes=[RENAME, ROTATE])
    result = await c.b.run("doctor", job, "--format", "json", "--store", url, environ=environ)
    said = {one["what"]: (one["ok"], one["text"]) for one in json.loads(result.out)["findings"]}
    synced, text = said.pop("store, durability", (False, "fsync is off"))
    assert (synced, "fsync is off" in text, result.code) == (False, True, 2)  # of every server of these tests
    return said


async def test_a_doctor_looks_at_the_database(c: Cluster, tmp_path: Path) -> None:
    """In the place of the state directory: schema, role, key and the way there; and makes nothing."""
    with roled(c.database) as made:
        operator, reader = made.url("batchmod_operator"), made.url("batchmod_reader")
        before = await found(c, operator)
        assert all(fine for fine, _ in before.values()), before
        assert "state directory" not in before
        assert f"schema version {len(VERSIONS)}" in before["database"][1]
        assert before["database, role"][1] == "batchmod_operator can look, submit, schedule"
        assert "on this machine" in before["database, encryption"][1]
        assert "first submission makes it" in before["age key"][1]
        assert (keys(), made.execute("batchmod_owner", "SELECT 1 FROM seal")) == ([], [])
        job = c.manifest(changes=[RENAME, ROTATE])
        assert (await c.b.run("submit", job, "--yes", "--store", operator)).code == 0
        assert "is there" in (await found(c, operator))["age key"][1]
        elsewhere = {"BATCHMOD_AGE_KEY": str(tmp_path / "none")}
        without = await found(c, operator, environ=elsewhere)
        assert "copy the age key" in without["age key"][1]
        fine, text = (await found(c, reader))["database, role"]
        assert (fine, "cannot submit a run: it needs SELECT on slot" in text) == (False, True), text


async def test_a_doctor_says_what_is_wrong_with_a_database(c: Cluster) -> None:
    """That it is not there, has no tables, or those of another version."""
    nowhere = await found(c, "postgresql://nobody@127.0.0.1:1/none")
    assert "cannot be used" in nowhere["database"][1]
    c.database.execute("UPDATE version SET n = 99")
    assert "schema version 99" in (await found(c, c.database.url))["database"][1]
    c.database.execute("DROP SCHEMA batchmod CASCADE")
    assert "as its owner makes it" in (await found(c, c.database.url))["database"][1]
