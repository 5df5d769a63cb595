"""How old a stored password is, by what store and journal say; and what `plan` and `run` make of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whole_support import Bench, bench

from batchmod.app.ages import young_in
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.transfer import IMPORTED

HOUR = 3600.0
DAY = 24 * HOUR
KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
MODIFY = "ModifyInstanceAttribute"


@dataclass
class Desk:
    """A state directory whose run `a` began at 0."""

    store: EmbeddedStore
    journal: SqliteJournal
    time: float = 0.0

    async def proved(self, run_id: str, *, at: float) -> None:
        self.time = at
        one = await self.store.escrow(KEY, login="r-1", secret=Secret("Passw0rd-1"), run_id=run_id)
        await self.store.promote(KEY, one.generation)

    async def young(self, *, at: float, max_age: str | None = "3d") -> str | None:
        password: dict[str, Any] = {"generate": {}} | ({} if max_age is None else {"max_age": max_age})
        manifest = {"version": 1, "name": "job", "targets": ["r-1"], "changes": [{"password": password}]}
        return await young_in(Manifest.model_validate(manifest), self.store, self.journal, now=at)(KEY)


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    environ = {"BATCHMOD_AGE_KEY": str(folder / "age.key")}
    journal = SqliteJournal.open(folder)
    store = EmbeddedStore.open(folder, environ=environ, say=lambda _: None, clock=lambda: made.time)
    made = Desk(store, journal)
    run = Run(id="a", name="job", manifest_digest="", manifest="{}", directory="/", started_at=0.0)
    await journal.open_run(run, [])
    try:
        yield made
    finally:
        journal.close()
        await store.close()


async def test_the_age_counts_from_the_start_of_the_process_that_escrowed(tmp_path: Path) -> None:
    """Hours after it, when the instance had its turn, or days after the run began: of a run that was continued."""
    async with desk(tmp_path) as d:
        await d.proved("a", at=5 * HOUR)
        assert await d.young(at=3 * DAY - 61) == "rotated 2d 23h ago; max_age 3d"
        assert await d.young(at=3 * DAY) is None
        assert await d.young(at=DAY, max_age=None) is None
        await d.journal.mark("a", Mark(type=MarkType.RESUMED, at=DAY))
        await d.journal.mark("a", Mark(type=MarkType.RESUMED, at=2 * DAY))
        assert await d.young(at=3 * DAY) is None  # made before both
        await d.proved("a", at=DAY + 5 * HOUR)
        assert await d.young(at=4 * DAY - 61) == "rotated 2d 23h ago; max_age 3d"
        assert await d.young(at=4 * DAY) is None


async def test_without_its_run_the_escrow_counts_and_an_import_tells_nothing(tmp_path: Path) -> None:
    """The journal was lost; or the password came from an export, where no time stands."""
    async with desk(tmp_path) as d:
        await d.proved("nobody-knows", at=5 * HOUR)
        assert await d.young(at=3 * DAY) == "rotated 2d 19h ago; max_age 3d"
        other = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-2")
        imported = Generation(
            key=other, generation=1, stage=Stage.CURRENT, login="r-2", run_id=IMPORTED, created_at=0.0, updated_at=0.0
        )
        await d.store.insert(imported, Secret("Passw0rd-2"))
        manifest = {
            "version": 1,
            "name": "job",
            "targets": ["r-2"],
            "changes": [{"password": {"env": "X", "max_age": "3d"}}],
        }
        is_young = young_in(Manifest.model_validate(manifest), d.store, d.journal, now=HOUR)
        assert await is_young(other) is None


def contents(b: Bench) -> dict[Path, bytes | None]:
    """Of every file; but what SQLite's readers share of the journal in memory is no content."""
    return {path: None if path.suffix == ".db-shm" else path.read_bytes() for path in b.files() if path.is_file()}


async def test_a_plan_tells_what_is_due_and_makes_nothing(tmp_path: Path) -> None:
    """The young ones are unchanged, with their age, whatever was chosen meanwhile; the new one is planned."""
    async with bench(tmp_path, instances=6) as b:
        sections = {"changes": [{"password": {"env": "PW", "max_age": "1h"}}], "proof": {"password": "login"}}
        manifest = b.manifest(targets=b.targets(2), **sections)
        assert (await b.run("plan", str(manifest), environ={"PW": "First-Passw0rd"})).code == 0
        assert not (tmp_path / ".batchmod").exists()
        assert (await b.run("run", str(manifest), "--yes", environ={"PW": "First-Passw0rd"})).code == 0
        b.manifest(targets=b.targets(3), **sections)
        before = contents(b)
        told = await b.run("plan", str(manifest), "--format", "json", environ={"PW": "Second-Passw0rd"})
        assert contents(b) == before
        rows = json.loads(told.out)["rows"]
        assert [row["verdict"] for row in rows] == ["unchanged", "unchanged", "planned"]
        assert all(row["reason"].endswith(" ago; max_age 1h") for row in rows[:2])
        sent = b.calls(MODIFY)
        assert (await b.run("run", str(manifest), "--yes", environ={"PW": "Second-Passw0rd"})).code == 0
        assert b.outcomes() == {"changed": 1, "unchanged": 2}
        assert b.calls(MODIFY) == sent + 1
        assert [len(stages) for stages in (await b.stored()).values()] == [1, 1, 1]
