"""Connections to the database, and what its errors are in our words. The only module that connects."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from batchmod.errors import UsageError
from batchmod.pg.place import SCHEMA, Place

CONNECT: Final = 5  # seconds until a server that does not answer is none
ALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
Error: Final = psycopg.Error
FAILURES: Final = (Error, OSError)
STATEMENT: Final = 60_000  # milliseconds that a statement may take, a lock that it waits for included

IDLE: Final = 5_000  # milliseconds that a process may stand still in a transaction and keep what it locked from others

Row = tuple[Any, ...]


def conninfo(place: Place, *, idle: int = 0, **more: str | int) -> str:
    """What libpq is told: the place, our schema, and to notice a server that has gone. `idle`: see IDLE; 0 is for ever,
    for who reads at the pace of somebody else.
    """
    try:
        given = conninfo_to_dict(place.url)
    except psycopg.Error as error:
        raise UsageError(
            "--store: not a URL that libpq understands, such as postgresql://user@host/database"
        ) from error
    ours = (
        f"-c search_path={SCHEMA},pg_catalog -c statement_timeout={STATEMENT} "
        f"-c idle_in_transaction_session_timeout={idle} "
        "-c default_transaction_isolation=read\\ committed"  # who waited for a lock sees what was written meanwhile
    )
    options = f"{given.get('options') or ''} {ours}".strip()
    told: dict[str, Any] = {"connect_timeout": CONNECT, "application_name": "batchmod", **ALIVE, **given, **more}
    return make_conninfo(**{**told, "options": options})


def connect(place: Place) -> Connection[Row]:
    """A connection that commits each statement by itself. Raises one of FAILURES, or UsageError for a plain one over a
    network.
    """
    connection = psycopg.connect(conninfo(place), autocommit=True)
    try:
        _require_private(connection)
    except UsageError:
        connection.close()
        raise
    return connection


async def require_private(connection: AsyncConnection[Any]) -> None:
    """For connections that others make: encrypted, or not on any network. Raises UsageError, else."""
    _require_private(connection)


async def connect_async(place: Place) -> AsyncConnection[Row]:
    """The same, for a running event loop."""
    async with asyncio.timeout(CONNECT * 2):  # libpq's own counts per address
        connection = await AsyncConnection.connect(conninfo(place, idle=IDLE), autocommit=True)
    try:
        _require_private(connection)
    except UsageError:
        await connection.close()
        raise
    return connection


def _require_private(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Encrypted, or not on any network. Raises UsageError, else."""
    raw = connection.pgconn
    if raw.ssl_in_use or _is_here(raw.hostaddr.decode() if raw.hostaddr else "", raw.host.decode() if raw.host else ""):
        return
    raise UsageError("--store: the connection is not encrypted: add ?sslmode=verify-full&sslrootcert=… to the URL")


def _is_here(address: str, host: str) -> bool:
    """A socket of this machine, or loopback. `address` counts, where there is one: `host` may say anything then."""
    if not address and host.startswith(("/", "@")):
        return True
    try:
        return ip_address(address or host).is_loopback
    except ValueError:
        return False


def why(error: BaseException) -> str:
    """What went wrong in one line, without the statement, its values or the connection's parameters."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    first = str(error).strip().splitlines()
    return first[0] if first else type(error).__name__


@contextmanager
def usable(place: Place) -> Iterator[None]:
    """What goes wrong inside, before anything was sent, is a UsageError that names the database."""
    try:
        yield
    except (*FAILURES, TimeoutError) as error:
        raise UsageError(f"{place}: the store cannot be used: {why(error)}") from error


@asynccontextmanager
async def linked(place: Place) -> AsyncIterator[AsyncConnection[Row]]:
    """A connection for the block. Raises UsageError for what goes wrong inside."""
    with usable(place):
        async with await connect_async(place) as connection:
            yield connection
