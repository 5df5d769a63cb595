"""What is shown while a run goes on: the fold, the lines, the board."""

import io
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from journal_records import a_row
from rich.console import Console

from batchmod.model.events import TERMINAL, Kind, Outcome, Phase, StoppedBy
from batchmod.model.notices import (
    AccountStopped,
    CallAnswered,
    CheckEnded,
    Controlled,
    Notice,
    Paced,
    RowMoved,
    RunOpened,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.pace import Pace
from batchmod.model.plan import Lane
from batchmod.model.record import RowState
from batchmod.report.board import Board, render
from batchmod.report.board_state import BoardState
from batchmod.report.console import Lines
from batchmod.report.layout import cells

NASTY = "[bold]x[/bold]\x1b[2J\r\u202eevil\n"


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def opened(rows: int, *, max_failures: int | None = None, resumed: bool = False) -> RunOpened:
    return RunOpened(
        run_id="r1", name="rotate-prod", resumed=resumed, rows=rows, to_send=rows, max_failures=max_failures
    )


def moved(seq: int, phase: Phase, **other: Any) -> RowMoved:
    return RowMoved(row=a_row(seq), state=RowState(phase=phase, **other))


def answered(code: str | None = None, *, throttled: bool = False) -> CallAnswered:
    lane = Lane("1234567890123456", "cn-hangzhou")
    return CallAnswered(lane=lane, api="DescribeInstances", code=code, throttled=throttled, seconds=0.1)


def a_state(*phases: Phase, rows: int | None = None, max_failures: int | None = None) -> BoardState:
    """A run of rows in these phases, of which the plan knew nothing but that they will be sent."""
    known = ((a_row(seq), RowState(phase=Phase.PLANNED)) for seq in range(len(phases)))
    state = BoardState.start(known, now=100.0)
    state.fold(opened(len(phases) if rows is None else rows, max_failures=max_failures), 100.0)
    for seq, phase in enumerate(phases):
        state.fold(moved(seq, phase), 100.0)
    return state


@pytest.mark.parametrize("seed", range(10))
def test_the_counts_add_up_to_the_plan_at_every_moment(seed: int) -> None:
    """However rows move, each is counted once, where it stands; those nobody spoke of are still to come."""
    dice = random.Random(seed)
    where = dict.fromkeys(range(30), Phase.PLANNED)
    state = BoardState.start(((a_row(seq), RowState(phase=where[seq])) for seq in range(20)), now=0.0)
    state.fold(opened(30), 0.0)
    for _ in range(200):
        seq, phase = dice.randrange(30), dice.choice(list(Phase))
        where[seq] = phase
        state.fold(moved(seq, phase), 0.0)
        assert state.done + state.in_change + state.in_doubt + state.waiting + state.untouched == state.rows == 30
        assert state.done == sum(phase in TERMINAL for phase in where.values())
        assert state.outcomes() == {outcome: Counter(where.values())[Phase(outcome.value)] for outcome in Outcome}
        assert state.untouched == sum(phase in {Phase.PLANNED, Phase.ESCROWED} for phase in where.values())


def test_a_resumed_run_starts_with_what_is_done() -> None:
    """Rows that the journal knows are counted before any of them moves."""
    known = [(a_row(0), RowState(phase=Phase.CHANGED)), (a_row(1), RowState(phase=Phase.IN_DOUBT))]
    state = BoardState.start(known, now=0.0)
    assert (state.rows, state.done, state.in_doubt) == (2, 1, 1)


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    """Older calls are forgotten; a young run is not divided by ten."""
    state = BoardState.start([], now=1000.0)
    for _ in range(40):
        state.fold(answered(), 1000.5)
    assert state.rate(1002.0) == 20
    state.fold(answered("Throttling.User", throttled=True), 1015.0)
    assert state.rate(1015.0) == 0.1
    assert state.rate(1100.0) == 0
    assert (state.calls, state.throttled) == (41, 1)


def test_the_budget_is_spent_by_failures_and_held_by_doubt() -> None:
    """What the plan found missing is outside of it; a busy wait gives its slot back."""
    gone = a_row(0, verdict=Phase.FAILED)
    state = BoardState.start([(gone, RowState(phase=Phase.FAILED))], now=0.0)
    assert state.budget_used == 0
    for seq, phase in enumerate([Phase.FAILED, Phase.UNRESOLVED, Phase.ARMED, Phase.WATCHING, Phase.WAITING], start=1):
        state.fold(moved(seq, phase), 0.0)
    assert state.budget_used == 4
    state.fold(moved(3, Phase.CHANGED), 0.0)
    assert state.budget_used == 3


def lines_of(state: BoardState, clock: Callable[[], float]) -> tuple[Lines, list[str]]:
    written: list[str] = []
    return Lines(written.append, state, clock=clock), written


def test_lines_say_how_a_run_begins_and_why_it_stops() -> None:
    """Opening, a stopped account and the stop are each one line."""
    lines, written = lines_of(BoardState.start([], now=100.0), Clock())
    notices: list[Notice] = [
        opened(40, max_failures=2, resumed=True),
        AccountStopped(account="eu", reason="InvalidAccessKeyId.NotFound"),
        RunStopping(stopped_by=StoppedBy.MAX_FAILURES),
    ]
    for notice in notices:
        lines.notify(notice)
    assert written == [
        "rotate-prod r1 resumed: 40 of 40 rows to do; stops at 2 failed or unresolved",
        "account eu stopped: InvalidAccessKeyId.NotFound; nothing more is sent for it",
        "stopping (max_failures): nothing new is sent, open replies are waited for",
    ]


def test_lines_tell_progress_by_time_or_by_share() -> None:
    """After ten seconds or a twentieth of the rows, whichever is first, and not before."""
    clock = Clock()
    lines, written = lines_of(BoardState.start([], now=100.0), clock)
    lines.notify(opened(100))
    written.clear()
    for seq in range(4):
        lines.notify(moved(seq, Phase.CHANGED))
    assert written == []
    lines.notify(moved(4, Phase.CHANGED))
    assert written == ["5/100 rows · 5 changed · 0.0 calls/s · 0s"]
    clock.now += 9.9
    lines.notify(moved(5, Phase.ARMED))
    lines.notify(moved(6, Phase.IN_DOUBT))
    lines.notify(moved(7, Phase.WAITING))
    assert len(written) == 1
    clock.now += 0.1
    lines.notify(answered())
    assert written[1:] == ["5/100 rows · 5 changed · 1 in change · 1 in doubt · 1 waiting · 0.1 calls/s · 10s"]


def test_lines_show_the_error_of_a_row_that_did_not_end_well() -> None:
    """Code and message, or the detail; a row that is in doubt has not ended."""
    lines, written = lines_of(BoardState.start([], now=100.0), Clock())
    lines.notify(opened(10_000))
    lines.notify(moved(0, Phase.FAILED, code="Forbidden", message="no right"))
    lines.notify(moved(1, Phase.UNRESOLVED, detail="not Normal after 60 m"))
    lines.notify(moved(2, Phase.IN_DOUBT, code="Timeout"))
    assert written[1:] == [
        "failed: r-bp0000 (cn-hangzhou) password: Forbidden: no right",
        "unresolved: r-bp0001 (cn-hangzhou) password: not Normal after 60 m",
    ]


def test_lines_do_not_fill_a_disk() -> None:
    """Fifty errors, and where the others are; a long message is cut."""
    lines, written = lines_of(BoardState.start([], now=100.0), Clock())
    lines.notify(opened(10_000))
    for seq in range(200):
        lines.notify(moved(seq, Phase.FAILED, code="Forbidden", message="m" * 5000))
    errors = [line for line in written if line.startswith("failed: ")]
    assert len(errors) == 50
    assert {len(line) for line in errors} == {300}
    assert written.count("further errors are in the report") == 1


def test_lines_speak_of_throttling_once_a_minute() -> None:
    """Not for each call that was refused."""
    clock = Clock()
    lines, written = lines_of(BoardState.start([], now=100.0), clock)
    lines.notify(opened(10_000))
    for _ in range(120):
        clock.now += 1
        lines.notify(answered("Throttling.User", throttled=True))
    told = [line for line in written if line.startswith("throttled: ")]
    assert told == [
        "throttled: DescribeInstances in 1234567890123456/cn-hangzhou (Throttling.User), 1 calls so far; slowing down",
        "throttled: DescribeInstances in 1234567890123456/cn-hangzhou (Throttling.User), 61 calls so far; slowing down",
    ]


def test_the_board_is_read_at_sixty_columns() -> None:
    """Every number stands on it, and no line is wider than the terminal."""
    state = a_state(Phase.CHANGED, Phase.FAILED, Phase.ARMED, Phase.IN_DOUBT, Phase.WAITING, rows=8, max_failures=3)
    state.fold(answered("Throttling.User", throttled=True), 104.0)
    state.fold(RowMoved(row=a_row(1, instance_id="r-" + "\u957f" * 60), state=RowState(phase=Phase.FAILED)), 104.0)
    state.fold(RunStopping(stopped_by=StoppedBy.SIGNAL), 104.0)
    shown = render(state, 105.0, 60)
    assert shown[0] == "rotate-prod r1"
    assert shown[1].endswith("░ 2/8 rows 25% 5s")
    assert shown[2:6] == [
        "ended: 1 changed · 1 failed",
        "live:  1 in change · 1 in doubt · 1 waiting · 3 to come",
        "calls: 0.2/s · 1 answered · 1 throttled",
        "budget: 3 of 3 failures spent or held, it sets the pace",
    ]
    assert any(line.startswith("failed: r-") and line.endswith("…") for line in shown)
    assert shown[-1].startswith("stopping (signal)")
    for width in (1, 20, 60, 200):
        assert max(map(cells, render(state, 105.0, width))) <= width


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
        assert line == f"{said} failures of this wave spent or held{pace}"


def test_foreign_text_moves_no_cursor_and_is_no_markup() -> None:
    """Board and lines show what the service sent as it is, with its controls escaped."""
    shown = render(with_nasty_text(), 100.0, 200)
    lines, written = lines_of(a_state(Phase.ARMED), Clock())
    lines.notify(moved(0, Phase.FAILED, code="X", message=NASTY))
    lines.notify(AccountStopped(account="eu", reason=NASTY))
    for text in ("\n".join(shown), "\n".join(written)):
        assert text.count(r"[bold]x[/bold]\x1b[2J\r\u202eevil\n") == 2
        assert all(char.isprintable() for char in text.replace("\n", ""))


def with_nasty_text() -> BoardState:
    state = a_state(Phase.ARMED)
    state.fold(moved(0, Phase.FAILED, code="X", message=NASTY), 100.0)
    state.fold(AccountStopped(account="eu", reason=NASTY), 100.0)
    return state


def drawn(**environ: str) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, _environ={"TERM": "xterm-256color"} | environ)
    with Board(console, with_nasty_text(), clock=lambda: 100.0) as board:
        board.notify(moved(1, Phase.CHANGED))
    return out.getvalue()


def test_the_board_draws_its_last_state_and_leaves_it() -> None:
    """In colours, with no markup taken from foreign text."""
    text = drawn()
    assert "\x1b[32m1 changed" in text
    assert r"[bold]x[/bold]\x1b[2J" in text
    assert "\x1b[2J" not in text


def test_no_color_is_respected() -> None:
    """No colour at all, and every word is there."""
    text = drawn(NO_COLOR="1")
    assert "1 changed" in text
    assert "\x1b[32m" not in text
    assert "\x1b[31m" not in text


def test_a_row_without_any_reason_says_so() -> None:
    """No empty complaint."""
    state = BoardState.start([], now=0.0)
    state.fold(RowMoved(row=a_row(0, kind=Kind.TDE), state=RowState(phase=Phase.UNRESOLVED)), 0.0)
    assert state.errors[0].text == "no reason known"


def test_lines_tell_of_waves_and_of_an_operator() -> None:
    """One line each; what a check said is cut and moves no cursor."""
    lines, written = lines_of(BoardState.start([], now=100.0), Clock())
    notices: list[Notice] = [
        WaveEnded(wave=1, pause=600.0),
        WaveEnded(wave=1, pause=0.0),
        WaveEnded(wave=1, pause=None),
        CheckEnded(wave=1, passed=True, text="exit 0"),
        CheckEnded(wave=1, passed=False, text="exit 1: " + NASTY + "x" * 500),
        WaveOpened(wave=2, waves=3, instances=40),
        Controlled(text="rate=100/60s"),
    ]
    for notice in notices:
        lines.notify(notice)
    assert written[:4] == [
        "wave 1 ended; the next one in 10m 00s",
        "wave 1 ended",
        "wave 1 ended; an operator opens the next one",
        "check after wave 1 passed: exit 0",
    ]
    assert written[4].startswith(r"check after wave 1 FAILED: exit 1: [bold]x[/bold]\x1b[2J")
    assert cells(written[4]) == 300
    assert written[5:] == ["wave 2 of 3: 40 instances", "control: rate=100/60s"]


def wave_line(*notices: Notice, now: float = 100.0) -> list[str]:
    state = a_state(Phase.ARMED)
    for notice in notices:
        state.fold(notice, 100.0)
    shown = render(state, now, 60)
    assert max(map(cells, shown)) <= 60
    return [line for line in shown if line.startswith(("wave", "paused"))]


def test_the_board_has_one_line_for_waves_and_pauses() -> None:
    """Where the run stands, what it waits for, and who holds it; none where there is but one wave."""
    first, second = WaveOpened(wave=1, waves=3, instances=1), WaveOpened(wave=2, waves=3, instances=4)
    pause, on = Controlled(text="pause"), Controlled(text="continue")
    assert wave_line(WaveOpened(wave=1, waves=1, instances=9)) == []
    assert wave_line(first) == ["wave 1 of 3"]
    assert wave_line(first, WaveEnded(wave=1, pause=600.0), now=130.0) == ["wave 1 of 3 ended, next in 9m 30s"]
    assert wave_line(first, WaveEnded(wave=1, pause=None)) == ["wave 1 of 3 ended"]
    check = CheckEnded(wave=1, passed=True, text="exit 0")
    assert wave_line(first, WaveEnded(wave=1, pause=9.0), check) == ["wave 1 of 3 ended, check passed"]
    assert wave_line(first, WaveEnded(wave=1, pause=9.0), check, second) == ["wave 2 of 3"]
    assert wave_line(second, pause) == ["wave 2 of 3 · paused: `control … continue` goes on"]
    assert wave_line(pause) == ["paused: `control … continue` goes on"]
    assert wave_line(pause, on) == wave_line(pause, RunStopping(stopped_by=StoppedBy.CONTROL)) == []


def paced(api: str, region: str, calls: int, *, found: bool = False) -> Paced:
    pace = Pace(
        account_id="1234567890123456",
        region=region,
        api=api,
        rate="200/1m",
        found=found,
        calls=calls,
        throttled=0,
        allowed=100.0,
    )
    return Paced(pace=pace)


def test_the_busiest_quota_is_on_the_board_and_in_the_lines() -> None:
    """How much of it was used, whether it was found, and where, at 60 columns; not what is long over."""
    clock = Clock()
    state = a_state(Phase.ARMED)
    lines, written = lines_of(state, clock)
    lines.notify(paced("DescribeInstances", "cn-shanghai", 7))
    lines.notify(paced("ModifyInstanceAttribute", "cn-zhangjiakou", 96, found=True))
    assert written == [], "a part of the next line of progress"
    busiest = "96% of 200/1m found ModifyInstanceAttribute cn-zhangjiakou"
    quota = [line for line in render(state, 105.0, 80) if line.startswith("quota:")]
    assert quota == [f"quota: {busiest} · 1 more"]
    assert "ModifyInstanceAttribute" in next(line for line in render(state, 105.0, 60) if line.startswith("quota:"))
    clock.now += 9.0
    lines.notify(paced("DescribeInstances", "cn-shanghai", 8))
    clock.now += 1.0
    lines.notify(answered())
    assert written == ["0/1 rows · 1 in change · 0.1 calls/s · 8% of 200/1m DescribeInstances cn-shanghai · 10s"]
