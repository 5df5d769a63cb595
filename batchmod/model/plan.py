"""What will be done: one planned row per target and kind. Pure values; no secret among them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from batchmod.model.events import Kind, Phase
from batchmod.model.secret import InstanceKey

Value = str | bool | None  # what an attribute or a TDE parameter can be
Values = Mapping[str, Value]
NO_VALUES: Final[Values] = {}


class Lane(NamedTuple):
    """One account in one region: what the vendor's quotas belong to."""

    account_id: str
    region: str


lane_of: Final = lru_cache(maxsize=256)(Lane)  # one for all rows of a lane


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """One target and one kind of change, as the plan saw it.

    `before` and `after` have the same keys and hold only what differs: `name`, `release_protection` for attributes;
    `status`, `key_id`, `role_arn`, `algorithm` for tde; nothing for a password. `verdict` is PLANNED for what will be
    sent, else the terminal phase that the plan already knows, with the `reason`.
    """

    seq: int  # from 0, the row's place in plan and report; rows of one instance are neighbours, in order of change
    account: str
    account_id: str
    region: str
    instance_id: str
    instance_name: str | None  # as the plan read it
    login: str
    kind: Kind
    wave: int | None  # from 1; None for what is not sent
    before: Values
    after: Values
    verdict: Phase = Phase.PLANNED
    reason: str | None = None
    error_code: str | None = None
    address: str | None = None  # host:port of the data plane, for the login proof
    engine_version: str | None = None
    status: str | None = None  # what the instance was when the plan read it; None for Normal
    group: str | None = None  # of the instances with the same one, only one is in change at a time

    @property
    def key(self) -> InstanceKey:
        return InstanceKey(account_id=self.account_id, region=self.region, instance_id=self.instance_id)

    @property
    def lane(self) -> Lane:
        return lane_of(self.account_id, self.region)

    @property
    def will_send(self) -> bool:
        return self.verdict is Phase.PLANNED


_FIELDS: Final = tuple(field.name for field in fields(PlannedRow))
_VALUES_OF: Final = attrgetter(*_FIELDS)
_JSON: Final = json.JSONEncoder(sort_keys=True, default=dict, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAccount:
    """An account that could not be used, by its name in the manifest, and why."""

    account: str
    code: str
    reason: str  # one line, with what to do about it
    passing: bool = False  # there was no answer: it may be usable again soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All rows in order, and what they follow from.

    `policies` is the smallest RAM policy document that a run of it needs, by account name. `observed_at` is when the
    reading began, in seconds since the epoch; like the policies it is no part of the digest.
    """

    name: str
    manifest_digest: str
    rows: tuple[PlannedRow, ...]
    accounts_failed: tuple[FailedAccount, ...] = ()
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    observed_at: float = 0.0

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest's digest and every row: the same fleet and manifest give the same."""
        sha = hashlib.sha256(self.manifest_digest.encode())
        for row in self.rows:
            sha.update(_JSON(dict(zip(_FIELDS, _VALUES_OF(row), strict=True))).encode())
        return sha.hexdigest()
