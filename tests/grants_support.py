"""The roles of docs/cluster/roles.sql and what docs/cluster/grants.sql lets them do, in a database of the test's own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from postgres import Database

from batchmod.pg.link import Row, connect
from batchmod.pg.migrating import prepare
from batchmod.pg.place import Place

SHOWN = Path(__file__).parents[1] / "docs/cluster"
NAME = "granted"
ROLES = ("batchmod_owner", "batchmod_worker", "batchmod_operator", "batchmod_reader")


@dataclass(frozen=True)
class Roled:
    """A database that has been set up as the page says."""

    server: Database

    def url(self, role: str, *, name: str = NAME) -> str:
        return self.server.url.replace("postgres@", f"{role}@").replace(f"/{self.server.name}?", f"/{name}?")

    def execute(self, role: str, statement: str, *values: object) -> list[Row]:
        with connect(Place(url=self.url(role))) as connection:
            found = connection.execute(statement.encode(), values)
            return found.fetchall() if found.description else []


def statements(name: str) -> list[str]:
    """Of one of the files, in order."""
    text = re.sub(r"--.*", "", (SHOWN / name).read_text(encoding="utf-8"))
    return [each.strip() for each in text.split(";") if each.strip()]


@contextmanager
def roled(server: Database) -> Iterator[Roled]:
    """Made by a superuser, the owner and the files; gone afterwards, roles included."""
    made = Roled(server)
    try:
        for each in statements("roles.sql"):
            server.execute(re.sub(r"\bDATABASE batchmod\b", f"DATABASE {NAME}", each))
        prepare(Place(url=made.url("batchmod_owner")))
        grant(made)
        yield made
    finally:
        drop(server, NAME)


def drop(server: Database, name: str) -> None:
    """Neither the database nor any of the roles is there."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        for role in ROLES:
            connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


def grant(made: Roled) -> None:
    """As after an upgrade, too: it can be done again."""
    with psycopg.connect(made.url("batchmod_owner"), autocommit=True) as connection:
        for each in statements("grants.sql"):
            connection.execute(each.encode())
