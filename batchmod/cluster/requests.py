"""What `control` says to those who work on a run, and how it is known that they have heard it.

Who works on a run (its conductor, and each chunk) holds a lease, renews it every second, and has a row in `heard`. The row
is there before the campaign is read for the first time: so whoever is not seen after `ask` goes by what `ask` said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, sql

ALIVE: Final = 5.0  # seconds after its last renewal in which a lease's holder may still be at work
COLUMNS: Final = frozenset({"paused", "stopping", "rate", "changing"})  # of a campaign, that an operator may set
Db = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Those who work on a run now."""

    there: int
    heard: int  # of those, who go by what was said

    @property
    def by_all(self) -> bool:
        return self.heard >= self.there


async def ask(db: Db, run_id: str, action: str, values: Mapping[str, str | bool | None]) -> int | None:
    """It was said, durably; what `said` counts since. None for a campaign that is not open: nothing was said.

    `values` are the campaign's columns that it sets; a reason to stop that was there stays.
    """
    assert values.keys() <= COLUMNS, values
    sets = [
        sql.SQL("stopping = coalesce(stopping, {})" if name == "stopping" else f"{name} = {{}}").format(value)
        for name, value in values.items()
    ]
    update = sql.SQL("UPDATE campaign SET said = said + 1, {} WHERE run = {} AND state = 'open' RETURNING said")
    async with db.transaction():
        found = await (await db.execute(update.format(sql.SQL(", ").join(sets), run_id))).fetchone()
        if found is None:
            return None
        await db.execute("INSERT INTO request (run, action) VALUES (%s, %s)", (run_id, action))
    return int(found[0])


async def heard_of(db: Db, run_id: str, said: int) -> Heard:
    """How many work on the run, and how many of them go by what was said until then."""
    query = """SELECT count(*), count(*) FILTER (WHERE heard.said >= %s) FROM heard JOIN lease USING (key, epoch)
     WHERE heard.run = %s AND lease.holder IS NOT NULL
       AND lease.renewed_at > clock_timestamp() - make_interval(secs => %s)"""
    there, heard = await (await db.execute(query, (said, run_id, ALIVE))).fetchone() or (0, 0)
    return Heard(there=there, heard=heard)
