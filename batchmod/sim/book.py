"""The book of all calls: who asked for what, and what the cloud's own verdict was. Never a password, never a token."""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

REMEMBERED_CALLS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call. `code` is the cloud's own verdict, whether or not the client learnt it; None: it was not carried out."""

    at: float  # seconds since the epoch, the cloud's clock
    api: str
    account: str | None  # its id; None: whoever it was could not prove it
    instance: str | None  # its id
    code: str | None
    fault: str | None


class Book:
    """The last calls one by one, and all of them counted."""

    def __init__(self, remembered: int = REMEMBERED_CALLS) -> None:
        self.calls: deque[CallRecord] = deque(maxlen=remembered)
        self._counts: Counter[tuple[str | None, str, str]] = Counter()

    def write(self, record: CallRecord) -> None:
        self.calls.append(record)
        self._counts[record.account, record.api, record.code or record.fault or "lost"] += 1

    def counted(self) -> dict[str, dict[str, int]]:
        """By API and verdict."""
        found: dict[str, dict[str, int]] = {}
        for (_, api, verdict), times in self._counts.items():
            verdicts = found.setdefault(api, {})
            verdicts[verdict] = verdicts.get(verdict, 0) + times
        return dict(sorted(found.items()))

    def counted_by_account(self) -> dict[str, dict[str, dict[str, int]]]:
        """By account, API and verdict; what nobody could be held to is not in it."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (account, api, verdict), times in self._counts.items():
            if account is not None:
                found.setdefault(account, {}).setdefault(api, {})[verdict] = times
        return found

    def recent(self) -> list[dict[str, Any]]:
        return [asdict(each) for each in self.calls]
