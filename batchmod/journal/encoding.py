"""The journal's records as one line of JSON each, and back. Pure: no database, no clock.

ASCII only, so that any text the service sends, lone surrogates too, is stored and comes back as it was.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter
from typing import Any, Final, cast

from batchmod.errors import JournalError
from batchmod.model.events import Kind, Phase, Proof, StoppedBy
from batchmod.model.pace import Pace
from batchmod.model.plan import PlannedRow
from batchmod.model.planrow import share
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType, Run

Record = Run | PlannedRow | Step | Mark

_FIELDS: Final[Mapping[type[Run | PlannedRow | Mark], tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (Run, PlannedRow, Mark)
}
_VALUES: Final = {kind: attrgetter(*names) for kind, names in _FIELDS.items()}

_QUOTED: Final = {phase: quoted(phase) for phase in Phase}
_PHASES: Final = {phase.value: phase for phase in Phase}  # a third of the time that an enum's own look-up takes
_PROOFS: Final[Mapping[str | None, Proof | None]] = {None: None, **{proof.value: proof for proof in Proof}}
_KINDS: Final = {kind.value: kind for kind in Kind}


def _plain(value: object) -> dict[str, Any]:
    return asdict(value) if isinstance(value, Pace) else dict(cast("Mapping[str, Any]", value))


_JSON: Final = json.JSONEncoder(default=_plain, separators=(",", ":")).encode


CLOSED, FINISHED, PACED, RESUMED = (
    f'"type":"{of}"' for of in (MarkType.CLOSED, MarkType.FINISHED, MarkType.PACED, MarkType.RESUMED)
)
"""What an encoded mark of each type holds, and no text of another one can: a quote inside of a text is escaped."""


def encode(record: Record) -> str:
    """Every field that says something; `run_of` and its kin give an equal record back."""
    if isinstance(record, Step):
        return _encoded(record)
    kind = type(record)
    known = zip(_FIELDS[kind], _VALUES[kind](record), strict=True)
    return _JSON({name: value for name, value in known if value is not None})


def _encoded(step: Step) -> str:
    """What `_JSON` would give, in less than half of its time: steps are written while requests wait."""
    seq, phase, at, code, message, request_id, detail, proof, generation = step
    text = f'{{"seq":{seq},"phase":{_QUOTED[phase]},"at":{at!r}'
    if code is not None:
        text += f',"code":{quoted(code)}'
    if message is not None:
        text += f',"message":{quoted(message)}'
    if request_id is not None:
        text += f',"request_id":{quoted(request_id)}'
    if detail is not None:
        text += f',"detail":{quoted(detail)}'
    if proof is not None:
        text += f',"proof":{quoted(proof)}'
    return text + ("}" if generation is None else f',"generation":{generation}}}')


def run_of(text: str) -> Run:
    """The run as it was opened. Raises JournalError for what is none."""
    data = _object(text)
    try:
        data["stopped_by"] = StoppedBy(data["stopped_by"]) if "stopped_by" in data else None
        data["accounts_failed"] = tuple((account, reason) for account, reason in data["accounts_failed"])
        data["paces"] = tuple(Pace(**pace) for pace in data.get("paces", ()))
        data["resumed_at"] = tuple(data.get("resumed_at", ()))
        data["consumed"] = tuple(data.get("consumed", (0, 0)))
        data["consumers_failed"] = tuple(tuple(one) for one in data.get("consumers_failed", ()))
        data["notifiers_failed"] = tuple(tuple(one) for one in data.get("notifiers_failed", ()))
        return Run(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("run", error) from error


def row_of(text: str) -> PlannedRow:
    """The planned row. Raises JournalError for what is none."""
    return history_of(text, ())[0]


def history_of(row: str, steps: Iterable[str]) -> tuple[PlannedRow, list[Step]]:
    """A planned row and its steps. Raises JournalError when one of them is none."""
    texts = [row, *steps]
    try:
        joined = f"[{','.join(texts)}]"  # to be read at once: half the time of one by one
    except TypeError as error:  # a damaged file gives back what is no text
        raise _unreadable("row", error) from error
    data = _loaded(joined)
    if len(data) != len(texts):
        raise JournalError("the journal holds records that cannot be read: they are not whole")
    try:
        return _row(data[0]), [_step(one) for one in data[1:]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable("row", error) from error


def _row(data: dict[str, Any]) -> PlannedRow:
    share(data)
    data["kind"], data["verdict"] = _KINDS[data["kind"]], _PHASES[data["verdict"]]
    return PlannedRow(**{"instance_name": None, "wave": None} | data)


def _step(data: dict[str, Any]) -> Step:
    data["phase"], data["proof"] = _PHASES[data["phase"]], _PROOFS[data.get("proof")]
    return Step(**data)


def step_of(text: str) -> Step:
    """The step. Raises JournalError for what is none."""
    data = _object(text)
    try:
        return _step(data)
    except (KeyError, TypeError) as error:
        raise _unreadable("step", error) from error


def phase_of(text: str) -> Phase:
    """The phase. Raises JournalError for what is none."""
    try:
        return Phase(text)
    except ValueError as error:
        raise _unreadable("phase", error) from error


def mark_of(text: str) -> Mark:
    """The mark. Raises JournalError for what is none."""
    data = _object(text)
    try:
        data["type"] = MarkType(data["type"])
        data["stopped_by"] = StoppedBy(data["stopped_by"]) if "stopped_by" in data else None
        data["paces"] = tuple(Pace(**pace) for pace in data["paces"]) if "paces" in data else None
        return Mark(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("mark", error) from error


def _object(text: str) -> dict[str, Any]:
    data = _loaded(text)
    if not isinstance(data, dict):
        raise JournalError("the journal holds a record that cannot be read: it is no JSON object")
    return data


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise _unreadable("record", error) from error


def _unreadable(what: str, error: Exception) -> JournalError:
    return JournalError(f"the journal holds a {what} that cannot be read: {type(error).__name__}: {error}")
