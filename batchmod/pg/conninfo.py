"""What libpq is told to connect to a place: what it reads itself (URL, service file, environment) stands, but for what would
send a password in the clear.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any, Final

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, PGconn

from batchmod.errors import UsageError
from batchmod.pg.place import ELSEWHERE, NO_URL, SCHEMA, Place, place_of

CONNECT: Final = 5  # seconds until a host that does not answer is none
STATEMENT: Final = 60_000  # milliseconds that a statement may take, a lock that it waits for included
IDLE: Final = 5_000  # milliseconds that a process may stand still in a transaction and keep what it locked from others

ALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
DEFAULTS: Final[Mapping[str, Any]] = {"connect_timeout": CONNECT, "application_name": "batchmod", **ALIVE}
OPTIONS: Final = (
    f"-c search_path={SCHEMA},pg_catalog -c statement_timeout={STATEMENT} "
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000 "
    "-c default_transaction_isolation=read\\ committed "  # who waited for a lock sees what was written meanwhile
    "-c idle_in_transaction_session_timeout="
)
IN_THE_CLEAR: Final = frozenset({"disable", "allow", "prefer"})
VERIFIED: Final = "sslmode=verify-full&sslrootcert=…"
NOWHERE: Final = {  # of nothing: it is refused after all has been read, and before a file of passwords or a host is looked for
    "password": "none",
    "target_session_attrs": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a place is reached. `conninfo`: for libpq. `patience`: seconds after which none of its hosts will answer any more;
    None: for ever, as the user has said.
    """

    conninfo: str
    mode: str  # of TLS, as libpq calls it
    patience: float | None


def named_place(url: str) -> Place:
    """The database that is meant, as libpq reads the URL. Raises UsageError, which repeats nothing of it."""
    place = place_of(url)
    _given(place)
    return place


def terms(place: Place, *, idle: int = IDLE) -> Terms:
    """`idle`: see IDLE; 0 is for ever, for who reads at the pace of somebody else.

    Raises UsageError for a URL that holds a password or is none, and for a mode in which one might be sent in the clear.
    """
    given = _given(place)
    read = _read(given)
    hosts = _hosts(read)
    missing = {name: value for name, value in DEFAULTS.items() if not read.get(name)}
    told = {**given, **missing, "options": f"{read.get('options', '')} {OPTIONS}{idle}".strip()}
    if not read or not all(is_here(address, host) for host, address in hosts):
        told["sslmode"] = _encrypting(given, read)
    each = _seconds(read.get("connect_timeout"))
    return Terms(
        conninfo=make_conninfo(**told),
        mode=told.get("sslmode") or read.get("sslmode", ""),
        patience=2 * each * len(hosts) if each > 0 else None,
    )


def is_here(address: str, host: str) -> bool:
    """A socket of this machine, or loopback. `address` counts, where there is one: `host` may say anything then."""
    if not address and (host in {"", "localhost"} or host.startswith(("/", "@"))):
        return True
    try:
        return ip_address(address or host).is_loopback
    except ValueError:
        return False


def _given(place: Place) -> dict[str, Any]:
    """What the URL says, no secret among it. Raises UsageError."""
    try:
        given = conninfo_to_dict(place.url)
    except Error:
        raise UsageError(f"--store: {NO_URL}") from None  # it repeats what it does not understand
    for option in Conninfo.get_defaults():
        if option.dispchar == b"*" and option.keyword.decode() in given:  # libpq's own mark of what is not to be shown
            raise UsageError(f"--store: a password may not stand in the URL: {ELSEWHERE}")
    return given


def _read(given: Mapping[str, Any]) -> dict[str, str]:
    """What holds, in libpq's own reading of the URL, the service file, the environment and its defaults; no host is asked."""
    probe = PGconn.connect_start(make_conninfo(**{**given, **NOWHERE}).encode())
    try:
        return {option.keyword.decode(): option.val.decode() for option in probe.info if option.val is not None}
    finally:
        probe.finish()


def _seconds(timeout: str | None) -> int:
    """0 or less is for ever. What is no number libpq itself refuses."""
    try:
        return int(timeout or CONNECT)
    except ValueError:
        return CONNECT


def _hosts(read: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and address of each, in turn; either may be empty."""
    names, addresses = (read.get(each, "").split(",") for each in ("host", "hostaddr"))
    return list(zip_longest(names, addresses, fillvalue=""))


def _encrypting(given: Mapping[str, Any], read: Mapping[str, str]) -> str:
    """The mode of a connection that may leave this machine. Raises UsageError for one that was named and will not do."""
    mode = read.get("sslmode", "prefer")
    named = "sslmode" in given or bool(os.environ.get("PGSSLMODE"))
    if mode in IN_THE_CLEAR and (named or mode != "prefer"):
        raise UsageError(
            f"--store: with sslmode={mode} the database's password might be sent in the clear: use {VERIFIED}"
        )
    return "require" if mode in IN_THE_CLEAR else mode
