"""The database goes away at a moment at which procrastinate, or a group of tasks, tells of it: that is no bug of ours."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from cluster_support import RETRY, Cluster, accounts, cluster, everywhere, profiles
from postgres import Database
from soaking import SOAKS

from batchmod.app.post import parted
from batchmod.cluster.due import FAILURES
from batchmod.cluster.jobs import connected
from batchmod.errors import JournalError, UsageError
from batchmod.journal.postgres import PostgresJournal
from batchmod.pg.conninfo import IDLE
from batchmod.pg.link import Error, connect_async
from batchmod.secrets.pglink import Link

HELD = 0x7E58  # by a test: whoever comes to the statement in question waits for it
OPENS_A_WAVE = "BEFORE INSERT ON procrastinate_jobs FOR EACH ROW WHEN (NEW.task_name = 'chunk')"
TELLS_OF_AN_ACCOUNT = "BEFORE UPDATE ON campaign FOR EACH ROW WHEN (NEW.said > OLD.said AND NEW.stopping IS NOT DISTINCT FROM OLD.stopping)"
WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


@contextmanager
def held(database: Database, when: str) -> Iterator[None]:
    """Who does that waits until the block ends, or the server."""
    database.execute(
        f"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock({HELD}); "
        f"RETURN NEW; END $$; CREATE TRIGGER waiting {when} EXECUTE FUNCTION wait()"
    )
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (HELD,))
        yield


async def went_away(c: Cluster, when: str) -> str:
    """The run's id: it has ended, though the database was away at that moment."""
    with held(c.database, when):
        await c.work()
        job = c.bench.manifest(
            accounts=profiles(2), targets=everywhere(2), changes=[{"attributes": {"name": "new-{id}"}}], retry=RETRY
        )
        run_id = await c.submit(job)
        await c.until(WAITING, HELD)
        await c.outage(0)
    await c.ended(run_id)
    c.no_bug()
    return run_id


@SOAKS
async def test_while_a_wave_is_opened(tmp_path: Path, database: Database) -> None:
    """The campaign goes on, and is not put off."""
    async with cluster(tmp_path, database, instances=8, faults=accounts(2)) as c:
        run_id = await went_away(c, OPENS_A_WAVE)
        assert c.asked("SELECT DISTINCT phase FROM last WHERE run = %s", run_id) == [("changed",)]
        assert c.asked("SELECT troubles, trouble FROM campaign") == [(0, None)]


@SOAKS
async def test_while_an_account_is_told_to_have_failed(tmp_path: Path, database: Database) -> None:
    """Its rows end as they had, and the others go on."""
    scenario = accounts(2)
    failing = sorted(scenario["accounts"])[1]
    scenario["accounts"][failing] = {"revoke_key_after": 6}
    async with cluster(tmp_path, database, instances=24, faults=scenario) as c:
        run_id = await went_away(c, TELLS_OF_AN_ACCOUNT)
        ended = c.asked("SELECT DISTINCT account_id = %s, phase FROM last WHERE run = %s", failing, run_id)
        assert (False, "changed") in ended
        assert c.asked("SELECT count(*) FROM chunk WHERE trouble LIKE '%%bug%%'") == [(0,)]


AWAY = FAILURES[0]("away")
GONE, BROKEN, BUG, REFUSED = JournalError("gone"), Error("broken"), ValueError("a bug"), UsageError("no")


@pytest.mark.parametrize(
    ("error", "away", "rest"),
    [
        (AWAY, AWAY, None),
        (BUG, None, BUG),
        (ExceptionGroup("", [ExceptionGroup("", [BROKEN])]), BROKEN, None),
        (ExceptionGroup("", [BUG, ExceptionGroup("", [AWAY])]), AWAY, BUG),
        (ExceptionGroup("", [ExceptionGroup("", [REFUSED])]), None, REFUSED),
    ],
)
def test_what_of_an_error_says_that_the_database_is_away(
    error: Exception, away: Exception | None, rest: Exception | None
) -> None:
    """However deep; what else it says is what went wrong."""
    assert parted(error) == (away, rest)


def test_a_group_of_which_all_say_so_has_no_rest() -> None:
    """And of two bugs both are told."""
    away, rest = parted(ExceptionGroup("", [GONE, ExceptionGroup("", [AWAY])]))
    assert isinstance(away, ExceptionGroup)
    assert rest is None
    _, rest = parted(ExceptionGroup("", [GONE, BUG, REFUSED]))
    assert isinstance(rest, ExceptionGroup)
    assert rest.exceptions == (BUG, REFUSED)


async def test_no_connection_stands_still_in_a_transaction_for_long(database: Database) -> None:
    """Whatever this program locks, it is cut off when it does."""
    show = "SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
    found: dict[str, object] = {}
    async with connected(database.place) as connections:
        async with connections.connection() as pooled:
            found["pool"] = await (await pooled.execute(show)).fetchone()
        async with connections.connector._get_standalone_connection() as listening:  # as it has for LISTEN
            found["notices"] = await (await listening.execute(show)).fetchone()
    async with await connect_async(database.place) as link:
        found["leases and submitting"] = await (await link.execute(show)).fetchone()
    journal = PostgresJournal.open(database.place)
    found["journal"] = await journal.transact(lambda cursor: cursor.execute(show.encode()).fetchone())
    journal.close()
    secrets = Link(database.place, read_only=False)
    found["secrets"] = (await asyncio.to_thread(secrets.read, show))[0]
    secrets.close()
    assert found == dict.fromkeys(found, (str(IDLE),))
