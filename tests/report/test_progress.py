"""What is shown while a run goes on: the fold, the lines, the board."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from journal_records import a_row
from progress_notices import NASTY, Clock, a_state, answered, moved, opened, paced, with_nasty_text

from batchmod.model.events import TERMINAL, Kind, Outcome, Phase, StoppedBy
from batchmod.model.notices import (
    AccountStopped,
    CheckEnded,
    Controlled,
    Notice,
    RowMoved,
    RunStopping,
    WaveEnded,
    WaveOpened,
)
from batchmod.model.record import RowState
from batchmod.report.board_lines import render
from batchmod.report.board_state import BoardState
from batchmod.report.console import Lines, progress
from batchmod.report.layout import cells


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


def test_calls_that_others_make_are_not_shown_as_none() -> None:
    """Who follows a run on other machines hears of its rows alone."""
    for elsewhere in (False, True):
        state = a_state(Phase.SETTLING, Phase.CHANGED)
        state.fold(replace(opened(2), elsewhere=elsewhere), 100.0)
        assert ("calls" in " ".join(render(state, 100.0, 80))) is not elsewhere
        assert ("calls/s" in progress(state, 100.0)) is not elsewhere


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


def test_lines_come_while_nothing_happens_too() -> None:
    """Every ten seconds, however often the clock is looked at: a silent job looks dead."""
    clock = Clock()
    lines, written = lines_of(BoardState.start([], now=100.0), clock)
    lines.notify(opened(100))
    written.clear()
    for _ in range(35):
        clock.now += 1.0
        lines.tick()
    assert [line.split(" · ")[-1] for line in written] == ["10s", "20s", "30s"]


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


def test_foreign_text_moves_no_cursor_and_is_no_markup() -> None:
    """Board and lines show what the service sent as it is, with its controls escaped."""
    shown = render(with_nasty_text(), 100.0, 200)
    lines, written = lines_of(a_state(Phase.ARMED), Clock())
    lines.notify(moved(0, Phase.FAILED, code="X", message=NASTY))
    lines.notify(AccountStopped(account="eu", reason=NASTY))
    for text in ("\n".join(shown), "\n".join(written)):
        assert text.count(r"[bold]x[/bold]\x1b[2J\r\u202eevil\n") == 2
        assert all(char.isprintable() for char in text.replace("\n", ""))


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


def test_the_busiest_quota_is_in_the_lines() -> None:
    """How much of it was used, and where; not what is long over."""
    clock = Clock()
    lines, written = lines_of(a_state(Phase.ARMED), clock)
    lines.notify(paced("DescribeInstances", "cn-shanghai", 7))
    lines.notify(paced("ModifyInstanceAttribute", "cn-zhangjiakou", 96, found=True))
    assert written == [], "a part of the next line of progress"
    clock.now += 9.0
    lines.notify(paced("DescribeInstances", "cn-shanghai", 8))
    clock.now += 1.0
    lines.notify(answered())
    assert written == ["0/1 rows · 1 in change · 0.1 calls/s · 8% of 200/1m DescribeInstances cn-shanghai · 10s"]


def test_lines_say_how_long_it_will_take() -> None:
    """When that can be known."""
    clock = Clock()
    lines, written = lines_of(
        BoardState.start(((a_row(seq), RowState(Phase.PLANNED)) for seq in range(320)), now=100.0), clock
    )
    for notice in (opened(320), paced("ModifyInstanceAttribute", "cn-hangzhou", 1)):
        lines.notify(notice)
    clock.now += 10.0
    lines.notify(answered())
    assert written[-1].endswith(" · 10s · ≈ 2m left")
