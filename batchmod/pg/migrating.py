"""The database has our tables in the version that this batchmod knows, or it is made so, or it is refused."""

from typing import Final

from procrastinate.schema import SchemaManager
from psycopg import Connection, errors, sql

from batchmod.errors import UsageError
from batchmod.pg.link import Row, connect, usable
from batchmod.pg.place import SCHEMA, Place
from batchmod.pg.tables import VERSIONS

LOCK: Final = 0x6261746368  # "batch": two that begin at once do it one after the other


def prepare(place: Place) -> None:
    """The schema is there in this version, procrastinate's tables in it.

    Raises UsageError when it cannot be so: a younger schema, or a role that may not make one.
    """
    with usable(place), connect(place) as connection:
        there = _version(connection)
        if there == len(VERSIONS):
            return
        try:
            _migrate(connection)
        except errors.InsufficientPrivilege as error:
            raise UsageError(
                f"{place}: {_lacking(there)}: run `batchmod worker --store …` once as its owner"
            ) from error
        _require_known(place, _version(connection))


def _lacking(there: int) -> str:
    if there:
        return f"its schema {SCHEMA!r} is older than this batchmod, and this role may not change it"
    return f"there is no schema {SCHEMA!r} in this database, and this role may not make it"


def check(place: Place) -> bool:
    """Whether our schema is there; nothing is made. Raises UsageError for another version, or none that can be reached."""
    with usable(place), connect(place) as connection:
        there = _version(connection)
    if there:
        _require_known(place, there)
    return bool(there)


def _require_known(place: Place, there: int) -> None:
    if there != len(VERSIONS):
        raise UsageError(
            f"{place}: written by another version of batchmod (schema version {there}, this one knows {len(VERSIONS)}); "
            "use that version"
        )


def _version(connection: Connection[Row]) -> int:
    """0 for a database without our schema."""
    there = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'version'"  # scanned: a name may be cached
    if connection.execute(there, (SCHEMA,)).fetchone() is None:
        return 0
    found = connection.execute("SELECT n FROM version").fetchone()
    return int(found[0]) if found else 0


def _migrate(connection: Connection[Row]) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        there = _version(connection)  # somebody may have done it meanwhile
        if there == 0:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            connection.execute("CREATE TABLE version (n integer NOT NULL)")
            connection.execute("INSERT INTO version VALUES (0)")
            connection.execute(SchemaManager.get_schema().encode())
        for statements in VERSIONS[there:]:
            connection.execute(statements.encode())
        if there < len(VERSIONS):
            connection.execute("UPDATE version SET n = %s", (len(VERSIONS),))
