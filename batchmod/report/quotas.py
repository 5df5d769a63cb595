"""How fast each lane is called and what it makes of its quota, from what is told of it. No clock; `now` comes from the
caller, any clock in seconds that goes forward.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from batchmod.model.pace import Pace
from batchmod.model.values import parse_rate

WINDOW: Final = 10  # seconds over which a rate is taken
FRESH: Final = 1.5  # seconds: a busy API is told of once a second

Api = tuple[str, str, str]  # account id, region, API


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUse:
    """One lane that was called in the last ten seconds."""

    account_id: str
    region: str
    per_second: float | None  # calls, of all its APIs; None when it was told of but once
    busiest: Pace  # of the API that uses the most of its quota
    share: float | None  # of that quota: over the last ten seconds, else over the run


@dataclass(slots=True)
class _Told:
    pace: Pace
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=WINDOW + 1))  # (when, calls so far)

    def per_second(self, now: float) -> float | None:
        recent = [sample for sample in self.samples if now - sample[0] <= WINDOW]
        if len(recent) < 2:  # noqa: PLR2004  two make a difference
            return None
        (first, before), (last, calls) = recent[0], recent[-1]
        seconds = max(last, now - FRESH) - first
        return (calls - before) / seconds if seconds > 0 else None

    def share(self, now: float) -> float | None:
        recent = self.per_second(now)
        return self.pace.used if recent is None else recent / parse_rate(self.pace.rate).per_second


@dataclass(slots=True)
class Quotas:
    """Changed by `tell` only; as large as there are APIs in lanes."""

    _told: dict[Api, _Told] = field(default_factory=dict)

    def tell(self, pace: Pace, now: float) -> None:
        """An API was paced so; O(1)."""
        told = self._told.get(pace.key)
        if told is None:
            told = self._told[pace.key] = _Told(pace)
        told.pace = pace
        told.samples.append((now, pace.calls))

    def recent(self, now: float) -> list[Pace]:
        """The APIs that were called in the last ten seconds, those first that use the most of their quota."""
        return sorted((told.pace for told in self._recent(now)), key=lambda pace: (-(pace.used or 0.0), pace.key))

    def paces(self) -> list[Pace]:
        """Every API that was ever told of, as it was last, by account id, region and name."""
        return [self._told[key].pace for key in sorted(self._told)]

    def lanes(self, now: float) -> list[LaneUse]:
        """The lanes of these APIs, by account id and region."""
        by_lane: dict[tuple[str, str], list[_Told]] = {}
        for told in self._recent(now):
            by_lane.setdefault(told.pace.key[:2], []).append(told)
        return [_use(by_lane[lane], now) for lane in sorted(by_lane)]

    def rates(self) -> dict[Api, float]:
        """Calls a second that the quota of each API allows, for all that were ever told of."""
        return {key: parse_rate(told.pace.rate).per_second for key, told in self._told.items()}

    def _recent(self, now: float) -> list[_Told]:
        return [told for told in self._told.values() if now - told.samples[-1][0] < WINDOW]


def _use(apis: list[_Told], now: float) -> LaneUse:
    shares = [(told.share(now), told.pace) for told in apis]
    share, busiest = max(shares, key=lambda one: (one[0] or 0.0, one[1].api))
    rates = [rate for told in apis if (rate := told.per_second(now)) is not None]
    return LaneUse(
        account_id=busiest.account_id,
        region=busiest.region,
        per_second=sum(rates) if rates else None,
        busiest=busiest,
        share=share,
    )
