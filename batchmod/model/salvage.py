"""What of a manifest, but for its targets, can be read further when something in it is wrong, so that all problems are
told at once. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batchmod.model.accounts import AccountEntry, ProfileAccount, RoleAccount, known_accounts
from batchmod.model.changelist import Change
from batchmod.model.manifest import Manifest
from batchmod.model.settings import Defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The parts of a manifest that are right, whatever else is wrong: so that all problems are told at once."""

    accounts: Mapping[str, ProfileAccount | RoleAccount]
    known: frozenset[str] | None  # names of accounts, right or wrong; None when nobody can tell
    defaults: Defaults | None
    exclude: Sequence[str]
    changes: Sequence[tuple[int, Change]]
    not_with: str | None


def whole(manifest: Manifest, data: Mapping[str, Any]) -> Sound:
    return Sound(
        accounts=manifest.accounts,
        known=known_accounts(data),
        defaults=manifest.defaults,
        exclude=manifest.exclude,
        changes=tuple(enumerate(manifest.changes)),
        not_with=manifest.rollout.not_with,
    )


def salvage(data: Mapping[str, Any], error: ValidationError) -> Sound:
    wrong = {details["loc"][:2] for details in error.errors(include_url=False, include_input=False)}
    sections = {loc[0] for loc in wrong}

    changes = data.get("changes")
    change = TypeAdapter[Change](Change)
    account = TypeAdapter[ProfileAccount | RoleAccount](AccountEntry)
    accounts = data.get("accounts", {}) if ("accounts",) not in wrong else {}
    return Sound(
        accounts={
            name: account.validate_python(value) for name, value in accounts.items() if ("accounts", name) not in wrong
        },
        known=known_accounts(data),
        defaults=None if "defaults" in sections else Defaults.model_validate(data.get("defaults", {})),
        exclude=() if "exclude" in sections else data.get("exclude", ()),
        changes=[
            (place, change.validate_python(value))
            for place, value in enumerate(changes if isinstance(changes, list) else ())
            if ("changes", place) not in wrong
        ],
        not_with=None if wrong & {("rollout",), ("rollout", "not_with")} else data.get("rollout", {}).get("not_with"),
    )
