"""What the fold of a row's steps keeps, whatever fields a state has."""

from dataclasses import fields

from journal_records import a_row

from batchmod.model.events import Phase, Proof
from batchmod.model.record import RowState, Step, first_state, first_states

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
    changed = {field.name for field in fields(RowState) if getattr(after, field.name) != getattr(KNOWN, field.name)}
    assert changed == {"phase", "finished_at"}
    assert all(getattr(KNOWN, field.name) not in {None, field.default} for field in fields(RowState))


def test_before_its_first_step_a_row_is_what_the_plan_said() -> None:
    """Verdict, reason and code of the plan, and nothing more."""
    row = a_row(verdict=Phase.FAILED, reason="not found", error_code="InvalidInstanceId.NotFound")
    known = RowState(phase=Phase.FAILED, detail="not found", code="InvalidInstanceId.NotFound")
    assert first_state(row) == known
    assert first_states([a_row(0), row]) == [(a_row(0), RowState(phase=Phase.PLANNED)), (row, known)]
    assert first_state(a_row(0)) is first_state(a_row(1))  # what is the same of a hundred thousand rows is kept once
