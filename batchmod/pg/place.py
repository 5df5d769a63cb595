"""Which database `--store` names. A password never stands there: it would be in argv, in logs and in every report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from batchmod.errors import UsageError

SCHEMES: Final = frozenset({"postgresql", "postgres"})
SECRETS: Final = frozenset({"password", "sslpassword"})
SCHEMA: Final = "batchmod"  # all that is ours is in it
ELSEWHERE: Final = "put it into a password file (PGPASSFILE, ~/.pgpass) or a service file (?service=…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database by its URL, which holds no secret."""

    url: str

    def __str__(self) -> str:
        return self.url


def place_of(url: str) -> Place:
    """The database that is meant. Raises UsageError, which repeats nothing of what may be a password."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        named = _password_in(parts, query)
    except ValueError as error:
        raise UsageError("--store: not a URL such as postgresql://user@host/database") from error
    if named:
        raise UsageError(f"--store: a password may not stand in the URL ({named}): {ELSEWHERE}")
    if parts.scheme not in SCHEMES:
        raise UsageError("--store: not a URL such as postgresql://user@host/database")
    return Place(url=url)


def _password_in(parts: SplitResult, query: list[tuple[str, str]]) -> str | None:
    """Where one stands, in words."""
    if ":" in parts.netloc.rpartition("@")[0]:  # before the last @: libpq takes a password that holds one so, too
        return "before the @"
    return next((f"{name}=" for name, _ in query if name.lower() in SECRETS), None)


def check_environ(environ: Mapping[str, str]) -> None:
    """PGPASSWORD would go on to every child process. Raises UsageError where it is set."""
    if environ.get("PGPASSWORD"):
        raise UsageError(f"PGPASSWORD: a password in the environment is inherited by every child: {ELSEWHERE}")
