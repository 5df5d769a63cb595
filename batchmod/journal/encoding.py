"""The journal's records as one line of JSON each, and back. Pure: no database, no clock.

ASCII only, so that any text the service sends, lone surrogates too, is stored and comes back as it was.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from batchmod.errors import JournalError
from batchmod.model.events import Kind, Phase, Proof, StoppedBy
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Mark, MarkType, Run, Step

Record = Run | PlannedRow | Step | Mark

_FIELDS: Mapping[type[Record], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (Run, PlannedRow, Step, Mark)
}


def encode(record: Record) -> str:
    """Every field that says something; `run_of` and its kin give an equal record back."""
    names = _FIELDS[type(record)]
    known = {name: value for name in names if (value := getattr(record, name)) is not None}
    return json.dumps(known, default=dict, separators=(",", ":"))


def run_of(text: str) -> Run:
    """The run as it was opened. Raises JournalError for what is none."""
    data = _object(text)
    try:
        data["stopped_by"] = StoppedBy(data["stopped_by"]) if "stopped_by" in data else None
        data["accounts_failed"] = tuple((account, reason) for account, reason in data["accounts_failed"])
        data["resumed_at"] = tuple(data.get("resumed_at", ()))
        return Run(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("run", error) from error


def row_of(text: str) -> PlannedRow:
    """The planned row. Raises JournalError for what is none."""
    data = {"instance_name": None, "wave": None} | _object(text)
    try:
        data |= {"kind": Kind(data["kind"]), "verdict": Phase(data["verdict"])}
        return PlannedRow(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("row", error) from error


def step_of(text: str) -> Step:
    """The step. Raises JournalError for what is none."""
    data = _object(text)
    try:
        data["phase"] = Phase(data["phase"])
        data["proof"] = Proof(data["proof"]) if "proof" in data else None
        return Step(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("step", error) from error


def mark_of(text: str) -> Mark:
    """The mark. Raises JournalError for what is none."""
    data = _object(text)
    try:
        data["type"] = MarkType(data["type"])
        data["stopped_by"] = StoppedBy(data["stopped_by"]) if "stopped_by" in data else None
        return Mark(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("mark", error) from error


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _unreadable("record", error) from error
    if not isinstance(data, dict):
        raise JournalError("the journal holds a record that cannot be read: it is no JSON object")
    return data


def _unreadable(what: str, error: Exception) -> JournalError:
    return JournalError(f"the journal holds a {what} that cannot be read: {type(error).__name__}: {error}")
