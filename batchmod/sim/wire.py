"""What comes in, decoded once, and with which keys it is signed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, decoded once. Header names are lower case; `query` and `form` may hold passwords."""

    method: str
    headers: Pairs = field(repr=False)
    query: Pairs = field(repr=False, default=())
    form: Pairs = field(repr=False, default=())
    body: bytes = field(repr=False, default=b"")
    params: Mapping[str, str] = field(init=False, repr=False)  # query and form; of the same name the last
    _joined: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", dict(self.query + self.form))
        object.__setattr__(self, "_joined", _joined(self.headers))

    def header(self, name: str) -> str:
        """The value as V3 signs it: trimmed; of several, sorted and joined; empty when there is none."""
        return self._joined.get(name, "")


def _joined(headers: Pairs) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = value.strip()
    if len(found) == len(headers):
        return found
    return {name: ",".join(sorted(value.strip() for key, value in headers if key == name)) for name in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """One key pair. With a token it is a temporary one, and every call must bring the token."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    session_token: str | None = field(repr=False, default=None)
