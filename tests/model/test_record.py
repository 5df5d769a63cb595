"""What the fold of a row's steps keeps, whatever fields a state has."""

from journal_records import a_row, a_run

from batchmod.model.events import Phase, Proof
from batchmod.model.pace import Pace, Remembered, found_in
from batchmod.model.record import RowState, Step, first_state, first_states
from batchmod.model.runs import Mark, MarkType
from batchmod.model.values import Rate

KNOWN = RowState(
    phase=Phase.ARMED,
    attempts=3,
    last_armed=2.0,
    doubted=1.5,
    started_at=1.0,
    finished_at=9.0,
    code="TaskExists",
    message="busy",
    request_id="request",
    detail="a → b",
    proof=Proof.ACCEPTED,
    generation=7,
)


def test_a_step_that_says_nothing_changes_phase_and_end_alone() -> None:
    """No field of a state is forgotten: all but the end of the row stays, as nothing else was said."""
    after = KNOWN.after(Step(seq=0, phase=Phase.WAITING, at=5.0))
    changed = {name for name in RowState._fields if getattr(after, name) != getattr(KNOWN, name)}
    assert changed == {"phase", "finished_at"}
    defaults = RowState._field_defaults
    assert all(getattr(KNOWN, name) not in {None, defaults.get(name)} for name in RowState._fields)


def test_before_its_first_step_a_row_is_what_the_plan_said() -> None:
    """Verdict, reason and code of the plan, and nothing more."""
    row = a_row(verdict=Phase.FAILED, reason="not found", error_code="InvalidInstanceId.NotFound")
    known = RowState(phase=Phase.FAILED, detail="not found", code="InvalidInstanceId.NotFound")
    assert first_state(row) == known
    assert first_states([a_row(0), row]) == [(a_row(0), RowState(phase=Phase.PLANNED)), (row, known)]
    assert first_state(a_row(0)) is first_state(a_row(1))  # what is the same of a hundred thousand rows is kept once


def paced(at: float, calls: int, *, found: bool, rate: str = "50/1m") -> Mark:
    pace = Pace(
        account_id="1", region="cn-hangzhou", api="A", rate=rate, found=found, found_at=at, calls=calls, throttled=1,
        allowed=10.0,
    )  # fmt: skip
    return Mark(type=MarkType.PACED, at=at, paces=(pace,))


def test_what_every_process_made_of_a_quota_adds_up() -> None:
    """And the last one's rate stands."""
    run = a_run().after(paced(1.0, 5, found=True)).after(paced(2.0, 11, found=False, rate="200/1m"))
    (pace,) = run.paces
    assert (pace.rate, pace.found, pace.calls, pace.throttled, pace.used) == ("200/1m", False, 16, 2, 0.7)
    assert run.paced_at == 2.0


def test_what_was_found_is_remembered_for_a_week_or_until_it_is_refuted() -> None:
    """Since the service said so, however often it was begun with; the latest run that called the API decides."""
    found, refuted = (a_run().after(paced(0.0, 5, found=yes)).paces for yes in (True, False))
    key, rate = ("1", "cn-hangzhou", "A"), Remembered(Rate(calls=50, period=60.0), 0.0)
    assert found_in([found], now=7 * 86400.0) == {key: rate}
    assert found_in([found, found], now=7 * 86400.0 + 1) == {}
    assert found_in([found, refuted], now=2.0) == {}
    assert found_in([refuted, found], now=2.0) == {key: rate}
