"""The schema is made once, and another version is refused."""

import threading

import pytest
from postgres import Database

from batchmod.errors import UsageError
from batchmod.pg import migrating
from batchmod.pg.link import connect
from batchmod.pg.migrating import check, prepare
from batchmod.pg.place import Place
from batchmod.pg.tables import VERSIONS


def bare(database: Database) -> Place:
    """The same database without our schema."""
    database.execute("DROP SCHEMA batchmod CASCADE")
    return database.place


def test_it_is_made_once_however_many_begin(database: Database) -> None:
    place = bare(database)
    assert check(place) is False
    begun = [threading.Thread(target=prepare, args=(place,)) for _ in range(4)]
    for each in begun:
        each.start()
    for each in begun:
        each.join()
    assert check(place) is True
    assert database.execute("SELECT n FROM version") == [(len(VERSIONS),)]


def test_an_older_one_is_changed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is in it, and once."""
    place = bare(database)
    with monkeypatch.context() as earlier:
        earlier.setattr(migrating, "VERSIONS", VERSIONS[:1])
        prepare(place)
    database.execute("INSERT INTO lease (key, epoch) VALUES ('lane:1/a', 7)")
    with pytest.raises(UsageError, match="schema version 1, this one knows"):
        check(place)
    for _ in range(2):
        prepare(place)
    assert check(place) is True
    assert database.execute("SELECT epoch, written_at FROM lease") == [(7, None)]


def test_another_version_is_refused(database: Database) -> None:
    database.execute("UPDATE version SET n = 99")
    for look in (check, prepare):
        with pytest.raises(UsageError, match=f"schema version 99, this one knows {len(VERSIONS)}"):
            look(database.place)


def test_a_role_that_may_not_make_it_is_told_what_to_do(database: Database) -> None:
    place = bare(database)
    database.execute("CREATE ROLE humble LOGIN")
    try:
        with pytest.raises(UsageError, match=r"there is no schema .* as its owner"):
            prepare(Place(url=place.url.replace("postgres@", "humble@")))
    finally:
        database.execute("DROP ROLE humble")


def test_a_role_that_may_not_change_it_is_told_that_it_is_older(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a batchmod that knows one version more."""
    monkeypatch.setattr(migrating, "VERSIONS", (*VERSIONS, "CREATE TABLE batchmod.later ()"))
    database.execute("CREATE ROLE humble LOGIN")
    database.execute("GRANT USAGE ON SCHEMA batchmod TO humble")
    database.execute("GRANT SELECT ON version TO humble")
    try:
        with pytest.raises(UsageError, match="older than this batchmod"):
            prepare(Place(url=database.url.replace("postgres@", "humble@")))
    finally:
        database.execute("DROP OWNED BY humble")
        database.execute("DROP ROLE humble")


@pytest.mark.parametrize("table", ["run", "planned", "step", "mark"])
def test_the_journal_is_only_added_to(database: Database, table: str) -> None:
    with connect(database.place) as connection:
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(Exception, match="only added to"):
                connection.execute(statement.encode())


def test_a_server_that_is_not_there_is_one_clear_line(database: Database) -> None:
    nowhere = Place(url="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(UsageError, match="the store cannot be used"):
        check(nowhere)
    assert check(database.place)
