"""What comes in, decoded once, and with which keys it is signed."""

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

    @property
    def params(self) -> dict[str, str]:
        return dict(self.query + self.form)

    def header(self, name: str) -> str:
        """The value as V3 signs it: trimmed; of several, sorted and joined; empty when there is none."""
        return ",".join(sorted(value.strip() for key, value in self.headers if key == name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """One key pair. With a token it is a temporary one, and every call must bring the token."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    session_token: str | None = field(repr=False, default=None)
