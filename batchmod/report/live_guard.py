"""Who may read the live page. Pure; knows no server."""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from batchmod.errors import UsageError
from batchmod.model.hosts import is_loopback

USER: Final = "batchmod"
VARIABLE: Final = "BATCHMOD_SERVE_TOKEN"
SHORTEST: Final = 16  # characters of a token
WAIT: Final = 1.0  # seconds that follow a wrong token
REMEMBERED: Final = 1000  # addresses that gave one

_LABEL: Final = "[A-Za-z0-9_-]{1,63}"
_ADDRESS: Final = re.compile(rf"(?:\[([0-9A-Fa-f:.]+)\]|({_LABEL}(?:\.{_LABEL})*\.?)):([0-9]{{1,5}})")
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]*))(?::[0-9]{0,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the page is served; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parsed(cls, text: str) -> "Address":
        """Raises UsageError."""
        found = _ADDRESS.fullmatch(text)
        if found is None or int(found[3]) > 65535:  # noqa: PLR2004  the last port
            raise UsageError(f"--serve {text!r}: not of the form HOST:PORT, such as 127.0.0.1:0")
        return cls(host=found[1] or found[2], port=int(found[3]))

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host.lower())

    def url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/"


def token_for(address: Address, given: str | None) -> str | None:
    """The token that a browser is asked for; none on loopback, unless one is given. Raises UsageError."""
    if not given:
        if address.is_loopback:
            return None
        raise UsageError(
            f"--serve {address.host}:{address.port}: others can reach that address: set {VARIABLE} to a token that "
            "the browser is to be asked for, or serve on 127.0.0.1"
        )
    if len(given) < SHORTEST:
        raise UsageError(f"{VARIABLE}: a token has at least {SHORTEST} characters")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{VARIABLE}: a token is text in UTF-8, and this is none") from None  # which repeats it
    return given


class Verdict(StrEnum):
    WELCOME = "welcome"
    FOREIGN = "foreign"  # the page was asked for under a name that is not this machine's
    UNKNOWN = "unknown"  # no token, or a wrong one
    LATER = "later"  # a wrong one came from there just now


class Guard:
    """Without a token only the names of loopback are answered to: no page of another site can read this one by a name
    that it made point here. With one, a browser proves itself by HTTP Basic.
    """

    def __init__(self, token: str | None, *, now: Callable[[], float]) -> None:
        """`now`: seconds that go forward."""
        self._expected = None if token is None else base64.b64encode(f"{USER}:{token}".encode())
        self._now = now
        self._wrong: dict[str, float] = {}  # when a wrong token came, by the address that it came from

    def verdict(self, *, host: str, authorization: str | None, remote: str) -> Verdict:
        """On one request, by its headers Host and Authorization and the address that it came from."""
        if self._expected is None:
            named = _HOST.fullmatch(host)
            return Verdict.WELCOME if named and is_loopback((named[1] or named[2]).lower()) else Verdict.FOREIGN
        if authorization is None:
            return Verdict.UNKNOWN
        now = self._now()
        if now - self._wrong.get(remote, -WAIT) < WAIT:
            return Verdict.LATER  # without a look: guessing is slow, however many connections it has
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._expected)
        if same and scheme.lower() == "basic":
            return Verdict.WELCOME
        self._wrong.pop(remote, None)
        while len(self._wrong) >= REMEMBERED:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[remote] = now
        return Verdict.UNKNOWN
