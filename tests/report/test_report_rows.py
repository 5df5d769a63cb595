"""One row of a report, column by column."""

from dataclasses import replace

import pytest
from journal_records import START, a_row, a_run, a_step

from batchmod.journal.store import first_state
from batchmod.model.events import Kind, Outcome, Phase, Proof, StoppedBy, outcome_of
from batchmod.model.record import RowState, fold
from batchmod.report.rows import COLUMNS, report_row


def test_the_columns_are_the_contract() -> None:
    """Their names and their order are what programs read."""
    assert ", ".join(COLUMNS) == (
        "run_id, account, account_id, region, instance_id, instance_name, login, change, wave, outcome, proof, "
        "attempts, error_code, error_message, detail, request_id, secret_ref, started_at, finished_at, seconds"
    )


def test_a_changed_password_has_everything_but_the_password() -> None:
    """Proof, generation, request and times are those of the journal."""
    row = a_row()
    state = fold(
        first_state(row),
        [
            a_step(Phase.ESCROWED, generation=7),
            a_step(Phase.ARMED, at=START),
            a_step(Phase.SETTLING, at=START + 1, request_id="R-9"),
            a_step(Phase.CHANGED, at=START + 2.5004, proof=Proof.SETTLED, detail="Normal for 60 s"),
        ],
    )
    shown = report_row(a_run(), row, state, store="openbao")
    assert {name: getattr(shown, name) for name in COLUMNS} == {
        "run_id": "20260304T050607Z-1a2b",
        "account": "prod",
        "account_id": "1234567890123456",
        "region": "cn-hangzhou",
        "instance_id": "r-bp0000",
        "instance_name": "cache-0",
        "login": "r-bp0000",
        "change": "password",
        "wave": 1,
        "outcome": "changed",
        "proof": "settled",
        "attempts": 1,
        "error_code": None,
        "error_message": None,
        "detail": "Normal for 60 s",
        "request_id": "R-9",
        "secret_ref": "openbao:1234567890123456/cn-hangzhou/r-bp0000#7",
        "started_at": "2026-03-04T05:06:07.250Z",
        "finished_at": "2026-03-04T05:06:09.750Z",
        "seconds": 2.5,
    }


def test_changed_attributes_say_old_and_new() -> None:
    """A name as it is, everything else by its name; what the run noted follows."""
    row = a_row(
        kind=Kind.ATTRIBUTES,
        before={"name": "old", "release_protection": False},
        after={"name": "new", "release_protection": True},
    )
    state = RowState(phase=Phase.CHANGED, proof=Proof.READ_BACK)
    assert report_row(a_run(), row, state).detail == "old → new; release protection: off → on"
    noted = RowState(phase=Phase.CHANGED, detail="after a lost reply")
    assert report_row(a_run(), row, noted).detail == "old → new; release protection: off → on; after a lost reply"
    unnamed = a_row(kind=Kind.ATTRIBUTES, before={"name": None}, after={"name": "new"})
    assert report_row(a_run(), unnamed, state).detail == "(none) → new"


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.CHANGED}))
def test_only_a_changed_row_claims_proof_and_new_values(phase: Phase) -> None:
    """Whatever is not changed has no proof, and its detail is why."""
    row = a_row(kind=Kind.ATTRIBUTES, before={"name": "old"}, after={"name": "new"})
    state = RowState(phase=phase, proof=Proof.ACCEPTED, detail="why")
    shown = report_row(a_run(), row, state)
    assert (shown.proof, shown.detail, shown.outcome) == (None, "why", outcome_of(phase))


def test_what_the_plan_refused_has_its_reason_and_no_times() -> None:
    """Nothing was sent: no attempt, no wave, no seconds."""
    row = a_row(verdict=Phase.SKIPPED, wave=None, reason="TDE is on already", error_code="X", instance_name=None)
    shown = report_row(a_run(), row, first_state(row))
    assert (shown.outcome, shown.detail, shown.error_code) == (Outcome.SKIPPED, "TDE is on already", "X")
    empty = (shown.wave, shown.instance_name, shown.started_at, shown.finished_at, shown.seconds, shown.secret_ref)
    assert empty == (None,) * 6
    assert shown.attempts == 0


@pytest.mark.parametrize("kind", [Kind.ATTRIBUTES, Kind.TDE])
def test_only_a_password_has_a_secret(kind: Kind) -> None:
    """Other kinds never refer to the store, nor does a password that was never escrowed."""
    state = RowState(phase=Phase.CHANGED, generation=1)
    assert report_row(a_run(), a_row(kind=kind), state).secret_ref is None
    assert report_row(a_run(), a_row(), RowState(phase=Phase.PLANNED)).secret_ref is None


def test_an_open_row_has_begun_and_not_ended() -> None:
    """It has its last error, and counts as unresolved once it is in doubt."""
    row = a_row()
    steps = [a_step(Phase.ARMED), a_step(Phase.IN_DOUBT, at=START + 1, code="Timeout", message="no answer")]
    shown = report_row(a_run(), row, fold(first_state(row), steps))
    assert (shown.outcome, shown.error_code, shown.error_message) == ("unresolved", "Timeout", "no answer")
    assert (shown.started_at, shown.finished_at, shown.seconds) == ("2026-03-04T05:06:07.250Z", None, None)


def test_an_open_row_says_why_it_has_no_last_word() -> None:
    """The run was abandoned or stopped; one that simply goes on says nothing, one that has ended has its own."""
    state = fold(first_state(a_row()), [a_step(Phase.WAITING, detail="busy")])
    assert report_row(a_run(), a_row(), state).detail == "busy"
    stopped = replace(a_run(), stopped_by=StoppedBy.SIGNAL)
    assert report_row(stopped, a_row(), first_state(a_row())).detail == "the run was stopped: signal"
    assert report_row(replace(stopped, closed=True), a_row(), state).detail == "busy; the run was abandoned"
    ended = fold(first_state(a_row()), [a_step(Phase.FAILED, detail="no")])
    assert report_row(replace(stopped, closed=True), a_row(), ended).detail == "no"
