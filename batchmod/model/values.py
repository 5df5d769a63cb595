"""Quantities as people write them: durations, rates and shares. Pure."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final, Literal

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

DURATION = r"[0-9]{1,9}(ms|s|m|h|d)"
RATE = rf"[0-9]{{1,9}}/{DURATION}"
PERCENT = r"[0-9]{1,3}(\.[0-9]{1,6})?%"


def parse_duration(text: str) -> float:
    """Seconds, exact to the millisecond. ValueError for anything but a whole number and a unit."""
    if not re.fullmatch(DURATION, text):
        raise ValueError("must be a whole number and a unit: 500ms, 30s, 30m, 2h or 30d")
    number = text.rstrip("msdh")
    return int(number) * MILLISECONDS[text[len(number) :]] / 1000


def format_duration(seconds: float) -> str:
    """The shortest way to write it: `parse_duration` gives the same seconds again."""
    milliseconds = round(seconds * 1000)
    unit = next(
        (unit for unit in ("d", "h", "m", "s") if milliseconds and milliseconds % MILLISECONDS[unit] == 0), "ms"
    )
    return f"{milliseconds // MILLISECONDS[unit]}{unit}"


def about(seconds: float) -> str:
    """Its two largest units, rounded down, for people: `1d 2h`, `5m`, `0s`."""
    left = int(seconds * 1000)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        number, left = divmod(left, MILLISECONDS[unit])
        if number or parts or unit == "s":
            parts.append(f"{number}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0") or len(parts) == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many calls in so many seconds, as the vendor publishes its quotas."""

    calls: int
    period: float  # seconds

    @property
    def per_second(self) -> float:
        return self.calls / self.period

    def __str__(self) -> str:
        return f"{self.calls}/{format_duration(self.period)}"


AUTO: Final = "auto"
Limit = Rate | Literal["auto"]  # auto: nobody knows the quota, it is found


def parse_limit(text: str) -> Limit:
    """`200/60s` or `auto`. ValueError for anything else, and for no calls or no time."""
    if text == AUTO:
        return AUTO
    try:
        return parse_rate(text)
    except ValueError as error:
        raise ValueError(f"{error}; or {AUTO}") from error


def parse_rate(text: str) -> Rate:
    """`200/60s`. ValueError for anything else, and for no calls or no time."""
    if not re.fullmatch(RATE, text):
        raise ValueError("must be calls per period, such as 200/60s")
    calls, period = text.split("/")
    rate = Rate(calls=int(calls), period=parse_duration(period))
    if not rate.calls or not rate.period:
        raise ValueError("must be more than 0 calls in more than 0 seconds")
    return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A number of rows, or a percentage of them; one of the two is None."""

    count: int | None = None
    percent: Fraction | None = None

    def of(self, total: int) -> int:
        """The number itself, or the percentage of `total` rounded down, but at least 1."""
        if self.percent is None:
            return self.count or 0
        return max(1, int(total * self.percent / 100))

    def up_of(self, total: int) -> int:
        """The number itself, or the percentage of `total` rounded up."""
        if self.percent is None:
            return self.count or 0
        return ceil(total * self.percent / 100)

    @classmethod
    def everything(cls) -> "Share":
        return cls(percent=Fraction(100))

    def __str__(self) -> str:
        if self.percent is None:
            return str(self.count)
        return f"{float(self.percent):.6f}".rstrip("0").rstrip(".") + "%"


def parse_share(value: int | str) -> Share:
    """`5`, `"5"` or `2%`, `0.5%`. ValueError for 0, for more than 100 % and for anything else."""
    text = str(value)
    if re.fullmatch(r"[0-9]{1,9}", text):
        share = Share(count=int(text))
    elif re.fullmatch(PERCENT, text):
        share = Share(percent=Fraction(text[:-1]))
    else:
        raise ValueError("must be a whole number or a percentage, such as 5 or 2%")
    if not share.count and not share.percent:
        raise ValueError("must be more than 0: leave it out for no limit")
    if share.percent and share.percent > 100:  # noqa: PLR2004  what a percentage is
        raise ValueError("must be at most 100%")
    return share
