"""Whether a PostgreSQL can be a secret store, when an operator asks. Nothing is written."""

from collections.abc import Callable
from typing import Final

from batchmod.errors import StoreError
from batchmod.secrets.pgtable import PostgresTable
from batchmod.secrets.store import Finding

_SKEW: Final = 60.0  # seconds that clocks may differ
_COUNT: Final = "SELECT count(*) FROM secret"
_SERVER: Final = """
SELECT pg_is_in_recovery(), current_setting('fsync') = 'on', extract(epoch FROM clock_timestamp())::float8,
  (SELECT array_agg(needed || ' on ' || name ORDER BY name, needed) FROM (VALUES
    ('secret', 'SELECT'), ('secret', 'INSERT'), ('secret', 'UPDATE'), ('secret', 'DELETE'), ('seal', 'UPDATE')
  ) AS rights (name, needed) WHERE NOT has_table_privilege(name, needed))
"""


def diagnosis(table: PostgresTable, *, now: Callable[[], float]) -> tuple[Finding, ...]:
    """Contents, server, versions and clock; of a server that does not answer only that. It is open: the key opens it. That a
    role lacks a right is none of its faults: operators write no password.
    """
    place = table.place
    try:
        count, server = table.read(_COUNT), table.read(_SERVER)
    except StoreError as error:
        return (Finding(what="store", ok=False, text=str(error)),)
    if not server:
        return (Finding(what="store", ok=True, text=f"{place}: not there yet; the first run makes it"),)
    ((stored,),), ((standby, durable, told, lacking),) = count, server
    opens = f"{place}: opens with the age key, {stored} generations" if stored else f"{place}: nothing is stored yet"
    writes = (
        "is a standby: name the primary" if standby
        else f"takes writes, from roles that have {', '.join(lacking)}" if lacking
        else "can be written"
    )  # fmt: skip
    syncs = "what is written is on its disk" if durable else "fsync is off: a crash of its machine would lose passwords"
    apart = abs(told - now())
    return (
        Finding(what="store", ok=True, text=opens),
        Finding(what="store, writing", ok=not standby, text=f"{place}: {writes}"),
        Finding(what="store, durability", ok=durable, text=f"{place}: {syncs}"),
        Finding(what="store, versions", ok=True, text="all are kept, nothing that was ever sent is deleted"),
        Finding(what="clock", ok=apart <= _SKEW, text=f"{apart:.0f} s apart from the server's"),
    )
