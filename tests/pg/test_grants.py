"""What docs/cluster/grants.sql grants is no more than is needed; that it is enough, a campaign shows (test_cluster_grants)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from grants_support import ROLES, Roled, grant, roled
from pg_support import KEY, Machine, escrow
from postgres import Database
from psycopg.errors import InsufficientPrivilege

from batchmod.errors import StoreError
from batchmod.model.secret import Stage
from batchmod.pg.place import Place
from batchmod.pg.rights import LOOK, SCHEDULE, SUBMIT, WORK, role_at

JOURNAL = ("run", "planned", "step", "mark")
OTHERS = ROLES[1:]


@pytest.fixture
def made(database: Database) -> Iterator[Roled]:
    with roled(database) as found:
        yield found


ALTERING = [
    *("CREATE TABLE mine ()", "CREATE SCHEMA mine", "DROP SCHEMA batchmod CASCADE"),
    *(f"DELETE FROM {table}" for table in JOURNAL),
    *(f"UPDATE {table} SET body = body" for table in JOURNAL),
    *(f"TRUNCATE {table} CASCADE" for table in JOURNAL),
    *(f"DROP TABLE {table} CASCADE" for table in JOURNAL),
    *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in JOURNAL),
    *(f"DROP TRIGGER {table}_only_added_to ON {table}" for table in JOURNAL),
]
BEYOND = [
    ("batchmod_reader", "SELECT value FROM secret"),
    ("batchmod_reader", "SELECT canary FROM seal"),
    ("batchmod_reader", "INSERT INTO request (run, action) VALUES ('r', 'stop')"),
    ("batchmod_reader", "UPDATE campaign SET paused = true"),
    ("batchmod_operator", "SELECT value FROM secret"),
    ("batchmod_operator", "UPDATE seal SET recipients = ''"),
    ("batchmod_operator", "DELETE FROM seal"),
    ("batchmod_worker", "DELETE FROM seal"),
    ("batchmod_operator", "UPDATE secret SET stage = 'current'"),
    ("batchmod_operator", "DELETE FROM secret"),
    ("batchmod_operator", "INSERT INTO step (run, seq, phase, body) VALUES ('r', 0, 'changed', '')"),
    ("batchmod_operator", "UPDATE lease SET epoch = epoch + 1"),
    ("batchmod_worker", "INSERT INTO schedule VALUES ('s', '* * * * *', '/', '{}', '{}')"),
    ("batchmod_worker", "UPDATE version SET n = 2"),
]


def test_a_role_has_no_more_than_it_needs(made: Roled) -> None:
    """Nobody alters the journal, its rows or its tables; readers see no password; operators do no work."""
    for role, statement in [*((role, each) for role in OTHERS for each in ALTERING), *BEYOND]:
        with pytest.raises(InsufficientPrivilege):
            made.execute(role, statement)


def test_what_a_role_can_do_is_told(made: Roled) -> None:
    """By the rights that it has, and those that it lacks."""
    able = {name: role_at(Place(url=made.url(name))).able for name in OTHERS}
    assert able == {
        "batchmod_worker": (LOOK, SUBMIT, WORK),
        "batchmod_operator": (LOOK, SUBMIT, SCHEDULE),
        "batchmod_reader": (LOOK,),
    }
    made.execute("batchmod_owner", "REVOKE INSERT ON mark FROM batchmod_operator")
    assert role_at(Place(url=made.url("batchmod_operator"))).lacking[SUBMIT] == ("INSERT on mark",)
    made.execute("batchmod_owner", "REVOKE UPDATE ON waiter FROM batchmod_worker")
    assert role_at(Place(url=made.url("batchmod_worker"))).lacking[WORK] == ("UPDATE on waiter",)


async def test_an_operator_seals_a_store_and_sees_what_is_in_it(made: Roled, tmp_path: Path) -> None:
    """With the age key, and without a right to a single password; the workers then write under that seal."""
    operator, worker = (Machine(made.server, tmp_path) for _ in range(2))
    for _ in range(2):  # sealed, and then only opened
        await operator.open(place=Place(url=made.url("batchmod_operator"))).close()
    working = worker.open(place=Place(url=made.url("batchmod_worker")), may_make_key=False)
    await escrow(working)
    await working.promote(KEY, 1)
    await working.close()
    seeing = operator.open(place=Place(url=made.url("batchmod_operator")))
    assert [each.stage for each in await seeing.all()] == [Stage.CURRENT]
    assert await seeing.current(KEY) is not None
    with pytest.raises(StoreError, match="permission denied"):
        await seeing.reveal(KEY, 1)
    await seeing.close()


def test_no_table_is_forgotten(made: Roled) -> None:
    """A worker reads every one; what a later version adds has to be granted, too. Granted again they are the same."""
    granted = (
        "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE table_schema = 'batchmod' ORDER BY 1, 2, 3"
    )
    before = made.execute("batchmod_owner", granted)
    missing = "SELECT relname FROM pg_class WHERE relnamespace = 'batchmod'::regnamespace AND relkind IN ('r', 'v') "
    assert made.execute("batchmod_worker", missing + "AND NOT has_table_privilege(oid, 'SELECT')") == []
    grant(made)
    assert made.execute("batchmod_owner", granted) == before
