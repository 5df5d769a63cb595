"""When a window is open: days, nights, and the days on which clocks jump."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import examples

from batchmod.model.window import DAYS, Day, Window, next_opening, span

MINUTE = 60.0
WEEKEND: tuple[Day, ...] = ("sat", "sun")


def a_window(start: str, end: str, zone: str = "UTC", days: tuple[Day, ...] = DAYS) -> Window:
    return Window(days=days, start=time.fromisoformat(start), end=time.fromisoformat(end), timezone=ZoneInfo(zone))


def at(text: str) -> float:
    """An instant that is written with its offset."""
    return datetime.fromisoformat(text).timestamp()


def spanned(window: Window, text: str) -> tuple[str, str] | None:
    """The span around the instant, in local time with its offset."""
    found = span(window, at(text))
    return found and (shown(window, found[0]), shown(window, found[1]))


def opens(window: Window, text: str) -> str:
    found = next_opening(window, at(text))
    assert found is not None
    return shown(window, found)


def shown(window: Window, instant: float) -> str:
    return datetime.fromtimestamp(instant, window.timezone).isoformat(timespec="minutes")


def test_a_window_holds_its_opening_and_not_its_closing() -> None:
    """[start, end): the last moment inside is just before the end."""
    window = a_window("02:00", "05:00", "Asia/Shanghai", WEEKEND)
    inside = ("2026-03-07T02:00+08:00", "2026-03-07T05:00+08:00")  # a Saturday
    assert spanned(window, "2026-03-07T02:00+08:00") == spanned(window, "2026-03-07T04:59:59.999+08:00") == inside
    assert spanned(window, "2026-03-07T01:59:59.999+08:00") is spanned(window, "2026-03-07T05:00+08:00") is None
    assert spanned(window, "2026-03-06T03:00+08:00") is None  # Friday


def test_the_next_opening_is_always_ahead() -> None:
    """From outside the next one, from inside, its first moment too, the one after; over the week's end."""
    window = a_window("02:00", "05:00", "Asia/Shanghai", WEEKEND)
    assert opens(window, "2026-03-04T00:00+08:00") == "2026-03-07T02:00+08:00"
    assert (
        opens(window, "2026-03-07T02:00+08:00") == opens(window, "2026-03-07T03:00+08:00") == "2026-03-08T02:00+08:00"
    )
    assert opens(window, "2026-03-08T02:00+08:00") == "2026-03-14T02:00+08:00"


def test_the_day_is_that_of_the_start() -> None:
    """A night that begins on Sunday is Sunday's, also on Monday morning."""
    window = a_window("22:00", "05:00", "Asia/Shanghai", ("sun",))
    night = ("2026-03-08T22:00+08:00", "2026-03-09T05:00+08:00")
    assert spanned(window, "2026-03-08T23:00+08:00") == spanned(window, "2026-03-09T04:59+08:00") == night
    assert spanned(window, "2026-03-08T04:00+08:00") is None  # Saturday's night
    assert opens(window, "2026-03-09T04:00+08:00") == "2026-03-15T22:00+08:00"


def test_equal_times_are_a_whole_day() -> None:
    """From one day's time to the next day's; days that follow each other are one window."""
    saturday = a_window("06:00", "06:00", days=("sat",))
    assert spanned(saturday, "2026-03-08T05:00+00:00") == ("2026-03-07T06:00+00:00", "2026-03-08T06:00+00:00")
    weekend = a_window("06:00", "06:00", days=WEEKEND)
    whole = ("2026-03-07T06:00+00:00", "2026-03-09T06:00+00:00")
    assert spanned(weekend, "2026-03-07T06:00+00:00") == spanned(weekend, "2026-03-09T05:00+00:00") == whole
    assert opens(weekend, "2026-03-08T06:00+00:00") == "2026-03-14T06:00+00:00"
    six = a_window("00:00", "00:00", days=tuple(day for day in DAYS if day != "wed"))
    assert spanned(six, "2026-03-10T23:59+00:00") == ("2026-03-05T00:00+00:00", "2026-03-11T00:00+00:00")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_whole_days_every_day_never_close(zone: str) -> None:
    """Nor do they open: there is nothing to wait for."""
    window = a_window("03:00", "03:00", zone)
    assert span(window, at("2026-03-08T07:00+00:00")) == (-inf, inf)
    assert next_opening(window, at("2026-03-08T07:00+00:00")) is None


def test_a_time_that_is_skipped_is_the_moment_of_the_jump() -> None:
    """New York, 2026-03-08: 02:00 becomes 03:00."""
    early = a_window("01:00", "02:30", "America/New_York")
    assert spanned(early, "2026-03-08T01:59-05:00") == ("2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00")
    late = a_window("02:30", "05:00", "America/New_York")
    assert spanned(late, "2026-03-08T03:00-04:00") == ("2026-03-08T03:00-04:00", "2026-03-08T05:00-04:00")
    assert spanned(late, "2026-03-08T01:59-05:00") is None


def test_a_window_within_the_jump_is_left_out_that_day() -> None:
    """Berlin, 2026-03-29: of 02:10 to 02:50 nothing is left; once a week, it is two weeks to the next one."""
    window = a_window("02:10", "02:50", "Europe/Berlin", ("sun",))
    assert spanned(window, "2026-03-29T03:00+02:00") is None
    assert opens(window, "2026-03-22T02:10+01:00") == "2026-04-05T02:10+02:00"


def test_a_time_that_comes_twice_is_its_first_occurrence() -> None:
    """New York, 2026-11-01: 01:00 to 02:00 comes twice. A window that ends in it does not open again."""
    ends = a_window("00:30", "01:30", "America/New_York")
    assert spanned(ends, "2026-11-01T01:15-04:00") == ("2026-11-01T00:30-04:00", "2026-11-01T01:30-04:00")
    assert spanned(ends, "2026-11-01T01:15-05:00") is None
    around = a_window("01:30", "02:00", "America/New_York")
    assert spanned(around, "2026-11-01T01:00-05:00") == ("2026-11-01T01:30-04:00", "2026-11-01T02:00-05:00")


def test_half_an_hour_is_a_jump_too() -> None:
    """Lord Howe, 2026-10-04: 02:00 becomes 02:30; 2026-04-05: 02:00 becomes 01:30."""
    window = a_window("02:10", "03:00", "Australia/Lord_Howe")
    assert spanned(window, "2026-10-04T02:30+11:00") == ("2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00")
    twice = a_window("01:40", "01:50", "Australia/Lord_Howe")
    assert spanned(twice, "2026-04-05T01:45+11:00") == ("2026-04-05T01:40+11:00", "2026-04-05T01:50+11:00")
    assert spanned(twice, "2026-04-05T01:45+10:30") is None


def test_a_night_over_a_jump_is_an_hour_shorter_or_longer() -> None:
    """The clock on the wall decides, not how long it is."""
    window = a_window("22:00", "06:00", "Europe/Berlin", ("sat",))
    lengths = [span(window, at(text)) for text in ("2026-03-29T00:00+01:00", "2026-10-25T00:00+02:00")]
    assert [(closing - opening) / 3600 for opening, closing in filter(None, lengths)] == [7, 9]


def test_a_day_that_does_not_exist_has_no_window() -> None:
    """Samoa left out Friday, 2011-12-30; windows of the days around it follow each other."""
    friday = a_window("02:00", "05:00", "Pacific/Apia", ("fri",))
    assert opens(friday, "2011-12-24T00:00-10:00") == "2012-01-06T02:00+14:00"
    days = a_window("00:00", "00:00", "Pacific/Apia", ("thu", "sat"))
    whole = ("2011-12-29T00:00-10:00", "2012-01-01T00:00+14:00")
    assert spanned(days, "2011-12-29T12:00-10:00") == spanned(days, "2011-12-31T12:00+14:00") == whole


ZONES = {  # with instants near which clocks jump
    "Asia/Shanghai": ("2026-03-08T00:00", "2026-10-25T00:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Africa/Cairo": ("2026-04-23T22:00", "2026-10-29T21:00"),  # at midnight
    "Pacific/Apia": ("2011-12-30T10:00", "2012-03-31T14:00"),
}
SPREAD = 3 * 1440  # minutes to each side of the middle that are looked at


def open_minutes(window: Window, first: float, minutes: int) -> Iterator[tuple[float, bool]]:
    """Minute by minute: open once clocks have shown the start of a day, until they have shown the end of it.

    What they have shown at most since three days before is all that is asked.
    """
    shown_most = datetime.min  # noqa: DTZ901  wall clocks have no offset
    for number in range(-3 * 1440, minutes):
        instant = first + number * MINUTE
        clock = datetime.fromtimestamp(instant, window.timezone).replace(tzinfo=None)
        shown_most = max(shown_most, clock)
        if number >= 0:
            yield instant, any(begun(window, shown_most, days) for days in range(3))


def begun(window: Window, clock: datetime, days: int) -> bool:
    day = clock.date() - timedelta(days=days)
    start = datetime.combine(day, window.start)
    end = datetime.combine(day, window.end) + timedelta(days=window.end <= window.start)
    return DAYS[day.weekday()] in window.days and start <= clock < end


times = st.integers(0, 1439).map(lambda minute: time(*divmod(minute, 60)))
near_jumps = st.integers(0, 200).map(lambda minute: time(*divmod(minute, 60)))


@examples(40)
@given(
    middle=st.sampled_from([(zone, text) for zone, texts in ZONES.items() for text in texts]),
    start=near_jumps | times,
    end=near_jumps | times,
    days=st.sets(st.sampled_from(DAYS), min_size=1),
)
def test_a_window_is_open_when_the_clocks_say_so(
    middle: tuple[str, str], start: time, end: time, days: set[Day]
) -> None:
    """Against a look at every minute of six days around a jump of the clocks."""
    zone, text = middle
    window = Window(days=tuple(sorted(days)), start=start, end=end, timezone=ZoneInfo(zone))
    first = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - SPREAD * MINUTE
    last = first + 2 * SPREAD * MINUTE
    for is_open, group in groupby(open_minutes(window, first, 2 * SPREAD), key=lambda minute: minute[1]):
        minutes = [instant for instant, _ in group]
        begin, end_of_it = minutes[0], minutes[-1] + MINUTE
        for instant in (begin, minutes[len(minutes) // 2], end_of_it - 0.001):
            found = span(window, instant)
            assert (found is not None) == is_open
            if found is not None:
                assert found[0] == begin or begin == first
                assert found[1] == end_of_it or end_of_it == last
            elif end_of_it < last:
                assert next_opening(window, instant) == end_of_it
