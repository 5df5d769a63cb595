"""What every journal promises, whatever it is kept in."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from journal_records import START, a_row, a_run, a_step, finish, rows, walk
from postgres import Database

from batchmod.errors import JournalError
from batchmod.journal.memory import MemoryJournal
from batchmod.journal.postgres import Fence, PostgresJournal
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.store import DOUBTFUL, Journal
from batchmod.model.events import NO_DOUBT, TERMINAL, Kind, Outcome, Phase, Proof, StoppedBy
from batchmod.model.pace import Pace
from batchmod.model.record import RowState, first_state, fold
from batchmod.model.runs import Mark, MarkType

RUN = a_run().id
FENCE = Fence(key="lane:1234567890123456/cn-hangzhou", epoch=3)
FILES: dict[str, Callable[[Path], Journal]] = {"memory": lambda _: MemoryJournal(), "sqlite": SqliteJournal.open}


@pytest.fixture(params=[*FILES, "postgres under a fence"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if (make := FILES.get(request.param)) is not None:
        journal = make(tmp_path)
        yield journal
        journal.close()
        return
    database: Database = request.getfixturevalue("database")
    whole = PostgresJournal.open(database.place)
    database.execute("INSERT INTO lease (key, epoch) VALUES (%s, %s)", FENCE.key, FENCE.epoch)
    view = whole.under(FENCE)
    yield view
    view.close()
    whole.close()


async def test_a_run_comes_back_as_it_was_opened(journal: Journal) -> None:
    """Every field of a run and of its rows is kept."""
    run = a_run(password_hmac="ab12")
    row = a_row(
        kind=Kind.ATTRIBUTES,
        instance_name=None,
        wave=None,
        before={"name": "old \ud800 \u4e2d", "release_protection": False},
        after={"name": "new", "release_protection": True},
        verdict=Phase.SKIPPED,
        reason="held by run x",
        error_code="InvalidInstanceId.NotFound",
        address="10.0.0.1:6379",
        engine_version="7.0",
    )
    await journal.open_run(run, [row])
    assert journal.run(RUN) == run
    assert journal.runs() == [run]
    assert list(journal.states(RUN)) == [(row, first_state(row))]


async def test_a_plan_without_rows_is_a_run(journal: Journal) -> None:
    """A run may have nothing to do."""
    await journal.open_run(a_run(), [])
    assert (list(journal.states(RUN)), journal.open_rows(RUN), journal.unfinished()) == ([], 0, [])


async def test_states_are_the_fold_of_the_steps(journal: Journal) -> None:
    """Each row's steps, in order, make its state; other rows' and other runs' steps do not."""
    await journal.open_run(a_run(), rows(3))
    await journal.open_run(a_run("other"), rows(3))
    steps = [
        a_step(Phase.ESCROWED, 1, generation=4),
        a_step(Phase.ARMED, 1, START + 1),
        a_step(Phase.IN_DOUBT, 1, START + 2, code="Timeout", message="no answer in 10 s \udfff"),
        a_step(Phase.REARMED, 1, START + 3),
        a_step(Phase.SETTLING, 1, START + 4, request_id="R-1"),
        a_step(Phase.PROVING, 1, START + 5, proof=Proof.SETTLED, detail="two looks"),
    ]
    for step in steps:
        await journal.step(RUN, step)
    await journal.step("other", a_step(Phase.FAILED, 1))
    assert list(journal.states(RUN)) == [
        (a_row(0), first_state(a_row(0))),
        (a_row(1), fold(first_state(a_row(1)), steps)),
        (a_row(2), first_state(a_row(2))),
    ]
    assert list(journal.steps(RUN)) == steps


async def test_states_of_an_unknown_run_are_none(journal: Journal) -> None:
    """Asking for what is not there is no error."""
    assert list(journal.states("nobody")) == []
    assert (journal.run("nobody"), journal.latest(), journal.open_rows("nobody")) == (None, None, 0)
    assert journal.counts("nobody") == Counter()
    assert (list(journal.steps("nobody")), journal.marks("nobody")) == ([], [])


async def test_marks_are_folded_into_the_run(journal: Journal) -> None:
    """A run is what was opened and all that happened to it, in order."""
    run = a_run()
    await journal.open_run(run, rows(1))
    marks = [
        Mark(type=MarkType.ACCOUNT_FAILED, at=START, account="eu", reason="InvalidAccessKeyId.NotFound"),
        Mark(type=MarkType.STOPPED, at=START + 1, stopped_by=StoppedBy.SIGNAL),
        Mark(type=MarkType.FINISHED, at=START + 2, exit_code=3),
        Mark(type=MarkType.RESUMED, at=START + 3),
        Mark(type=MarkType.PACED, at=START + 4, paces=(Pace(api="A", rate="9/1s", calls=5, throttled=1, allowed=4.5),)),
        Mark(type=MarkType.FINISHED, at=START + 4, exit_code=0),
        Mark(type=MarkType.CLOSED, at=START + 4),
        Mark(type=MarkType.NOTIFIED, at=START + 5, reason="d1"),
        Mark(type=MarkType.NOTIFIER_FAILED, at=START + 5, notifier=2, reason="was answered with 500"),
    ]
    expected = run
    for mark in marks:
        await journal.mark(RUN, mark)
        expected = expected.after(mark)
        assert journal.run(RUN) == expected
    assert journal.runs() == [expected]
    assert journal.marks(RUN) == marks
    assert expected.closed
    assert (expected.notified, expected.notifiers_failed) == ("d1", ((2, "was answered with 500"),))
    assert expected.after(marks[-2]).notifiers_failed == ()
    assert [pace.rate for pace in expected.paces] == ["9/1s"]
    assert expected.accounts_failed == (("eu", "InvalidAccessKeyId.NotFound"),)


async def test_runs_stand_in_the_order_in_which_they_were_opened(journal: Journal) -> None:
    """Not their ids nor their times decide; `latest` is the last, of a name if one is given."""
    for run_id, name in [("b", "one"), ("a", "two"), ("c", "one")]:
        await journal.open_run(a_run(run_id, name=name, started_at=START - ord(run_id)), [])
    assert [run.id for run in journal.runs()] == ["b", "a", "c"]
    assert [run and run.id for run in map(journal.latest, (None, "one", "two", "three"))] == ["c", "c", "a", None]


async def test_counts_are_what_a_report_would_say_and_add_up_to_the_plan(journal: Journal) -> None:
    """An open row counts as not_started or, once in doubt, as unresolved."""
    plan = [replace(row, verdict=Phase.SKIPPED) if row.seq == 0 else row for row in rows(6)]
    await journal.open_run(a_run(), plan)
    await walk(journal, RUN, 1, [Phase.ESCROWED, Phase.ARMED, Phase.SETTLING, Phase.PROVED, Phase.CHANGED])
    await walk(journal, RUN, 2, [Phase.ARMED, Phase.FAILED])
    await walk(journal, RUN, 3, [Phase.ARMED])
    await walk(journal, RUN, 4, [Phase.ARMED, Phase.WAITING])
    assert journal.counts(RUN) == {
        Outcome.SKIPPED: 1,
        Outcome.CHANGED: 1,
        Outcome.FAILED: 1,
        Outcome.UNRESOLVED: 1,
        Outcome.NOT_STARTED: 2,
    }
    assert journal.open_rows(RUN) == 3


@pytest.mark.parametrize("phase", Phase)
async def test_a_row_is_open_until_its_phase_is_terminal(journal: Journal, phase: Phase) -> None:
    """Open rows are those of no terminal phase, by their verdict or by their last step."""
    await journal.open_run(a_run(), [a_row(verdict=phase)])
    assert journal.open_rows(RUN) == (phase not in TERMINAL)
    await journal.open_run(a_run("walked"), [a_row()])
    await walk(journal, "walked", 0, [Phase.UNRESOLVED, phase])
    assert journal.open_rows("walked") == (phase not in TERMINAL)


async def test_unfinished_runs_are_not_closed_and_have_an_open_row(journal: Journal) -> None:
    """Finished in good order or not: while a row is open and nobody closed the run, it can be resumed."""
    for run_id in ("open", "done", "abandoned", "stopped"):
        await journal.open_run(a_run(run_id, name="two" if run_id == "stopped" else "one"), rows(1))
    await walk(journal, "done", 0, [Phase.ARMED, Phase.UNRESOLVED])
    await finish(journal, "abandoned", closed=True)
    await finish(journal, "stopped")
    assert [run.id for run in journal.unfinished()] == ["open", "stopped"]
    assert [run.id for run in journal.unfinished("two")] == ["stopped"]


async def test_what_is_left_of_all_runs(journal: Journal) -> None:
    """Those that are not closed or not finished, also when they were before; and whether a row of them is open."""
    for run_id in ("open", "settled", "ended", "again", "stopped"):
        await journal.open_run(a_run(run_id, name="two" if run_id == "settled" else "one"), rows(1))
    await walk(journal, "settled", 0, [Phase.ARMED, Phase.UNRESOLVED])
    await finish(journal, "stopped")
    await finish(journal, "ended", closed=True)
    await finish(journal, "again", closed=True)
    await journal.mark("again", Mark(type=MarkType.RESUMED, at=START, reason='"type":"finished"'))
    left = [(run.id, is_open) for run, is_open in journal.left()]
    assert left == [("open", True), ("settled", False), ("again", False), ("stopped", True)]
    assert [run.id for run, _ in journal.left("two")] == ["settled"]
    assert [run for run, _ in journal.left()] == [run for run in journal.runs() if run.id != "ended"]


async def test_all_runs_with_their_rows(journal: Journal) -> None:
    """As each of them says by itself; also one without a row."""
    for run_id, count in (("first", 3), ("none", 0), ("last", 1)):
        await journal.open_run(a_run(run_id), rows(count))
    await walk(journal, "first", 1, [Phase.ARMED, Phase.CHANGED])
    one_by_one = [(run, journal.counts(run.id), journal.open_rows(run.id)) for run in journal.runs()]
    assert journal.tallies() == one_by_one
    assert [open_rows for _, _, open_rows in one_by_one] == [2, 0, 1]


async def test_what_was_made_of_quotas_lately(journal: Journal) -> None:
    """Of every run, in the order in which it was said; nothing from before, and no other mark."""
    for run_id in ("one", "two"):
        await journal.open_run(a_run(run_id), rows(1))
    for at, run_id in enumerate(("one", "two", "one", "two")):
        pace = Pace(api=f"A{at}", rate="9/1s", calls=5, throttled=1, allowed=4.5)
        await journal.mark(run_id, Mark(type=MarkType.PACED, at=START + at, paces=(pace,)))
        await journal.mark(run_id, Mark(type=MarkType.CONTROLLED, at=START + at, reason='"type":"paced"'))
    assert [mark.paces[0].api for mark in journal.paced(START) if mark.paces] == ["A1", "A2", "A3"]
    assert len(journal.paced(START - 1)) == 4


@pytest.mark.parametrize("phase", Phase)
async def test_doubtful_rows_are_those_that_may_have_been_changed(journal: Journal, phase: Phase) -> None:
    """The last phase decides, in every run, closed ones too; each comes with its run and its folded state."""
    for run_id in ("first", "second"):
        await journal.open_run(a_run(run_id), rows(3))
        await walk(journal, run_id, 1, [Phase.ARMED, Phase.IN_DOUBT, phase])
        await walk(journal, run_id, 2, [Phase.ARMED, Phase.CHANGED])
    await finish(journal, "first", closed=True)
    steps = [a_step(p, 1, START + n) for n, p in enumerate([Phase.ARMED, Phase.IN_DOUBT, phase])]
    state = fold(first_state(a_row(1)), steps)
    expected = [(journal.run(run_id), a_row(1), state) for run_id in ("first", "second")]
    assert list(journal.doubtful()) == (expected if phase in DOUBTFUL else [])


@pytest.mark.parametrize(("finished", "since"), [(False, 0.5), (True, 0.5), (False, 1.5), (True, 1.5)])
async def test_a_proved_row_is_doubtful_while_a_copy_of_it_may_land(
    journal: Journal, finished: bool, since: float
) -> None:
    """An attempt armed after `since` had no answer, and a later one was proved; one that was answered is certain."""
    await journal.open_run(a_run(), rows(2))
    await walk(
        journal, RUN, 0, [Phase.PLANNED, Phase.ARMED, Phase.IN_DOUBT, Phase.REARMED, Phase.SETTLING, Phase.CHANGED]
    )
    await walk(journal, RUN, 1, [Phase.PLANNED, Phase.ARMED, Phase.SETTLING, Phase.CHANGED])
    if finished:
        await finish(journal, RUN, closed=True)
    found = [row.seq for _, row, _ in journal.doubtful(START + since)]
    assert found == ([0] if since < 1 else [])
    assert list(journal.doubtful()) == []


def test_every_phase_is_doubtful_or_certain() -> None:
    """Whatever is open and may be live is looked at again; unresolved is the one terminal phase among them."""
    assert frozenset(Phase) - TERMINAL - NO_DOUBT | {Phase.UNRESOLVED} == DOUBTFUL


async def changed(journal: Journal, run_id: str, seq: int, begun: float, ended: float) -> None:
    """The row is armed and ends changed, so many seconds after the start."""
    await journal.step(run_id, a_step(Phase.ARMED, seq, START + begun))
    await journal.step(run_id, a_step(Phase.SETTLING, seq, START + begun + 0.5))
    await journal.step(run_id, a_step(Phase.CHANGED, seq, START + ended))


async def test_the_last_changes_of_each_kind_tell_how_long_they_took(journal: Journal) -> None:
    """As they ended, over all runs, oldest first; whatever ended otherwise does not count, nor what is still open."""
    kinds = [Kind.PASSWORD, Kind.TDE, Kind.PASSWORD, Kind.PASSWORD, Kind.PASSWORD, Kind.PASSWORD, Kind.ATTRIBUTES]
    plan = [a_row(seq, kind=kind) for seq, kind in enumerate(kinds)]
    assert journal.recent_seconds(100) == {}
    for run_id in ("first", "second"):
        await journal.open_run(a_run(run_id), plan)
    await changed(journal, "second", 0, 1, 3.2504)
    await changed(journal, "first", 1, 0, 90)
    await changed(journal, "first", 2, 1, 8)
    await walk(journal, "first", 3, [Phase.ARMED, Phase.FAILED])
    await walk(journal, "first", 4, [Phase.ARMED, Phase.UNRESOLVED])
    await walk(journal, "first", 5, [Phase.ARMED, Phase.SETTLING])
    await walk(journal, "first", 6, [Phase.UNCHANGED])
    await changed(journal, "second", 3, 2, 4)
    assert journal.recent_seconds(100) == {Kind.PASSWORD: [2.25, 7, 2], Kind.TDE: [90]}
    assert journal.recent_seconds(2) == {Kind.PASSWORD: [7, 2], Kind.TDE: [90]}


async def test_a_row_that_a_run_was_resumed_over_tells_nothing(journal: Journal) -> None:
    """Nobody worked on it meanwhile. It takes no place among the last; one never sent has no length."""
    await journal.open_run(a_run(), rows(6))
    await changed(journal, RUN, 0, 0, 5)
    await journal.step(RUN, a_step(Phase.ARMED, 1, START + 1))
    await journal.step(RUN, a_step(Phase.ARMED, 2, START + 2))
    await journal.mark(RUN, Mark(type=MarkType.RESUMED, at=START + 3600))
    await journal.step(RUN, a_step(Phase.CHANGED, 1, START + 3601))
    await journal.mark(RUN, Mark(type=MarkType.RESUMED, at=START + 7200))
    await journal.step(RUN, a_step(Phase.CHANGED, 2, START + 7201))
    await changed(journal, RUN, 3, 7300, 7304)
    await journal.step(RUN, a_step(Phase.CHANGED, 4, START + 7305))
    assert journal.recent_seconds(2) == {Kind.PASSWORD: [5, 4]}
    assert journal.recent_seconds(1) == {Kind.PASSWORD: [4]}


async def test_many_writers_at_once_lose_nothing(journal: Journal) -> None:
    """Each row's steps stay in the order in which they were awaited."""
    await journal.open_run(a_run(), rows(64))
    phases = [Phase.ESCROWED, Phase.ARMED, Phase.IN_DOUBT, Phase.REARMED, Phase.SETTLING, Phase.CHANGED]
    async with asyncio.TaskGroup() as group:
        for seq in range(64):
            group.create_task(walk(journal, RUN, seq, phases))
    states = [state for _, state in journal.states(RUN)]
    one = fold(RowState(phase=Phase.PLANNED), [a_step(phase, at=START + n) for n, phase in enumerate(phases)])
    assert states == [one] * 64


async def test_a_note_keeps_its_place_and_is_there_when_a_later_step_is(journal: Journal) -> None:
    """Noted and awaited steps stay in the order in which they were said; so does a note before a mark."""
    await journal.open_run(a_run(), rows(2))
    phases = [Phase.ESCROWED, Phase.ARMED, Phase.IN_DOUBT, Phase.REARMED, Phase.SETTLING, Phase.CHANGED]
    for number, phase in enumerate(phases[:-1]):
        journal.note(RUN, a_step(phase, 0, START + number))
        if phase is Phase.IN_DOUBT:
            await journal.step(RUN, a_step(Phase.SKIPPED, 1))
    await journal.step(RUN, a_step(Phase.CHANGED, 0, START + 5))
    steps = [a_step(phase, at=START + n) for n, phase in enumerate(phases)]
    assert next(journal.states(RUN)) == (a_row(0), fold(first_state(a_row(0)), steps))
    journal.note(RUN, a_step(Phase.FAILED, 1))
    await journal.mark(RUN, Mark(type=MarkType.CLOSED, at=START))
    assert journal.counts(RUN) == {Outcome.CHANGED: 1, Outcome.FAILED: 1}


async def test_a_note_is_written_before_the_journal_is_closed(journal: Journal) -> None:
    """Nobody has to wait for it."""
    await journal.open_run(a_run(), rows(1))
    journal.note(RUN, a_step(Phase.CHANGED))
    journal.close()
    assert journal.open_rows(RUN) == 0


async def test_a_cancelled_waiter_loses_no_record(journal: Journal) -> None:
    """What was asked to be written is, and the others of the batch are answered."""
    await journal.open_run(a_run(), rows(2))
    impatient = asyncio.ensure_future(journal.step(RUN, a_step(Phase.ARMED, 0)))
    patient = asyncio.ensure_future(journal.step(RUN, a_step(Phase.ARMED, 1)))
    while not impatient.done():
        await asyncio.sleep(0)
        impatient.cancel()
    await patient
    assert [state.phase for _, state in journal.states(RUN)] == [Phase.ARMED, Phase.ARMED]
    await journal.step(RUN, a_step(Phase.FAILED, 0))


async def test_reading_goes_on_while_it_is_written(journal: Journal) -> None:
    """An iteration shows one moment, whatever is written during it."""
    await journal.open_run(a_run(), rows(3))
    states = journal.states(RUN)
    assert next(states)[1].phase is Phase.PLANNED
    await journal.step(RUN, a_step(Phase.ARMED, 2))
    assert [state.phase for _, state in states] == [Phase.PLANNED, Phase.PLANNED]
    assert [state.phase for _, state in journal.states(RUN)][2] is Phase.ARMED


async def test_what_names_nothing_is_refused_and_breaks_nothing(journal: Journal) -> None:
    """An unknown run, a row outside the plan, a run opened twice and a gap in the rows are errors of their caller."""
    await journal.open_run(a_run(), rows(2))
    with pytest.raises(JournalError, match="no run nobody"):
        await journal.step("nobody", a_step(Phase.ARMED))
    with pytest.raises(JournalError, match="no run nobody"):
        await journal.mark("nobody", Mark(type=MarkType.CLOSED, at=START))
    for seq in (-1, 2):
        with pytest.raises(JournalError, match=f"no row {seq}"):
            await journal.step(RUN, a_step(Phase.ARMED, seq))
        with pytest.raises(JournalError, match=f"no row {seq}"):
            journal.note(RUN, a_step(Phase.ARMED, seq))
    with pytest.raises(JournalError, match="already"):
        await journal.open_run(a_run(), rows(1))
    with pytest.raises(JournalError, match=r"row 1 .* place 0"):
        await journal.open_run(a_run("gap"), [a_row(1)])
    await journal.step(RUN, a_step(Phase.ARMED, 1))
    assert [state.phase for _, state in journal.states(RUN)] == [Phase.PLANNED, Phase.ARMED]
    assert [run.id for run in journal.runs()] == [RUN]


async def test_a_closed_journal_takes_nothing_more(journal: Journal) -> None:
    """After close every write is refused; what is there can still be read, and closing again is fine."""
    await journal.open_run(a_run(), rows(1))
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.step(RUN, a_step(Phase.ARMED))
    with pytest.raises(JournalError, match="closed"):
        journal.note(RUN, a_step(Phase.ARMED))
    with pytest.raises(JournalError, match="closed"):
        await journal.mark(RUN, Mark(type=MarkType.CLOSED, at=START))
    with pytest.raises(JournalError, match="closed"):
        await journal.open_run(a_run("late"), [])
    journal.close()
    assert journal.open_rows(RUN) == 1
