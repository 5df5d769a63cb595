"""A secret that does not leave its type, and what is known of a stored one. No I/O."""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn


class Secret:
    """Text that no repr, str, format, JSON, pickle or comparison error shows. `reveal` is the one way out."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # equal secrets hash alike, and a hash tells nothing

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied to another process")


class Holding(Secret):
    """A secret text with another one within, which alone is one too."""

    __slots__ = ("within",)

    def __init__(self, text: str, within: Secret) -> None:
        super().__init__(text)
        self.within = within


class Stage(StrEnum):
    """Where a stored generation stands. Nothing that may be live is ever deleted."""

    PENDING = "pending"  # escrowed, not yet proved; at most one an instance
    CURRENT = "current"  # proved last; at most one
    PREVIOUS = "previous"  # current before that; at most one
    CANDIDATE = "candidate"  # superseded without proof, or proved two or more proofs ago; any number


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class InstanceKey:
    """What lanes, duplicates and secrets are keyed by; names in a manifest are for display."""

    account_id: str
    region: str
    instance_id: str

    def __str__(self) -> str:
        return f"{self.account_id}/{self.region}/{self.instance_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One stored password without its value. Times are seconds since the epoch."""

    key: InstanceKey
    generation: int  # from 1, grows by 1 an instance
    stage: Stage
    login: str  # the account whose password it is: the instance id, for the default account
    run_id: str  # the run that escrowed it
    created_at: float
    updated_at: float
