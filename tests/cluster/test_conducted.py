"""A campaign whose conductor or workers leave at a bad moment ends as the run of one machine would."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster_support import RETRY, Cluster, accounts, cluster, everywhere, profiles, quotas
from postgres import Database
from soaking import SOAKS

ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
NO_MARK = """
CREATE SEQUENCE refusals;
CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.body::json ->> 'type' = 'finished' AND nextval('refusals') = 1 THEN RAISE EXCEPTION 'not now'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER mark_refused BEFORE INSERT ON mark FOR EACH ROW EXECUTE FUNCTION refuse_once();
"""
"""The first end of a run cannot be written down."""


def manifest(c: Cluster, lanes_of: int, change: dict[str, Any], rollout: Mapping[str, Any] | None = None) -> Path:
    return c.bench.manifest(
        accounts=profiles(lanes_of),
        targets=everywhere(lanes_of),
        changes=[change],
        limits={"rate": "50/1s"},
        rollout=dict(rollout or {}),
        retry=RETRY,
    )


def cloud(duration: float, **more: Any) -> dict[str, Any]:
    return {
        **accounts(2),
        "quotas": quotas("50/1s"),
        "durations": {"attributes": duration, "password": duration},
        **more,
    }


def phases(c: Cluster) -> Counter[str]:
    return Counter(dict(c.asked("SELECT phase, count(*) FROM last GROUP BY 1")))


def marks(c: Cluster, *types: str) -> list[str]:
    """What happened to the run, of these kinds, in order."""
    found = c.asked("SELECT body::json ->> 'type' FROM mark ORDER BY n")
    return [kind for (kind,) in found if kind in types]


@pytest.mark.parametrize("written", [True, False])
async def test_a_failed_check_is_passed_by_an_operator_only(tmp_path: Path, database: Database, written: bool) -> None:
    """Not by the conductor that follows one that died after the check: whether the run's end was written down or not."""
    async with cluster(tmp_path, database, instances=8, faults=cloud(0.1)) as c:
        if not written:
            database.execute(NO_MARK)
        check = c.bench.folder / "check.sh"
        check.write_text("#!/bin/sh\necho x >> checked\nexit 1\n")
        check.chmod(0o755)
        await c.work(lanes=2)
        run_id = await c.submit(manifest(c, 1, RENAME, {"waves": [1, "100%"], "check": ["./check.sh"]}))
        await c.ended(run_id)
        if written:  # as if it had died before it could say that workers have nothing to do with it any more
            database.execute("UPDATE campaign SET state = 'open', job = NULL")
            await c.until("SELECT 1 FROM campaign WHERE state = 'ended' AND attempts = 2")
            assert marks(c, "resumed", "finished") == ["finished"]
        else:
            assert marks(c, "resumed", "finished") == ["resumed", "finished"]
        assert (check.parent / "checked").read_text() == "x\n"
        assert marks(c, "wave opened") == []
        assert phases(c)["planned"] == 3
        result = await c.bench.run("runs", "--store", database.url)
        assert "check" in result.out


async def test_an_abandoned_run_is_settled_by_the_next_worker(tmp_path: Path, database: Database) -> None:
    """One that is told to end leaves what settles to others; nothing of it is given up meanwhile."""
    async with cluster(tmp_path, database, instances=8, faults=cloud(12.0)) as c:
        first = await c.work(1, "--drain", "1s", lanes=2)
        run_id = await c.submit(manifest(c, 1, ROTATE))
        await c.until("SELECT 1 FROM last WHERE phase = 'settling'")
        assert (await c.bench.run("control", run_id, "stop", "--store", database.url)).code == 0
        await c.ended(run_id)
        settling = phases(c)["settling"]
        assert settling
        assert (await c.bench.run("abandon", run_id, "--store", database.url)).code == 0
        await c.until("SELECT 1 FROM chunk WHERE attempts > 0")
        assert await first.end() == 0
        assert phases(c)["settling"] == settling
        await c.work(lanes=2)
        await c.ended(run_id)
        assert (phases(c)["changed"], phases(c)["unresolved"]) == (settling, 0)


@SOAKS
async def test_a_word_to_stop_leaves_an_abandoned_run_open(tmp_path: Path, database: Database) -> None:
    """What nobody has looked at is not given up; who works on it leaves after its drain."""
    async with cluster(tmp_path, database, instances=16, faults=cloud(20.0)) as c:
        first = await c.work(1, "--drain", "1s", lanes=4)
        run_id = await c.submit(manifest(c, 2, ROTATE))
        await c.until("SELECT 1 FROM last WHERE phase = 'settling' OFFSET 7 LIMIT 1")
        await c.bench.run("control", run_id, "stop", "--store", database.url)
        await c.ended(run_id)
        assert await first.end() == 0
        await c.work(1, "--drain", "1s", lanes=1)
        assert (await c.bench.run("abandon", run_id, "--store", database.url)).code == 0
        await c.until("SELECT 1 FROM chunk WHERE attempts > 0")
        assert (await c.bench.run("control", run_id, "stop", "--store", database.url)).code == 0
        await c.ended(run_id, seconds=15)
        assert phases(c)["unresolved"] == 0
        assert marks(c, "closed") == []


async def test_an_account_that_was_mended_is_tried_again(tmp_path: Path, database: Database) -> None:
    """What stopped it before an operator resumed the run does not hold any more."""
    refused = [{"fraction": 1.0, "api": "ModifyInstanceAttribute", "code": "InvalidAccessKeyId.Inactive"}]
    async with cluster(tmp_path, database, instances=16, faults=cloud(0.1, refuse=refused)) as c:
        await c.work(lanes=4)
        run_id = await c.submit(manifest(c, 1, RENAME, {"waves": [1, "100%"], "pause": "manual"}))
        await c.ended(run_id)
        armed = len(c.asked("SELECT 1 FROM step WHERE phase = 'armed'"))
        assert armed
        assert marks(c, "account failed") == ["account failed"]
        assert (await c.bench.run("resume", run_id, "--store", database.url)).code == 0
        await c.ended(run_id)
        assert len(c.asked("SELECT 1 FROM step WHERE phase = 'armed'")) > armed
        assert len(marks(c, "account failed")) > 1
