"""The two ways in which something is refused here: by the cloud (a Refusal) or by the program (a SimError)."""

from collections.abc import Mapping

from batchmod.sim.codes import CODES


class SimError(Exception):
    """The simulator cannot start: a broken fault file, an option out of range, no Valkey. The message is for a person."""


class Refusal(Exception):
    """What the cloud answers instead of a result. `retry_after` is in milliseconds."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | None = None,
        access_denied: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.access_denied = access_denied


def refused(
    code: str,
    message: str | None = None,
    *,
    retry_after: int | None = None,
    access_denied: Mapping[str, str] | None = None,
) -> Refusal:
    """A code of the table with its documented status, and its words unless others are given."""
    status, words = CODES[code]
    return Refusal(status, code, message or words, retry_after=retry_after, access_denied=access_denied)


def missing(parameter: str) -> Refusal:
    return refused(
        "MissingParameter", f"The input parameter {parameter} that is mandatory for this request is not supplied."
    )


def invalid(parameter: str, code: str = "InvalidParameter") -> Refusal:
    """The vendor's words for a value that fits no rule; they name the parameter, never the value."""
    return refused(code, f'The Specified parameter "{parameter}" is not valid.')
