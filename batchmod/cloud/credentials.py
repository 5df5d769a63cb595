"""The key that requests are signed with, and what gives one. No I/O: the environment is a parameter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from batchmod.errors import UsageError
from batchmod.model.secret import Secret

ID_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_ID"
SECRET_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"  # noqa: S105  the name of a variable
TOKEN_VARIABLE = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105  the name of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair, with a token when it is temporary. Every part is printable ASCII without spaces.

    Raises UsageError, naming the part and never its value, for anything else: id and token travel in headers, where a
    line end picked up from a file would be taken for the end of the header.
    """

    id: str
    secret: Secret
    token: Secret | None = None

    def __post_init__(self) -> None:
        parts = {"id": self.id, "secret": self.secret.reveal()}
        if self.token is not None:
            parts["security token"] = self.token.reveal()
        broken = [name for name, text in parts.items() if not _fits_a_header(text)]
        if broken:
            raise UsageError(
                *(f"access key: the {name} is empty or has a blank or strange character" for name in broken)
            )


class Keys(Protocol):
    """Gives the key of one account to all who sign for it, and a new one when it has expired."""

    async def key(self) -> AccessKey:
        """A key that is valid for a while yet. Raises CallError when there is none; then nothing was sent."""

    async def renew(self, refused: AccessKey) -> bool:
        """Told that the service called the token of `refused` expired; True when `key` now gives another one.

        There is one refresh for each expiry however many callers tell of it. False when the same key would come again.
        Raises CallError when a refresh is due and fails: the request that was refused has changed nothing.
        """


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """One key for ever."""

    fixed: AccessKey

    async def key(self) -> AccessKey:
        return self.fixed

    async def renew(self, refused: AccessKey) -> bool:  # noqa: ARG002  as Keys has it
        """Never: there is no other one."""
        return False


def from_environment(environ: Mapping[str, str]) -> AccessKey:
    """The key that the vendor's own variables hold; an empty variable counts as missing.

    Raises UsageError, naming the part, for a key that lacks one or cannot be one.
    """
    token = environ.get(TOKEN_VARIABLE)
    return AccessKey(
        id=environ.get(ID_VARIABLE, ""),
        secret=Secret(environ.get(SECRET_VARIABLE, "")),
        token=Secret(token) if token else None,
    )


def _fits_a_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
