"""How long a run will still take: known from a quota or from what was seen, and unsaid when nobody can know."""

import pytest
from journal_records import a_row
from progress_notices import moved, opened, paced

from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.notices import Controlled, Notice, RowMoved, RunStopping, WaveEnded, WaveOpened
from batchmod.model.record import RowState
from batchmod.report.board_state import BoardState
from batchmod.report.layout import about
from batchmod.report.remaining import SHARE, by_pace, by_quota, of_run, of_wave

API = "ModifyInstanceAttribute"
RATE = 200 / 60 * SHARE  # rows a second, of the quota that `paced` tells of


def test_a_quota_is_that_of_the_slowest_lane_of_each_wave() -> None:
    """Both kinds of one API share it; a lane nobody told of is as fast as the slowest that was; else it is unknown."""
    rates = {("1", "a", API): 10.0, ("1", "b", API): 1.0}
    assert by_quota({(1, "1", "a", Kind.PASSWORD): 30, (1, "1", "a", Kind.ATTRIBUTES): 10}, rates) == 4 / SHARE
    assert by_quota({(1, "1", "a", Kind.PASSWORD): 30, (1, "1", "b", Kind.PASSWORD): 10}, rates) == 10 / SHARE
    assert by_quota({(1, "1", "a", Kind.PASSWORD): 30, (2, "1", "b", Kind.PASSWORD): 10}, rates) == 13 / SHARE
    assert by_quota({(1, "2", "c", Kind.PASSWORD): 30}, rates) == 30 / SHARE
    assert by_quota({(1, "1", "a", Kind.TDE): 1}, rates) is None
    assert by_quota({(1, "1", "a", Kind.PASSWORD): 0}, rates) is None


def test_a_pace_is_taken_from_enough_rows() -> None:
    """Five, in five seconds."""
    assert by_pace(100, 10, 20.0) == 200.0
    assert by_pace(100, 4, 20.0) is by_pace(100, 10, 4.0) is None


def a_run(*waves: int, pause: float | None = 0.0) -> BoardState:
    """Of so many rows a wave, all in one lane, and the first wave open."""
    sizes = [wave for wave, rows in enumerate(waves, 1) for _ in range(rows)]
    rows = [(a_row(seq, wave=wave), RowState(Phase.PLANNED)) for seq, wave in enumerate(sizes)]
    state = BoardState.start(rows, now=0.0)
    state.fold(opened(len(rows)), 0.0)
    if len(waves) > 1:
        state.fold(WaveOpened(wave=1, waves=len(waves), instances=waves[0], pause=pause), 0.0)
    return state


def told(state: BoardState, *notices: Notice, at: float = 0.0) -> BoardState:
    for notice in notices:
        state.fold(notice, at)
    return state


def ended(state: BoardState, seqs: range, wave: int, every: float, at: float = 0.0) -> BoardState:
    """These rows were sent and changed, one in so many seconds."""
    for number, seq in enumerate(seqs):
        for phase in (Phase.ARMED, Phase.CHANGED):
            state.fold(RowMoved(a_row(seq, wave=wave), RowState(phase)), at + number * every)
    return state


QUOTA = paced(API, "cn-hangzhou", 1)


def test_the_slower_of_quota_and_pace_is_the_limit() -> None:
    """Nothing is known before either is."""
    state = a_run(1000)
    assert of_run(state, 1.0) is None
    told(state, QUOTA)
    assert of_run(state, 1.0) == pytest.approx(1000 / RATE)
    ended(state, range(11), 1, every=1.0)
    assert of_run(state, 10.0) == pytest.approx(989.0)  # one row a second
    assert of_wave(state, 10.0) is None
    told(state, Controlled(text="changing=9"), at=10.0)
    assert of_run(state, 11.0) == pytest.approx(989 / RATE), "what was measured before it counts no more"


@pytest.mark.parametrize(
    "notice",
    [Controlled(text="pause"), RunStopping(stopped_by=StoppedBy.WINDOW), moved(0, Phase.CHANGED)],
)
def test_nothing_is_said_of_a_run_that_is_held_or_over(notice: Notice) -> None:
    """A pause takes as long as an operator wants."""
    assert of_run(told(a_run(1), QUOTA), 1.0) is not None
    assert of_run(told(a_run(1), QUOTA, notice), 1.0) is None


def test_a_quota_says_nothing_of_rows_that_wait() -> None:
    """Nor of those behind them: how long somebody else's task takes is not known, but how fast rows end is."""
    state = told(a_run(3), QUOTA, moved(0, Phase.WAITING, code="TaskExists"))
    assert of_run(state, 1.0) is not None
    told(state, moved(1, Phase.CHANGED))
    assert of_run(state, 1.0) is None
    state = ended(told(a_run(12), QUOTA, moved(11, Phase.WAITING, code="TaskExists")), range(11), 1, every=1.0)
    assert of_run(state, 20.0) == pytest.approx(2.0)


def test_pauses_between_waves_count() -> None:
    """What is left of this one and all that are still to come; a gate that an operator opens is the end of what is known."""
    state = ended(told(a_run(10, 20, 70, pause=600.0), QUOTA), range(10), 1, every=0.0)
    told(state, WaveEnded(wave=1, pause=500.0), at=5.0)
    assert of_run(state, 105.0) == pytest.approx(400 + 600 + 90 / RATE)
    assert of_wave(state, 105.0) is None
    told(state, WaveOpened(wave=2, waves=3, instances=20, pause=600.0), at=505.0)
    assert of_wave(state, 505.0) == pytest.approx(20 / RATE)
    assert of_run(state, 505.0) == pytest.approx(600 + 90 / RATE)
    manual = told(a_run(10, 20, pause=None), QUOTA)
    assert of_run(manual, 1.0) is None
    assert of_wave(manual, 1.0) == pytest.approx(10 / RATE)
    assert of_run(told(manual, WaveEnded(wave=1, pause=None)), 2.0) is None


def test_a_resume_in_a_pause_knows_of_that_one_only() -> None:
    """No wave was opened in this process yet."""
    rows = [(a_row(seq, wave=1 + seq), RowState(Phase.CHANGED if seq == 0 else Phase.PLANNED)) for seq in range(2)]
    state = told(BoardState.start(rows, now=0.0), opened(2), QUOTA, WaveEnded(wave=1, pause=60.0))
    assert of_run(state, 10.0) == pytest.approx(50 + 1 / RATE)
    rows.append((a_row(2, wave=3), RowState(Phase.PLANNED)))
    state = told(BoardState.start(rows, now=0.0), opened(3), QUOTA, WaveEnded(wave=1, pause=60.0))
    assert of_run(state, 10.0) is None


def test_what_is_not_known_to_the_second_is_rounded_up() -> None:
    """Seconds up to a minute, minutes up to an hour."""
    said = {0.2: "1s", 59.1: "60s", 61: "2m", 720: "12m", 3541: "60m", 3601: "1h 01m", 90_000: "1d 01h"}
    assert {seconds: about(seconds) for seconds in said} == said
