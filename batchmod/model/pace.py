"""How one API of a lane was paced: for the journal, the board and the report, and for the next run. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from batchmod.model.values import Rate, parse_rate

REMEMBERED: Final = 7 * 86400.0  # seconds: a quota that was found longer ago may be another one now


class Remembered(NamedTuple):
    """A quota that was found, and when the service last said so, in seconds since the epoch."""

    rate: Rate
    at: float


Found = dict[tuple[str, str, str], Remembered]  # by account id, region and API


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`rate` is the quota that is kept, the vendor's notation; `found`: not the one of the manifest.

    `found_at` is when the service last said so, in seconds since the epoch. `allowed` is how many calls the quota allowed between the first one's answer and the last one's.
    """

    api: str
    rate: str
    calls: int
    throttled: int
    allowed: float
    found: bool = False
    found_at: float = 0.0
    account_id: str = ""
    region: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.account_id, self.region, self.api

    @property
    def used(self) -> float | None:
        """The share of what the quota allowed that was accepted; None when there was but one call."""
        return round((self.calls - self.throttled) / self.allowed, 4) if self.calls > 1 else None

    def document(self) -> dict[str, str | float | None]:
        """As the JSON log and the JSON report have it."""
        return {
            "account_id": self.account_id,
            "region": self.region,
            "api": self.api,
            "rate": self.rate,
            "calls": self.calls,
            "throttled": self.throttled,
            "used": self.used,
        }

    def after(self, earlier: "Pace | None") -> "Pace":
        """Of both, an earlier process's and this one's."""
        if earlier is None:
            return self
        return replace(
            self,
            calls=self.calls + earlier.calls,
            throttled=self.throttled + earlier.throttled,
            allowed=round(self.allowed + earlier.allowed, 3),
        )


def found_in(runs: Iterable[tuple[Pace, ...]], *, now: float) -> Found:
    """What the latest runs found of each API's quota where it was not the one of their manifest; oldest run first."""
    found: Found = {}
    for paces in runs:
        for pace in paces:
            found.pop(pace.key, None)
            if pace.found and now - pace.found_at <= REMEMBERED:
                found[pace.key] = Remembered(parse_rate(pace.rate), pace.found_at)
    return found


def added(paces: Iterable[Pace], more: Iterable[Pace]) -> tuple[Pace, ...]:
    """The paces with what another process made of the same quotas."""
    known = {pace.key: pace for pace in paces}
    for pace in more:
        known[pace.key] = pace.after(known.pop(pace.key, None))
    return tuple(known.values())
