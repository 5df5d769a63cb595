"""The board on a terminal: what it says at every width and height, and how it is drawn."""

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_records import a_row
from progress_notices import NASTY, a_state, answered, moved, opened, paced, with_nasty_text
from rich.console import Console

from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.notices import (
    AccountStopped,
    CallAnswered,
    CheckEnded,
    ConsumerEnded,
    Controlled,
    Notice,
    Paced,
    RowMoved,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.pace import Pace
from batchmod.model.plan import Lane
from batchmod.model.record import RowState
from batchmod.report.board import Board, wrapped
from batchmod.report.board_lines import render
from batchmod.report.board_state import BoardState
from batchmod.report.layout import cells

WIDTHS = (60, 80, 120, 200)
REGIONS = ("cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-shenzhen", "cn-zhangjiakou", "eu-central-1")
PAUSE, CONTINUE = Controlled(text="pause"), Controlled(text="continue")


def a_fleet(*waves: int, pause: float | None = 0.0) -> BoardState:
    """A run of waves of so many rows each, in all regions, with the first one open and every quota told twice."""
    sizes = [wave for wave, rows in enumerate(waves, 1) for _ in range(rows)]
    rows = [a_row(seq, wave=wave, region=REGIONS[seq % len(REGIONS)]) for seq, wave in enumerate(sizes)]
    state = BoardState.start(((row, RowState(Phase.PLANNED)) for row in rows), now=100.0)
    state.fold(opened(len(rows), max_failures=9), 100.0)
    state.fold(WaveOpened(wave=1, waves=len(waves), instances=waves[0], max_failures=2, pause=pause), 100.0)
    for calls in (1, 11):
        for region in REGIONS:
            state.fold(paced("ModifyInstanceAttribute", region, calls, found=region == "eu-central-1"), 100.0 + calls)
    return state


def fleet_in_trouble() -> BoardState:
    """Everything that a board can tell of, with wide and hostile names."""
    state = a_fleet(1, 8, 200)
    state.fold(moved(0, Phase.CHANGED), 105.0)
    for seq, code in enumerate(["TaskExists"] * 3 + ["InstanceNotNormal", "A", "B"], 1):
        row = a_row(seq, wave=2, instance_id=f"r-\u957f{seq}" if code == "TaskExists" else NASTY)
        state.fold(RowMoved(row, RowState(Phase.WAITING, code=code)), 106.0)
    state.fold(moved(7, Phase.IN_DOUBT, code="Timeout"), 107.0)
    for seq in (8, 9, 10, 11):
        row = a_row(seq, wave=3, instance_id="r-" + "\u957f" * seq)
        state.fold(RowMoved(row, RowState(Phase.FAILED, code=f"Code{seq}", message=NASTY * 20)), 108.0)
    state.fold(answered("Throttling.User", throttled=True), 109.0)
    state.fold(AccountStopped(account="eu", reason=NASTY), 109.0)
    return state


@pytest.mark.parametrize("width", WIDTHS)
def test_every_fact_is_on_the_board_at_every_width(width: int) -> None:
    """No line is wider than the terminal, and no name moves a cursor."""
    shown = render(fleet_in_trouble(), 111.0, width)
    assert max(map(cells, shown)) <= width
    assert all(line.isprintable() for line in shown)
    facts = [
        "rotate-prod r1",
        r"░+ 5/209 rows 2% 11s ≈ 12s left",
        r"wave 1  █+ +1/1",
        r"wave 2  ░+ +0/8",
        r"wave 3  ░+ 4/200",
    ]
    facts += ["ended: 1 changed · 4 failed", "live:  0 in change · 1 in doubt · 6 waiting · 197 to come"]
    facts += [
        r"6 wait: 3 TaskExists, 1 A, 1 B, 1 other \(r-长1, r-长2, …\)",
        "budget: 5 of 2 failures spent or held, it sets",
    ]
    facts += [
        r"calls: 0\.1/s · 1 answered · 1 throttled",
        "account eu stopped: ",
        "failed: r-长{11} .cn-hangzhou. password: Co",
    ]
    facts += (
        ["quota: cn-beijing .busiest of 6. 30% of 200/1m"]
        if width < 80
        else ["lane:  cn-beijing +1.0/s  30% of 200/1m Modify.*come"]
    )
    text = "\n".join(shown)
    assert [fact for fact in facts if not re.search(fact, text)] == []


def test_each_lane_has_a_line_and_many_are_folded() -> None:
    """Four of six, those with the most to come where all are as busy; their account where there are several."""
    state = a_fleet(8)
    lanes = [line for line in render(state, 111.0, 120) if line.startswith(("lane:", "       "))]
    assert [line.split()[1] for line in lanes] == ["cn-beijing", "cn-hangzhou", "cn-shanghai", "cn-shenzhen", "more"]
    assert lanes[1] == "lane:  cn-hangzhou  1.0/s  30% of 200/1m ModifyInstanceAttribute  2 to come"
    assert lanes[-1] == "       2 more lanes 2.0/s"
    (quota,) = [line for line in render(state, 111.0, 79) if line.startswith("quota:")]
    assert quota == "quota: cn-hangzhou (busiest of 6) 30% of 200/1m ModifyInstanceAttribute"
    other = a_row(9, account="eu", account_id="2222333344445555", region="eu-west-1")
    state.fold(RowMoved(other, RowState(Phase.PLANNED)), 111.0)
    state.fold(paced("ModifyInstanceTDE", "eu-west-1", 99, account_id="2222333344445555"), 111.0)
    lanes = [line for line in render(state, 111.0, 120) if line.startswith("lane:")]
    assert re.fullmatch(r"lane:  eu-west-1 eu +99% of 200/1m ModifyInstanceTDE +1 to come", lanes[-1])
    assert not any(line.startswith(("lane:", "quota:")) for line in render(state, 122.0, 120)), "long over"


def test_many_waves_are_folded() -> None:
    """What is over is one line, and so is what comes after the next."""
    state = a_fleet(*[2] * 40)
    seqs = iter(range(80))
    for wave in range(1, 8):
        state.fold(WaveOpened(wave=wave, waves=40, instances=2), 120.0)
        for seq in (next(seqs), next(seqs)):
            state.fold(RowMoved(a_row(seq, wave=wave), RowState(Phase.CHANGED)), 120.0)
    state.fold(WaveOpened(wave=8, waves=40, instances=2), 120.0)
    waves = [line for line in render(state, 121.0, 60) if line.startswith("wave")]
    found = [re.fullmatch(r"(waves? [\d-]+) +[█░]+ +(\d+/\d+)( ≈ \d+s left)?", line) for line in waves]
    said = [line.group(1, 2) for line in found if line]
    assert said == [("waves 1-7", "14/14"), ("wave 8", "0/2"), ("wave 9", "0/2"), ("waves 10-40", "0/62")]


def test_a_short_terminal_keeps_what_matters() -> None:
    """Never taller than asked; the progress is the last thing to go, and what is over the first."""
    state = fleet_in_trouble()
    whole = render(state, 111.0, 120)
    assert len(whole) <= 24
    for height in range(len(whole) + 2):
        shown = render(state, 111.0, 120, height)
        assert len(shown) == min(height, len(whole))
        assert [line for line in whole if line in shown] == shown
    assert "5/209 rows" in render(state, 111.0, 120, 1)[0]
    small = render(state, 111.0, 120, len(whole) - 5)
    assert sum(line.startswith("lane:") for line in small) == 1
    assert any("Code11" in line for line in small)
    state.fold(RunStopping(stopped_by=StoppedBy.SIGNAL), 111.0)
    assert render(state, 111.0, 120, 2)[1].startswith("stopping (signal)")


def test_the_board_says_nothing_of_a_budget_that_there_is_not() -> None:
    """And the pace is only named while something is still to come."""
    assert not any("budget" in line for line in render(a_state(Phase.ARMED), 100.0, 80))
    shown = render(a_state(Phase.ARMED, max_failures=1), 100.0, 80)
    assert [line for line in shown if "budget" in line] == ["budget: 1 of 1 failures spent or held"]


def test_the_budget_on_the_board_is_that_of_the_wave() -> None:
    """What ended badly before it is not counted, but for what a resumed wave has spent already."""
    state = a_state(Phase.FAILED, Phase.FAILED, Phase.ARMED, Phase.PLANNED, max_failures=9)
    for spent, said in ((0, "budget: 1 of 2"), (1, "budget: 2 of 2")):
        state.fold(WaveOpened(wave=2, waves=3, instances=4, max_failures=2, spent=spent), 100.0)
        pace = ", it sets the pace" if spent else ""
        (line,) = [line for line in render(state, 100.0, 80) if "budget" in line]
        assert line == f"{said} failures spent or held{pace} (of this wave)"


def gate_line(*notices: Notice, now: float = 100.0) -> list[str]:
    state = a_state(Phase.ARMED)
    for notice in notices:
        state.fold(notice, 100.0)
    shown = render(state, now, 60)
    assert max(map(cells, shown)) <= 60
    return [line for line in shown if line.startswith(("wave", "paused"))]


def test_the_board_says_what_the_run_waits_for_between_waves() -> None:
    """Where it stands, what it waits for, and who holds it."""
    first, second = WaveOpened(wave=1, waves=3, instances=1), WaveOpened(wave=2, waves=3, instances=4)
    assert gate_line(first) == []
    assert gate_line(first, WaveEnded(wave=1, pause=600.0), now=130.0) == ["wave 1 of 3 ended, next in 9m 30s"]
    assert gate_line(first, WaveEnded(wave=1, pause=None)) == ["wave 1 of 3 ended"]
    check = CheckEnded(wave=1, passed=True, text="exit 0")
    assert gate_line(first, WaveEnded(wave=1, pause=9.0), check) == ["wave 1 of 3 ended, check passed"]
    assert gate_line(first, WaveEnded(wave=1, pause=9.0), check, second) == []
    assert gate_line(second, PAUSE) == ["paused: `control … continue` goes on"]
    both = "wave 1 of 3 ended, next in 9s · paused: `control … continue` goes on"
    assert gate_line(first, WaveEnded(wave=1, pause=9.0), PAUSE) == [f"{both[:59]}…"]
    assert gate_line(PAUSE, CONTINUE) == gate_line(PAUSE, RunStopping(stopped_by=StoppedBy.CONTROL)) == []


def test_who_waits_is_forgotten_when_it_goes_on() -> None:
    """Each row once, under the code that it has now."""
    state = a_state(Phase.PLANNED, Phase.PLANNED)
    for code in ("TaskExists", "Throttling.User", None):
        state.fold(moved(0, Phase.WAITING, code=code), 100.0)
    assert "1 wait: 1 held back (r-bp0000)" in render(state, 100.0, 80)
    state.fold(moved(0, Phase.ARMED), 100.0)
    assert not any(" wait: " in line for line in render(state, 100.0, 80))


def drawn(board: BoardState | None = None, **environ: str) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, _environ={"TERM": "xterm-256color"} | environ)
    with Board(console, board or with_nasty_text(), clock=lambda: 111.0) as shown:
        shown.notify(moved(1, Phase.CHANGED))
    return out.getvalue()


def test_the_board_draws_its_last_state_and_leaves_it() -> None:
    """In colours, with no markup taken from foreign text."""
    text = drawn()
    assert "\x1b[32m1 changed" in text
    assert r"[bold]x[/bold]\x1b[2J" in text
    assert "\x1b[2J" not in text
    assert "\x1b[1;33maccount eu stopped" in text


def test_no_color_is_respected() -> None:
    """No colour at all, and every word is there."""
    text = drawn(fleet_in_trouble(), NO_COLOR="1")
    assert "1 changed" in text
    assert set(re.findall(r"\x1b\[([\d;]*)m", text)) <= {"", "0", "1"}


def test_a_narrower_terminal_is_cleared_of_what_it_wrapped() -> None:
    """The lines that were drawn at 80 columns take more rows at 30: all of them are erased."""
    assert [wrapped([80, 30, 31, 0], width) for width in (80, 40, 30)] == [0, 1, 3]
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm-256color"})
    state = a_fleet(1, 8)
    before = render(state, 111.0, 80, 23)
    with Board(console, state, clock=lambda: 111.0):
        console.width = 30
        out.truncate(0)
    up = len(before) - 1 + wrapped(map(cells, before), 30)
    first_frame = out.getvalue().split("rotate-prod")[0]
    assert first_frame.count("\x1b[1A") == up > len(before)


PHASES = st.sampled_from(Phase)
TEXT = st.text(max_size=20) | st.sampled_from(["TaskExists", NASTY, "\u957f" * 40])
NUMBER = st.integers(1, 4)
ROWS = st.builds(
    lambda seq, text: a_row(
        seq,
        wave=(seq % 4) or None,
        region=REGIONS[seq % 3],
        kind=list(Kind)[seq % 3],
        instance_id=f"r-{text}",
        account_id=f"{seq % 2}",
    ),
    st.integers(0, 30),
    TEXT,
)
PACES = st.builds(
    lambda api, region, calls, rate: Pace(
        api=api, region=region, calls=calls, rate=rate, throttled=0, allowed=9.0, account_id="1"
    ),
    st.sampled_from(["ModifyInstanceAttribute", "ModifyInstanceTDE", "X"]),
    st.sampled_from(REGIONS),
    st.integers(0, 99),
    st.sampled_from(["200/1m", "1/1s", "1000/1s"]),
)
NOTICES: st.SearchStrategy[Notice] = st.one_of(
    st.builds(lambda row, phase, code: RowMoved(row, RowState(phase, code=code)), ROWS, PHASES, st.none() | TEXT),
    st.builds(CallAnswered, st.just(Lane("1", "x")), TEXT, st.none() | TEXT, st.booleans(), st.just(0.1)),
    st.builds(Paced, pace=PACES),
    st.builds(opened, st.integers(0, 40), max_failures=st.none() | NUMBER),
    st.builds(WaveOpened, wave=NUMBER, waves=NUMBER, instances=NUMBER, pause=st.none() | st.just(9.0)),
    st.builds(WaveEnded, wave=NUMBER, pause=st.none() | st.just(9.0)),
    st.builds(CheckEnded, wave=NUMBER, passed=st.booleans(), text=TEXT),
    st.builds(ConsumerEnded, wave=NUMBER, passed=st.booleans(), text=TEXT),
    st.builds(AccountStopped, account=TEXT, reason=TEXT),
    st.builds(RunStopping, stopped_by=st.sampled_from(StoppedBy)),
    st.sampled_from([PAUSE, CONTINUE, Controlled(text="rate=9/1s")]),
)
STEPS: st.SearchStrategy[Any] = st.lists(st.tuples(st.floats(0, 8), NOTICES), max_size=40)


@settings(max_examples=100)
@given(steps=STEPS, width=st.integers(1, 200), height=st.none() | st.integers(0, 30))
def test_whatever_is_told_the_board_fits(steps: list[tuple[float, Notice]], width: int, height: int | None) -> None:
    """No notices, in any order, make it raise, or a line wider or a board taller than asked; each row counts once."""
    now, state = 100.0, BoardState.start([(a_row(0), RowState(Phase.PLANNED))], now=100.0)
    for seconds, notice in steps:
        now += seconds
        state.fold(notice, now)
        shown = render(state, now, width, height)
        assert all(cells(line) <= width and line.isprintable() for line in shown)
        assert height is None or len(shown) <= height
    assert sum(map(len, state.work.waits.values())) == state.waiting
    assert sum(state.work.to_come.values()) == state.phases[Phase.PLANNED] + state.phases[Phase.ESCROWED]
