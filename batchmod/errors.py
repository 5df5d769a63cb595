"""Every error that batchmod foresees, by what to do about it. Anything else that escapes is a bug, and loud.

* BatchmodError
  - UsageError        refused before anything was sent: exit 2, each problem on a line of its own
    . PolicyError     what an operator said forbids it: to try it again changes nothing
  - HeldError         another run holds the state directory: exit 75
  - ReportError       a report could not be written: exit 74, the journal is complete
  - JournalError      the journal cannot be read or written: nothing new may be sent
  - StoreError        the secret store cannot be read or written: nothing new may be sent
    . StoreConflict   a compare-and-set was lost to another run
  - CallError         one API call was not answered with success; its verdict says what that means
"""

from enum import StrEnum


class Verdict(StrEnum):
    """What an unsuccessful call means for what is done next (design rule 7)."""

    WAIT = "wait"  # another task runs on the instance: nothing was changed, come back later
    SLOW_DOWN = "slow down"  # refused by a quota before it was executed
    REFUSED = "refused"  # the service said no; this attempt changed nothing
    FORBIDDEN = "forbidden"  # refused for a permission; five in a row stop the account
    GONE = "gone"  # refused because there is no such instance
    EXPIRED = "expired"  # the security token has expired: one that cannot be renewed stops its account
    ACCOUNT_STOP = "account stop"  # credential or signature: nothing of this account can succeed
    NOT_SENT = "not sent"  # provably never left this machine
    LOST = "lost"  # no usable answer: a write may or may not have been applied


class BatchmodError(Exception):
    """Root of all that is foreseen; never raised itself."""


class UsageError(BatchmodError):
    """Something is refused before anything was sent; `problems` holds one line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PolicyError(UsageError):
    """What an operator said, or has still to say, forbids it: to try it again as it is changes nothing."""


class HeldError(BatchmodError):
    """Another process holds what this one needs; the message names it."""


class ReportError(BatchmodError):
    """A report file could not be written; the journal is complete and can rebuild it."""


class JournalError(BatchmodError):
    """The journal could not be read or written."""


class StoreError(BatchmodError):
    """The secret store could not be read or written, or gave back something else than was put in."""


class StoreConflict(StoreError):
    """A compare-and-set found another state than it was told; `holder` is the run that holds the secret, if any."""

    def __init__(self, message: str, *, holder: str | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class NoPlaceError(StoreError):
    """No other password of this one instance can be stored without losing something; nothing was written."""


class CallError(BatchmodError):
    """One API call without success. Carries no parameter, URL or header of the request."""

    def __init__(  # what a reply can tell
        self,
        verdict: Verdict,
        *,
        code: str,
        message: str,
        request_id: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.verdict = verdict
        self.code = code
        self.message = message
        self.request_id = request_id
        self.status = status
        self.retry_after = retry_after  # seconds, when the service named them
