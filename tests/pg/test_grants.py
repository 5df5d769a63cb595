"""What docs/cluster/grants.sql grants is no more than is needed; that it is enough, a campaign shows (test_cluster_grants)."""

from collections.abc import Iterator

import pytest
from grants_support import ROLES, Roled, grant, roled
from postgres import Database
from psycopg.errors import InsufficientPrivilege

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
