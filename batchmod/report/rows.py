"""One row of a report: what the contract shows of a planned row and its state. Pure."""

from typing import Final, NamedTuple

from batchmod.model.events import Kind, Outcome
from batchmod.model.plan import PlannedRow, Value
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.report.layout import moment


class ReportRow(NamedTuple):
    """The columns in the contract's order; None is an empty cell. Never holds a password."""

    run_id: str
    account: str
    account_id: str | None  # None when nobody could tell it
    region: str
    instance_id: str
    instance_name: str | None  # as the plan read it
    login: str
    change: str
    wave: int | None  # from 1
    outcome: Outcome
    proof: str | None  # only of a changed row
    attempts: int
    error_code: str | None
    error_message: str | None
    detail: str | None
    request_id: str | None
    secret_ref: str | None  # <store>:<account id>/<region>/<id>#<generation>
    started_at: str | None  # RFC 3339, UTC, milliseconds: the first attempt
    finished_at: str | None
    seconds: float | None  # between the two, to 3 decimals


COLUMNS: Final = ReportRow._fields


def report_row(run: Run, planned: PlannedRow, state: RowState, *, store: str = "embedded") -> ReportRow:
    """What the report of `run` says of a row; `store` is the secret store's name."""
    outcome = state.outcome
    begun, ended = state.started_at, state.finished_at
    return ReportRow(
        run_id=run.id,
        account=planned.account,
        account_id=planned.account_id or None,
        region=planned.region,
        instance_id=planned.instance_id,
        instance_name=planned.instance_name,
        login=planned.login,
        change=planned.kind.value,
        wave=planned.wave,
        outcome=outcome,
        proof=state.proof.value if state.proof and outcome is Outcome.CHANGED else None,
        attempts=state.attempts,
        error_code=state.code,
        error_message=state.message,
        detail=_detail(run, planned, state),
        request_id=state.request_id,
        secret_ref=_secret_ref(planned, state, store),
        started_at=None if begun is None else moment(begun),
        finished_at=None if ended is None else moment(ended),
        seconds=seconds_of(state),
    )


def seconds_of(state: RowState) -> float | None:
    """From the first attempt to the last word; None without one of the two."""
    if state.started_at is None or state.finished_at is None:
        return None
    return round(state.finished_at - state.started_at, 3)


def differences(planned: PlannedRow) -> str:
    """What the row changes: `old → new` of a name, then `what: old → new` of everything else that can be read back."""
    return "; ".join(
        f"{'' if name == 'name' else name.replace('_', ' ') + ': '}{_shown(planned.before.get(name))} → {_shown(value)}"
        for name, value in planned.after.items()
        if value != planned.before.get(name)
    )


def _detail(run: Run, planned: PlannedRow, state: RowState) -> str | None:
    done = differences(planned) if planned.kind is Kind.ATTRIBUTES and state.outcome is Outcome.CHANGED else ""
    return "; ".join(text for text in (done, state.detail, _why_open(run, state)) if text) or None


def _why_open(run: Run, state: RowState) -> str | None:
    """Why a row has no last word of its own."""
    if not state.is_open:
        return None
    if run.closed:
        return "the run was abandoned"
    return f"the run was stopped: {run.stopped_by}" if run.stopped_by else None


def _secret_ref(planned: PlannedRow, state: RowState, store: str) -> str | None:
    if planned.kind is not Kind.PASSWORD or state.generation is None:
        return None
    return f"{store}:{planned.key}#{state.generation}"


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value or "(none)"
