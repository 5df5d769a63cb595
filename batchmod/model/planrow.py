"""A planned row as JSON, and back. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from sys import intern
from typing import Any, Final

from batchmod.model.events import Kind, Phase
from batchmod.model.plan import NO_VALUES, PlannedRow

_FIELDS: Final = tuple(field.name for field in fields(PlannedRow) if field.name != "kind")
_KEYS: Final = frozenset({*_FIELDS, "change"})
_ALWAYS: Final = ("account", "region", "instance_id", "login")
_VALUES: Final = ("before", "after")
_NUMBERS: Final = ("seq", "wave")
_FEW: Final = ("account", "account_id", "region", "engine_version", "status", "group", "reason", "error_code")
_MAYBE: Final = tuple(name for name in _FIELDS if name not in {*_ALWAYS, *_VALUES, *_NUMBERS, "verdict"})


def row_data(row: PlannedRow) -> dict[str, Any]:
    """Every field of the row, as values for JSON; the kind is called `change`, as in a report."""
    known = {name: getattr(row, name) for name in _FIELDS}
    return known | {"account_id": row.account_id or None, "change": row.kind}


def share(data: dict[str, Any]) -> None:
    """What is the same in many rows is kept once for all: the few different texts, and that nothing is changed."""
    for name in _FEW:
        if isinstance(text := data.get(name), str):
            data[name] = intern(text)
    for name in _VALUES:
        data[name] = data[name] or NO_VALUES
    if data["login"] == data["instance_id"]:
        data["login"] = data["instance_id"]


def row_of(data: Mapping[str, Any]) -> PlannedRow:
    """The row that `row_data` gave this of. Raises ValueError for anything else."""
    if not isinstance(data, dict) or data.keys() != _KEYS or not _typed(data):
        raise ValueError("not a planned row")
    known = {name: data[name] for name in _FIELDS}
    known |= {"account_id": data["account_id"] or "", "verdict": Phase(data["verdict"])}
    share(known)
    return PlannedRow(**known, kind=Kind(data["change"]))


def _typed(data: Mapping[str, Any]) -> bool:
    return (
        all(isinstance(data[name], str) for name in _ALWAYS)
        and all(isinstance(data[name], str | None) for name in _MAYBE)
        and isinstance(data["seq"], int)
        and isinstance(data["wave"], int | None)
        and all(isinstance(data[name], dict) for name in _VALUES)
        and all(isinstance(value, str | bool | None) for name in _VALUES for value in data[name].values())
    )
