"""One instance's secret as a KV document: what applications read, and all generations beside it. Pure.

The keys `password`, `login` and `generation` are of the current generation, and are not there before the first proof: a
pending password never stands where an application looks. All generations are below `batchmod`. Other keys are somebody
else's, and stay as they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batchmod.errors import NoPlaceError, StoreConflict
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.store import Moves, at_stage, refuse_second_pending

OURS = "batchmod"
SCHEMA = 1
MARGIN = 64 * 1024  # bytes by which what is there may grow as it moves
LARGEST = 512 * 1024  # bytes: OpenBao's storage takes an entry of 1 MiB
_SHOWN = ("password", "login", "generation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A generation and its value."""

    record: Generation
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is stored of one instance, oldest generation first. `foreign`: keys that are not ours."""

    entries: tuple[Entry, ...] = ()
    foreign: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def stages(self) -> tuple[Generation, ...]:
        return tuple(each.record for each in self.entries)

    def find(self, generation: int) -> Entry | None:
        return next((each for each in self.entries if each.record.generation == generation), None)

    def pending(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str, now: float) -> "Document":
        """With a new pending generation, the last of `entries`. StoreConflict when there is one already."""
        refuse_second_pending(self.stages)
        number = 1 + max((each.generation for each in self.stages), default=0)
        record = Generation(
            key=key, generation=number, stage=Stage.PENDING, login=login, run_id=run_id, created_at=now, updated_at=now
        )
        return replace(self, entries=(*self.entries, Entry(record=record, secret=secret)))

    def moved(self, moves: Moves, *, now: float) -> "Document":
        """With these generations at their new stages."""
        stage_of = dict(moves)
        entries = tuple(
            replace(each, record=replace(each.record, stage=stage_of[each.record.generation], updated_at=now))
            if each.record.generation in stage_of
            else each
            for each in self.entries
        )
        return replace(self, entries=entries)

    def inserted(self, record: Generation, secret: Secret) -> "Document":
        """With this record as it is; itself when it is there already. StoreConflict when its place is taken."""
        there = self.find(record.generation)
        if there is not None and there.record.stage is record.stage and there.secret == secret:
            return self
        if there is not None:
            raise StoreConflict(f"{record.key}: generation {record.generation} is stored already, and is another")
        if record.stage is not Stage.CANDIDATE and at_stage(self.stages, record.stage):
            raise StoreConflict(f"{record.key}: a {record.stage.value} password is stored already")
        entries = sorted((*self.entries, Entry(record=record, secret=secret)), key=lambda each: each.record.generation)
        return replace(self, entries=tuple(entries))

    def without(self, generation: int) -> "Document":
        return replace(self, entries=tuple(each for each in self.entries if each.record.generation != generation))

    def fields(self, key: InstanceKey) -> dict[str, Any]:
        """As it is stored. StoreError when it is too large to be safe."""
        current = next((each for each in self.entries if each.record.stage is Stage.CURRENT), None)
        shown = {} if current is None else dict(zip(_SHOWN, _shown(current), strict=True))
        own = {
            "schema": SCHEMA,
            "account_id": key.account_id,
            "region": key.region,
            "instance_id": key.instance_id,
            "generations": [_told(each) for each in self.entries],
        }
        fields = {**self.foreign, **shown, OURS: own}
        growing = any(each.record.stage is Stage.PENDING for each in self.entries)
        if len(json.dumps(fields)) > (LARGEST if growing else LARGEST + MARGIN):
            raise NoPlaceError(
                f"{key}: its document would grow beyond {LARGEST // 1024} KiB: export its candidates,"
                " move the document away, and import what is still needed"
            )
        return fields


def parsed(fields: Mapping[str, Any], key: InstanceKey | None = None) -> tuple[InstanceKey, Document]:
    """Whose document it is, and what is in it.

    NoPlaceError, which repeats nothing of it, when it is not one of ours, of another version, damaged, or not of `key`.
    """
    if OURS not in fields:
        raise NoPlaceError(
            "holds a secret that batchmod did not write: name another secrets.path, or move that one away"
        )
    own = fields[OURS]
    if not isinstance(own, dict) or own.get("schema") != SCHEMA:
        raise NoPlaceError(f"is damaged, or of another version of batchmod: schema {SCHEMA} is expected")
    try:
        whose = InstanceKey(account_id=own["account_id"], region=own["region"], instance_id=own["instance_id"])
        entries = tuple(_entry(each, whose) for each in own["generations"])
    except (KeyError, TypeError, ValueError):  # its text might hold a value
        raise NoPlaceError("is damaged: restore an older version of it") from None
    if key is not None and whose != key:
        raise NoPlaceError(f"is the document of {whose}: it was copied here; move it away")
    foreign = {name: value for name, value in fields.items() if name not in {*_SHOWN, OURS}}
    return whose, Document(entries=entries, foreign=foreign)


def _shown(entry: Entry) -> tuple[str, str, int]:
    return entry.secret.reveal(), entry.record.login, entry.record.generation


def _told(entry: Entry) -> dict[str, Any]:
    record = entry.record
    return {
        "generation": record.generation,
        "stage": record.stage.value,
        "login": record.login,
        "run_id": record.run_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "password": entry.secret.reveal(),
    }


def _entry(told: Mapping[str, Any], key: InstanceKey) -> Entry:
    login, run_id, password = (told[name] for name in ("login", "run_id", "password"))
    if not all(isinstance(each, str) for each in (login, run_id, password)):
        raise TypeError
    record = Generation(
        key=key,
        generation=int(told["generation"]),
        stage=Stage(told["stage"]),
        login=login,
        run_id=run_id,
        created_at=float(told["created_at"]),
        updated_at=float(told["updated_at"]),
    )
    return Entry(record=record, secret=Secret(password))
