"""What the board says: a run's state as lines of text. Pure; knows no terminal and no markup."""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from batchmod.report.board_state import BoardState
from batchmod.report.console import complaint
from batchmod.report.layout import about, columns, cut, duration, printable
from batchmod.report.quotas import LaneUse
from batchmod.report.remaining import of_run, of_wave
from batchmod.report.work import WaveRows

BAR: Final = 60  # columns of a line with a bar, at most
WIDE: Final = 80  # columns from which each lane has a line
LANES: Final = 4  # that have one, at most
WAVES: Final = 5  # that each have a line, at most
STOPS: Final = 3  # stopped accounts that are named, the last ones
CODES: Final = 3  # that are named with the rows that wait for them, the most frequent ones
LEFT: Final = len(" ≈ 23h 59m left")
NAMED: Final = 2  # waiting instances that are named


class Line(NamedTuple):
    """A line of the board; those of the highest rank are left out first when a terminal is too short for all."""

    rank: int
    text: str


def render(state: BoardState, now: float, width: int, height: int | None = None) -> list[str]:
    """The board's lines, none wider than `width` and no more than `height`; readable from 60 columns up."""
    lines = [
        *_head(state, now, width),
        *_waves(state, now, width),
        *_gate(state, now),
        *_counts(state),
        *_waits(state),
        *_calls(state, now),
        *_quotas(state, now, width),
        *_budget(state),
        *(Line(2, f"account {stop.account} stopped: {stop.reason}") for stop in state.accounts[-STOPS:]),
        *_errors(state),
        *_stopping(state),
    ]
    return [cut(printable(line.text), width) for line in _fitting(lines, height)]


def _calls(state: BoardState, now: float) -> Iterator[Line]:
    if state.hears_calls:
        yield Line(4, f"calls: {state.rate(now):.1f}/s · {state.calls} answered · {state.throttled} throttled")


def _fitting(lines: list[Line], height: int | None) -> list[Line]:
    """As many as fit, in their order: what matters least is left out first, and of that what stands last."""
    if height is None or len(lines) <= height:
        return lines
    by_rank = sorted(range(len(lines)), key=lambda place: (lines[place].rank, place))
    kept = set(by_rank[: max(0, height)])
    return [line for place, line in enumerate(lines) if place in kept]


def _head(state: BoardState, now: float, width: int) -> Iterator[Line]:
    yield Line(2, "" if state.opened is None else f"{state.opened.name} {state.opened.run_id}")
    share = state.done / state.rows if state.rows else 1.0
    after = _left(of_run(state, now))
    tail = f" {state.done}/{state.rows} rows {int(share * 100)}% {duration(now - state.began)}{after}"
    yield Line(0, _bar(share, min(BAR, width) - len(tail)) + tail)


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f" ≈ {about(seconds)} left"


def _bar(share: float, room: int) -> str:
    full = int(max(0, room) * share)
    return "█" * full + "░" * (room - full)


def _waves(state: BoardState, now: float, width: int) -> Iterator[Line]:
    """A bar for each wave; when there are many, those that are over are one, and so are those after the next."""
    waves = state.work.by_wave()
    if len(waves) < 2:  # noqa: PLR2004  one is no wave
        return
    current = state.current_wave or next((wave.first for wave in waves if wave.done < wave.rows), waves[-1].last)
    shown = _folded(waves, current) if len(waves) > WAVES else waves
    labels = [f"wave {w.first}" if w.first == w.last else f"waves {w.first}-{w.last}" for w in shown]
    label_room, count_room = max(map(len, labels)), max(len(f"{wave.done}/{wave.rows}") for wave in shown)
    left = _left(of_wave(state, now) or None)
    room = min(BAR, width) - label_room - count_room - LEFT - 3
    for label, wave in zip(labels, shown, strict=True):
        mine = wave.first <= current <= wave.last
        bar = _bar(wave.done / wave.rows if wave.rows else 1.0, room)
        count = f"{wave.done}/{wave.rows}"
        yield Line(2 if mine else 6, f"{label:{label_room}}  {bar} {count:>{count_room}}{left if mine else ''}")


def _folded(waves: list[WaveRows], current: int) -> list[WaveRows]:
    place = next(n for n, wave in enumerate(waves) if wave.last >= current)
    parts = [waves[:place], waves[place : place + 1], waves[place + 1 : place + 2], waves[place + 2 :]]
    return [
        WaveRows(part[0].first, part[-1].last, sum(wave.done for wave in part), sum(wave.rows for wave in part))
        for part in parts
        if part
    ]


def _gate(state: BoardState, now: float) -> Iterator[Line]:
    """What the run waits for between two waves, and whether an operator holds it."""
    parts = []
    if state.ended is not None and not state.stopping:
        after = f"wave {state.ended.wave} of {max(state.waves, state.ended.wave)} ended"
        if state.checked is not None:
            after += f", check {'passed' if state.checked.passed else 'failed'}"
        elif state.opens_at is not None and state.opens_at > now:
            after += f", next in {duration(state.opens_at - now)}"
        parts.append(after)
    if state.paused:
        parts.append("paused: `control … continue` goes on")
    if parts:
        yield Line(0, " · ".join(parts))


def _counts(state: BoardState) -> Iterator[Line]:
    ended = " · ".join(f"{rows} {outcome}" for outcome, rows in state.outcomes().items() if rows) or "none yet"
    yield Line(1, f"ended: {ended}")
    live = f"{state.in_change} in change · {state.in_doubt} in doubt · {state.waiting} waiting"
    yield Line(1, f"live:  {live} · {state.untouched} to come")


def _waits(state: BoardState) -> Iterator[Line]:
    """How many wait for what, and some who wait for the most frequent of it."""
    waits = sorted(state.work.waits.items(), key=lambda wait: (-len(wait[1]), wait[0]))
    if not waits:
        return
    said = [f"{len(rows)} {code}" for code, rows in waits[:CODES]]
    if len(waits) > CODES:
        said.append(f"{sum(len(rows) for _, rows in waits[CODES:])} other")
    names = ", ".join(islice(waits[0][1].values(), NAMED))
    yield Line(4, f"{state.waiting} wait: {', '.join(said)} ({names}{', …' if len(waits[0][1]) > NAMED else ''})")


def _quotas(state: BoardState, now: float, width: int) -> Iterator[Line]:
    """A line for each lane, or, in a narrow terminal, one for the lane that uses the most of a quota."""
    lanes, to_come = state.quotas.lanes(now), state.work.by_lane()
    busiest = sorted(lanes, key=lambda use: (-round(use.share or 0.0, 1), -to_come[use.account_id, use.region]))
    if not lanes:
        return
    if width < WIDE:
        of = f" (busiest of {len(lanes)})" if len(lanes) > 1 else ""
        yield Line(5, f"quota: {busiest[0].region}{of} {_use_text(busiest[0])}")
        return
    kept = [use for use in lanes if use in busiest[:LANES]]
    cells = [_lane(state, use, to_come[use.account_id, use.region]) for use in kept]
    for place, text in enumerate(columns([list(map(printable, line)) for line in cells], width)):
        yield Line(6 if place else 5, text)
    if others := busiest[LANES:]:
        rate = sum(use.per_second or 0.0 for use in others)
        yield Line(6, f"       {len(others)} more lane{'s' if len(others) > 1 else ''} {rate:.1f}/s")


def _lane(state: BoardState, use: LaneUse, to_come: int) -> list[str]:
    name = use.region
    if len(state.work.accounts) > 1:
        name += f" {state.work.accounts.get(use.account_id, use.account_id)}"
    rate = "" if use.per_second is None else f"{use.per_second:.1f}/s"
    return [f"lane:  {name}", rate, _use_text(use), f"{to_come} to come"]


def _use_text(use: LaneUse) -> str:
    pace = use.busiest
    share = "" if use.share is None else f"{use.share:.0%} of "
    return f"{share}{pace.rate}{' found' if pace.found else ''} {pace.api}"


def _budget(state: BoardState) -> Iterator[Line]:
    limit = state.budget_limit
    if limit is None:
        return
    pace = ", it sets the pace" if state.untouched and state.budget_used >= limit else ""
    whose = " (of this wave)" if state.wave is not None and state.wave.waves > 1 else ""
    yield Line(3, f"budget: {state.budget_used} of {limit} failures spent or held{pace}{whose}")


def _errors(state: BoardState) -> Iterator[Line]:
    """The last ones; of them the latest matters most."""
    last = len(state.errors) - 1
    for place, error in enumerate(state.errors):
        yield Line(3 if place == last else 5, complaint(error))


def _stopping(state: BoardState) -> Iterator[Line]:
    if state.stopping:
        yield Line(0, f"stopping ({state.stopping}): nothing new is sent, open replies are waited for")
