"""Connections to the database, and what its errors are in our words. The only module that connects."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Connection

from batchmod.errors import UsageError
from batchmod.pg.conninfo import IDLE, VERIFIED, is_here, terms
from batchmod.pg.links import ALL
from batchmod.pg.place import Place

Error: Final = psycopg.Error
FAILURES: Final = (Error, OSError)

Row = tuple[Any, ...]


def connect(place: Place, *, idle: int = IDLE) -> Connection[Row]:
    """A connection that commits each statement by itself. `idle`: as of `terms`. Raises one of FAILURES, or UsageError for
    what could be a plain one over a network.
    """
    connection = psycopg.connect(terms(place, idle=idle).conninfo, autocommit=True)
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
    reached = terms(place)
    async with asyncio.timeout(reached.patience):  # a name that is not resolved has no limit of libpq's
        connection = await AsyncConnection.connect(reached.conninfo, autocommit=True)
    try:
        _require_private(connection)
    except UsageError:
        await connection.close()
        raise
    return connection


def _require_private(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Encrypted, or not on any network. Raises UsageError, else. From here on it can be cut off."""
    ALL.add(connection)
    raw = connection.pgconn
    if raw.ssl_in_use or is_here(raw.hostaddr.decode() if raw.hostaddr else "", raw.host.decode() if raw.host else ""):
        return
    raise UsageError(f"--store: the connection is not encrypted: add ?{VERIFIED} to the URL")


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
