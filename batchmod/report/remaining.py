"""How long a run will still take, as far as anybody can know. Pure; seconds.

Two things set the pace: the quota of the call that changes, in the lane that has the most to send for it, and what
else holds rows up (tasks, proofs, a budget), which shows in how fast rows end. The slower one is the limit. How long
somebody else's task takes is known to nobody: when no more rows are to come than wait for one, only the pace of those that ended says something.
"""

from collections.abc import Mapping
from typing import Final

from batchmod.report.board_state import BoardState
from batchmod.report.quotas import Api
from batchmod.report.work import WRITES, Lot

SHARE: Final = 0.96  # what is made of a quota
SOME: Final = 5  # rows that have to end, and seconds that have to pass, before a pace is taken from it


def of_run(state: BoardState, now: float) -> float | None:
    """Seconds until the last row ends, with the pauses between waves; None when nobody can know."""
    if _is_held(state) or state.done >= state.rows:
        return None
    if (current := state.current_wave) is None:
        if state.waves > 1:
            return None  # before the first one opens
        return _rest(state, now, state.rows - state.done, state.work.to_come)
    parts = [_gates(state, now)]
    if state.ended is None:
        parts.append(of_wave(state, now))
    later = sum(wave.rows - wave.done for wave in state.work.by_wave() if wave.first > current)
    if later:
        lots = {lot: rows for lot, rows in state.work.to_come.items() if lot[0] > current}
        parts.append(_rest(state, now, later, lots))
    return None if None in parts else sum(part for part in parts if part is not None)


def of_wave(state: BoardState, now: float) -> float | None:
    """Seconds until the last row of the open wave ends; None when nobody can know, or none is open."""
    current = state.current_wave
    if current is None or state.ended is not None or _is_held(state):
        return None
    left = sum(wave.rows - wave.done for wave in state.work.by_wave() if wave.first == current)
    lots = {lot: rows for lot, rows in state.work.to_come.items() if lot[0] == current}
    return _rest(state, now, left, lots) if left else 0.0


def by_quota(to_come: Mapping[Lot, int], rates: Mapping[Api, float]) -> float | None:
    """Seconds that the slowest lane of each wave needs to send its rows; None when nothing is to be sent, or a quota
    is not known. A lane that was not told of yet is taken to be as fast as the slowest one that was.
    """
    slowest: dict[str, float] = {}
    for (_, _, api), rate in rates.items():
        slowest[api] = min(rate, slowest.get(api, rate))
    needs: dict[tuple[int, Api], float] = {}
    for (wave, account_id, region, kind), rows in to_come.items():
        if not rows:
            continue
        key = account_id, region, WRITES[kind]
        allowed = rates.get(key) or slowest.get(WRITES[kind])
        if allowed is None:
            return None
        needs[wave, key] = needs.get((wave, key), 0.0) + rows / (allowed * SHARE)
    waves: dict[int, float] = {}
    for (wave, _), seconds in needs.items():
        waves[wave] = max(seconds, waves.get(wave, 0.0))
    return sum(waves.values()) if waves else None


def by_pace(rows: int, ended: int, seconds: float) -> float | None:
    """Seconds for so many rows when `ended` of them took `seconds`; None when that is too little to tell."""
    return rows * seconds / ended if ended >= SOME and seconds >= SOME else None


def _rest(state: BoardState, now: float, rows: int, to_come: Mapping[Lot, int]) -> float | None:
    """For so many open rows. A quota says nothing of rows that wait, nor of those that wait behind them."""
    ended, since = state.ended_since
    quota = by_quota(to_come, state.quotas.rates()) if sum(to_come.values()) > state.waiting else None
    pace = None if since is None or state.ended is not None else by_pace(rows, ended, now - since)
    return max((seconds for seconds in (quota, pace) if seconds is not None), default=None)


def _gates(state: BoardState, now: float) -> float | None:
    """Seconds of all pauses that are still to come; None when an operator has to open one, or nobody told."""
    to_come, begun = state.waves - (state.current_wave or 1), 0.0
    if state.ended is not None and to_come:
        if state.opens_at is None:
            return None
        to_come, begun = to_come - 1, max(0.0, state.opens_at - now)
    if not to_come:
        return begun
    pause = None if state.wave is None else state.wave.pause
    return None if pause is None else begun + to_come * pause


def _is_held(state: BoardState) -> bool:
    """Somebody stops it or holds it, or it has not begun."""
    return state.stopping is not None or state.paused or state.opened is None
