"""Nothing starts outside the window, nor what could not end inside it, as processes with the real clock and a set one."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rollout_support import (
    ACCEPTED,
    DAYS,
    ENCRYPT,
    RENAME,
    ROTATE,
    around_now,
    busy_times,
    changing_calls,
    ended,
    move_to,
    reached,
    run_at,
    start_at,
    window,
)
from whole_support import Bench, bench

HOUR, DAY = 3600.0, 86400.0


def elsewhere() -> dict[str, Any]:
    """Open by the clock of UTC, which is not the one that is asked: there it is 13 hours later."""
    return around_now(-60, 180, timezone="Pacific/Fakaofo")


def not_today() -> dict[str, Any]:
    """All day, but neither on the day that it is nor on the one whose window could go on into it."""
    today = datetime.now(UTC).weekday()
    return {"days": [DAYS[(today + n) % 7] for n in range(2, 6)], "start": "00:00", "end": "00:00"}


def here(zone: str) -> dict[str, Any]:
    now = datetime.now(ZoneInfo(zone))
    return window(now - timedelta(hours=1), now + timedelta(hours=2), timezone=zone)


def overnight() -> dict[str, Any]:
    """Begun 23 hours and a half ago, whatever the day was called then: a day names its start."""
    start = datetime.now(UTC) - timedelta(hours=23, minutes=30)
    return window(start, start - timedelta(minutes=1), days=[DAYS[start.weekday()]])


CLOSED: dict[str, Callable[[], dict[str, Any]]] = {
    "later today": lambda: around_now(180, 240),
    "another zone": elsewhere,
    "another day": not_today,
    "too short for what may take five minutes": lambda: around_now(-60, 3),
}
OPEN: dict[str, Callable[[], dict[str, Any]]] = {
    "all days": lambda: around_now(-60, 180),
    "another zone": lambda: here("Asia/Shanghai"),
    "by its first day": overnight,
}


async def require_untouched(b: Bench) -> None:
    report = b.report()
    assert (report["run"]["stopped_by"], report["run"]["exit_code"]) == ("window", 3)
    assert set(b.outcomes()) == {"not_started"}
    assert b.modifying_calls() == 0


@pytest.mark.parametrize("name", CLOSED)
async def test_a_closed_window_lets_nothing_start(tmp_path: Path, name: str) -> None:
    """Exit 3, every row not_started, no call that changes, and the summary says what comes next."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(
            targets=b.targets(3), changes=[RENAME, ROTATE], proof=ACCEPTED, rollout={"window": CLOSED[name]()}
        )
        result = await b.run("run", str(manifest), "--yes", "--resume")
        assert result.code == 3, result.err
        assert "window" in result.err
        await require_untouched(b)
        again = await b.run("run", str(manifest), "--yes", "--resume", "--quiet")
        assert (again.code, len((again.out + again.err).strip().splitlines())) == (3, 1), again.err
        await require_untouched(b)


@pytest.mark.parametrize("name", OPEN)
async def test_an_open_window_is_none(tmp_path: Path, name: str) -> None:
    """Everything is done."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], rollout={"window": OPEN[name]()})
        result = await b.run("run", str(manifest), "--yes", "--resume")
        assert (result.code, b.outcomes()) == (0, {"changed": 3}), result.err


async def test_what_takes_longer_is_not_begun_at_the_end(tmp_path: Path) -> None:
    """Half an hour is enough for a name, and not for TDE, of which nothing is known yet."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME, ENCRYPT], rollout={"window": around_now(-60, 30)})
        result = await b.run("run", str(manifest), "--yes", "--accept-irreversible", "2")
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "window"), result.err
        assert b.outcomes() == {"changed": 2, "not_started": 2}
        assert (b.calls("ModifyInstanceAttribute"), b.calls("ModifyInstanceTDE")) == (2, 0)
        assert "a change of tde is expected" not in result.err  # an hour and a half is enough, at its beginning
        manifest = b.manifest(targets=b.targets(2), changes=[ENCRYPT], rollout={"window": around_now(-10, 30)})
        result = await b.run("run", str(manifest), "--yes", "--resume", "--accept-irreversible", "2")
        assert (result.code, b.calls("ModifyInstanceTDE")) == (3, 0), result.err
        assert (
            "a change of tde is expected to take 1h 00m, and the window is open for 40m 00s at most: none of them starts"
            in result.err
        )


async def test_a_broken_window_is_an_error_of_the_manifest(tmp_path: Path) -> None:
    """With its place; nothing is guessed about a day, a time or a zone."""
    async with bench(tmp_path, instances=1) as b:
        for broken, place in (
            ({"days": ["someday"], "start": "01:00", "end": "02:00"}, "rollout.window.days"),
            ({"start": "25:00", "end": "02:00"}, "rollout.window.start"),
            ({"start": "01:00"}, "rollout.window"),
            ({"start": "01:00", "end": "02:00", "timezone": "Mars/Olympus"}, "rollout.window.timezone"),
        ):
            result = await b.run(
                "validate", str(b.manifest(targets=b.targets(1), changes=[RENAME], rollout={"window": broken}))
            )
            assert result.code == 2
            assert place in result.err


async def test_a_window_that_closes_in_mid_run_and_opens_again(tmp_path: Path) -> None:
    """No send outside, everything done in the end, no row twice; both sides' clocks are set from one night to the next."""
    count, start = 48, (datetime.now(UTC) + timedelta(hours=3)).replace(second=0, microsecond=0)
    opens, closes = start.timestamp(), start.timestamp() + 2 * HOUR
    async with bench(tmp_path, instances=count) as b:
        manifest = b.manifest(
            targets=b.targets(count),
            changes=[RENAME],
            limits={"rate": "4/1s"},
            rollout={"window": window(start, start + timedelta(hours=2))},
        )
        command = ("run", str(manifest), "--yes", "--resume")
        process = await start_at(b, move_to(b, opens + HOUR), *command)
        await reached(b, 4, process)  # from here on it is known how long one takes
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 3
        before = len(changing_calls(b))
        closing = await run_at(b, move_to(b, closes - 4.0), *command)  # it is at work when the window closes
        assert (closing.code, b.report()["run"]["stopped_by"]) == (3, "window"), closing.err
        sent = len(changing_calls(b))
        assert before < sent < count
        shut = await run_at(b, move_to(b, closes + HOUR), *command)
        assert (shut.code, len(changing_calls(b))) == (3, sent), shut.err
        last = await run_at(b, move_to(b, opens + DAY + HOUR), *command)
        assert (last.code, b.outcomes()) == (0, {"changed": count}), last.err
        spans = [(opens + n * DAY, closes + n * DAY) for n in range(2)]
        assert [at for at, _ in changing_calls(b) if not any(low <= at < high for low, high in spans)] == []
        assert len({name for _, _, name in busy_times(b)}) == len(busy_times(b)) == count


async def test_leftovers_are_settled_outside_the_window_too(tmp_path: Path) -> None:
    """Looking is no start: what was in doubt gets its word, and nothing is sent for it."""
    faults = {"scripts": [{"api": "ModifyInstanceAttribute", "match": "r-sim000000", "play": ["reset_after"]}]}
    async with bench(tmp_path, instances=2, faults={**faults, "durations": {"attributes": 2.0}}) as b:
        start = (datetime.now(UTC) + timedelta(hours=3)).replace(second=0, microsecond=0)
        manifest = b.manifest(
            targets=b.targets(2),
            changes=[RENAME],
            rollout={"window": window(start, start + timedelta(hours=2))},
        )
        command = ("run", str(manifest), "--yes", "--resume")
        process = await start_at(b, move_to(b, start.timestamp() + HOUR), *command)
        await reached(b, 2, process)
        process.kill()
        await process.communicate()
        sent = b.modifying_calls()
        result = await run_at(b, move_to(b, start.timestamp() + 4 * HOUR), *command)
        assert (result.code, b.outcomes()) == (0, {"changed": 2}), result.err
        assert b.modifying_calls() == sent
