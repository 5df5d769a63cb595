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
    ('secret', 'SELECT'), ('secret', 'INSERT'), ('secret', 'UPDATE'), ('secret', 'DELETE'),
    ('seal', 'SELECT'), ('seal', 'INSERT'), ('seal', 'UPDATE')
  ) AS rights (name, needed) WHERE NOT has_table_privilege(name, needed))
"""


def diagnosis(table: PostgresTable, *, now: Callable[[], float]) -> tuple[Finding, ...]:
    """Contents, rights, versions and clock; of a server that does not answer only that. It is open: the key opens it."""
    place = table.place
    try:
        count, server = table.read(_COUNT), table.read(_SERVER)
    except StoreError as error:
        return (Finding(what="store", ok=False, text=str(error)),)
    if not server:
        return (Finding(what="store", ok=True, text=f"{place}: not there yet; the first run makes it"),)
    ((stored,),), ((standby, durable, told, lacking),) = count, server
    opens = f"{place}: opens with the age key, {stored} generations" if stored else f"{place}: nothing is stored yet"
    fault = (
        "is a standby: name the primary" if standby
        else f"this role needs {', '.join(lacking)}" if lacking
        else "fsync is off: a crash of its machine would lose passwords" if not durable
        else None
    )  # fmt: skip
    apart = abs(told - now())
    return (
        Finding(what="store", ok=True, text=opens),
        Finding(what="store, writing", ok=fault is None, text=f"{place}: {fault or 'can be written'}"),
        Finding(what="store, versions", ok=True, text="all are kept, nothing that was ever sent is deleted"),
        Finding(what="clock", ok=apart <= _SKEW, text=f"{apart:.0f} s apart from the server's"),
    )
