"""What a role may do with our tables, when an operator asks. docs/cluster/grants.sql gives it, and a test compares them."""

from dataclasses import dataclass
from typing import Final

from batchmod.pg.link import connect
from batchmod.pg.place import Place

LOOK, SUBMIT, SCHEDULE, WORK = "look", "submit", "schedule", "work"
NEEDED: Final = {
    LOOK: {"SELECT": "version run planned step mark campaign chunk request heard schedule procrastinate_jobs"},
    SUBMIT: {
        "SELECT": "slot seal",
        "INSERT": "run planned mark campaign chunk request seal procrastinate_jobs procrastinate_events",
        "UPDATE": "campaign chunk",
        "DELETE": "chunk heard slot",
    },
    SCHEDULE: {"INSERT": "schedule", "UPDATE": "schedule", "DELETE": "schedule"},
    WORK: {
        "SELECT": "lease waiter secret procrastinate_workers procrastinate_periodic_defers",
        "INSERT": "step changed doubt lease slot waiter heard secret procrastinate_workers procrastinate_periodic_defers",
        "UPDATE": "doubt lease slot waiter heard request schedule secret seal procrastinate_jobs procrastinate_workers",
        "DELETE": "doubt waiter secret procrastinate_jobs procrastinate_workers",
    },
}
LACKING: Final = """
SELECT needed, name FROM unnest(%s::text[], %s::text[]) AS rights (needed, name) WHERE NOT has_table_privilege(name, needed)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who we are to the database. `lacking`: by what is to be done, each right that is missing for it."""

    name: str
    lacking: dict[str, tuple[str, ...]]
    is_encrypted: bool
    is_sealed: bool  # the secret store in it has a key; False, too, for who may not know

    @property
    def able(self) -> tuple[str, ...]:
        return tuple(what for what, rights in self.lacking.items() if not rights)


def role_at(place: Place) -> Role:
    """Of a database with our schema. Raises one of link.FAILURES, or UsageError."""
    wanted = [
        (what, right, table)
        for what, rights in NEEDED.items()
        for right, tables in rights.items()
        for table in tables.split()
    ]
    with connect(place) as connection:
        ((name,),) = connection.execute("SELECT current_user").fetchall()
        asked = ([right for _, right, _ in wanted], [table for _, _, table in wanted])
        missing = set(connection.execute(LACKING, asked).fetchall())
        may_know = ("SELECT", "seal") not in missing
        return Role(
            name=name,
            lacking={
                each: tuple(
                    f"{right} on {table}" for what, right, table in wanted if what == each and (right, table) in missing
                )
                for each in NEEDED
            },
            is_encrypted=bool(connection.pgconn.ssl_in_use),
            is_sealed=may_know and bool(connection.execute("SELECT 1 FROM seal").fetchall()),
        )
