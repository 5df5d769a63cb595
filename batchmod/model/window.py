"""When rows may be sent: some days, from one time of day to another, in one time zone. Pure; no clock.

A window's day names its start. A local time that does not exist is the moment of the jump, one that exists twice is its
first occurrence; a window of which nothing is left then does not exist that day.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from math import inf
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from batchmod.model.fields import Section, Several
from batchmod.model.suggest import did_you_mean

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = get_args(Day)
HORIZON = 400  # days that are looked through for the next opening: no calendar keeps a window away for longer

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_ZONE = "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}"
_DAY = timedelta(days=1)


def _day(value: object) -> object:
    if value in DAYS:
        return value
    word = value.casefold() if isinstance(value, str) else ""
    near = f'; did you mean "{word[:3]}"' if word[:3] in DAYS else did_you_mean(word, DAYS)
    raise ValueError(f"must be one of {', '.join(DAYS)}{near}")


def _time(value: object) -> time:
    if isinstance(value, time):
        return value
    if not isinstance(value, str):
        raise ValueError('must be a time of day: write it in quotes, such as "02:00"')  # noqa: TRY004  pydantic wants ValueError
    if not re.fullmatch(_TIME, value):
        raise ValueError('must be a time of day from "00:00" to "23:59", with two digits each')
    return time.fromisoformat(value)


def _as_written(at: time) -> str:
    return at.strftime("%H:%M")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime"}  # another one on each machine


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str) or not re.fullmatch(_ZONE, value):
        raise ValueError("is no time zone: written like Asia/Shanghai or UTC")
    if value not in _zones():
        city = f"/{value.casefold()}"
        near = [name for name in sorted(_zones()) if f"/{name.casefold()}".endswith(city)]
        hint = f'; did you mean "{near[0]}"' if near else did_you_mean(value, _zones())
        raise ValueError(f"is no time zone that is known here: written like Asia/Shanghai or UTC{hint}")
    return ZoneInfo(value)


_TimeOfDay = Annotated[
    time,
    PlainValidator(_time),
    PlainSerializer(_as_written, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME}$", "examples": ["02:00", "23:30"]}),
]


class Window(Section):
    """When rows may be sent."""

    days: Annotated[
        Several[Annotated[Day, BeforeValidator(_day)]],
        Field(description="The days on which it opens; without it: every day."),
    ] = DAYS
    start: Annotated[_TimeOfDay, Field(description="The time of day, in quotes, at which it opens.")]
    end: Annotated[
        _TimeOfDay, Field(description="When it closes; not after start: on the next day, the same time: after a day.")
    ]
    timezone: Annotated[
        ZoneInfo,
        PlainValidator(_zone),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"type": "string", "pattern": f"^{_ZONE}$", "examples": ["Asia/Shanghai", "UTC"]}),
        Field(description="Whose days and times these are."),
    ] = ZoneInfo("UTC")


def span(window: Window, at: float) -> tuple[float, float] | None:
    """Opening and closing instant of the window that holds `at`, in seconds since the epoch; None: it is shut then.

    A window that opens when the one before it closes is one with it. (-inf, inf) for one that never closes. At its
    closing instant a window is shut.
    """
    if _never_closes(window):
        return -inf, inf
    reach = 14 if window.start == window.end else 2  # days over which windows can follow each other
    around = _whole(window, _local_day(window, at) - reach * _DAY, days=2 * reach + 1)
    return next(((opening, closing) for opening, closing in around if opening <= at < closing), None)


def next_opening(window: Window, at: float) -> float | None:
    """The first opening after `at`, in seconds since the epoch; None for a window that never closes.

    Also None when it opens on none of the next 400 days, which no known time zone makes true.
    """
    if _never_closes(window):
        return None
    begun = span(window, at)
    first = _local_day(window, at if begun is None else begun[0]) - 2 * _DAY
    return next((opening for opening, _ in _whole(window, first, days=HORIZON) if opening > at), None)


def length(window: Window, at: float) -> float:
    """The most seconds that it is open without a break, in the two weeks around `at`."""
    if _never_closes(window):
        return inf
    around = _whole(window, _local_day(window, at) - _DAY, days=15)
    return max((closing - opening for opening, closing in around), default=0.0)


def _never_closes(window: Window) -> bool:
    return window.start == window.end and set(window.days) == set(DAYS)


def _local_day(window: Window, at: float) -> date:
    return datetime.fromtimestamp(at, window.timezone).date()


def _whole(window: Window, first: date, *, days: int) -> Iterator[tuple[float, float]]:
    """The windows of these days, in order; those that follow each other without a gap are one."""
    last: tuple[float, float] | None = None
    for opening, closing in _each(window, (first + number * _DAY for number in range(days))):
        if last is not None and opening > last[1]:
            yield last
            last = None
        last = (opening if last is None else last[0], closing)
    if last is not None:
        yield last


def _each(window: Window, days: Iterable[date]) -> Iterator[tuple[float, float]]:
    for day in days:
        if DAYS[day.weekday()] in window.days:
            last = day if window.end > window.start else day + _DAY
            opening = _instant(datetime.combine(day, window.start), window.timezone)
            closing = _instant(datetime.combine(last, window.end), window.timezone)
            if opening < closing:
                yield opening, closing


def _instant(local: datetime, zone: ZoneInfo) -> float:
    """When clocks in the zone first show this time or a later one."""
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    late, early = first.timestamp(), second.timestamp()
    if early >= late:  # it exists, once or twice
        return late
    before, offset = int(early), first.utcoffset()  # what it would be by the rules after the jump: not there yet
    after = int(late)
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return float(after)
