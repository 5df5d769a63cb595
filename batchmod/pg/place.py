"""Which database `--store` names. A password never stands there: it would be in argv, in logs and in every report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from batchmod.errors import UsageError

SCHEMES: Final = frozenset({"postgresql", "postgres"})
SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret"})
NO_URL: Final = "not a URL such as postgresql://user@host/database"
SCHEMA: Final = "batchmod"  # all that is ours is in it
ELSEWHERE: Final = "put it into a password file (PGPASSFILE, ~/.pgpass) or a service file (?service=…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database by its URL, which holds no secret."""

    url: str

    def __str__(self) -> str:
        return self.url


def place_of(url: str) -> Place:
    """The database that is meant. Raises UsageError, which repeats nothing of what may be a password.

    For what libpq itself makes of the URL see pg.conninfo: its driver may be missing here.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise UsageError(f"--store: {NO_URL}")
    if "#" in url:  # what follows is a part like any other to libpq, and of nothing to whoever else reads a URL
        raise UsageError(f"--store: a URL of PostgreSQL has no #, and a password may not stand in it: {ELSEWHERE}")
    named = _password_in(rest)
    if named:
        raise UsageError(f"--store: a password may not stand in the URL ({named}): {ELSEWHERE}")
    return Place(url=url)


def _password_in(rest: str) -> str | None:
    """Where one stands, in words. One that holds an @, a / or a ? is one, too, whatever a URL may hold."""
    if ":" in rest.rpartition("@")[0]:
        return "before the @"
    query = parse_qsl(rest.partition("?")[2], keep_blank_values=True)
    return next((f"{name}=" for each, _ in query if (name := each.lower()) in SECRETS), None)


def check_environ(environ: Mapping[str, str]) -> None:
    """PGPASSWORD would go on to every child process. Raises UsageError where it is set."""
    if environ.get("PGPASSWORD"):
        raise UsageError(f"PGPASSWORD: a password in the environment is inherited by every child: {ELSEWHERE}")
