"""What stands in a version of a KMS secret, and where: the JSON that applications read, and the secret's name. Pure."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Generation, Holding, InstanceKey, Secret, Stage

NAME, PASSWORD, OURS = "AccountName", "AccountPassword", "batchmod"
REFERENCE: Final = re.compile(r"([A-Za-z0-9_/+=.@-]{1,192})(?:#(.{1,64}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One password and whose it is; all of it is as it was when the version was made. Times are seconds since the epoch."""

    key: InstanceKey
    login: str
    secret: Secret = field(repr=False)
    run_id: str
    created_at: float
    updated_at: float
    nonce: str = ""  # two runs never write the same

    def text(self) -> Secret:
        ours = {
            "account_id": self.key.account_id,
            "region": self.key.region,
            "instance_id": self.key.instance_id,
            "run_id": self.run_id,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "nonce": self.nonce,
        }
        fields = {NAME: self.login, PASSWORD: self.secret.reveal(), OURS: ours}
        return Holding(json.dumps(fields, ensure_ascii=False), self.secret)

    def generation(self, number: int, stage: Stage) -> Generation:
        return Generation(
            key=self.key,
            generation=number,
            stage=stage,
            login=self.login,
            run_id=self.run_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


def placeholder(login: str) -> Secret:
    """What is current before anything was proved: no password is in it."""
    return Secret(json.dumps({NAME: login, OURS: {"placeholder": True}}))


def parsed(text: Secret, where: str) -> Value:
    """The value that `text` made. StoreError, without a word of it, for anything else."""
    value = _value(_object(text))
    if value is None:
        raise StoreError(f"{where}: holds something else than batchmod writes")
    return value


def _value(fields: dict[str, Any]) -> Value | None:
    ours = fields.get(OURS)
    login, password = fields.get(NAME), fields.get(PASSWORD)
    if not isinstance(ours, dict) or not isinstance(login, str) or not isinstance(password, str):
        return None
    texts = [ours.get(name) for name in ("account_id", "region", "instance_id", "run_id", "nonce")]
    times = [ours.get(name) for name in ("created_at", "updated_at")]
    if not all(isinstance(each, str) for each in texts) or not all(isinstance(each, int | float) for each in times):
        return None
    account_id, region, instance_id, run_id, nonce = (str(each) for each in texts)
    key = InstanceKey(account_id=account_id, region=region, instance_id=instance_id)
    created, updated = (float(each or 0.0) for each in times)
    return Value(
        key=key,
        login=login,
        secret=Secret(password),
        run_id=run_id,
        created_at=created,
        updated_at=updated,
        nonce=nonce,
    )


def _object(text: Secret) -> dict[str, Any]:
    """The JSON object that the text is, else an empty one. What the parser says of it would repeat it."""
    try:
        found = json.loads(text.reveal())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_reference(reference: str) -> tuple[str, str | None]:
    """Of `name` or `name#field`. UsageError for anything else."""
    found = REFERENCE.fullmatch(reference)
    if found is None:
        raise UsageError("is no reference: the name of a KMS secret, or that and #<field of its JSON>")
    return found[1], found[2]


def meant(text: Secret, field: str | None, reference: str) -> Secret:
    """The field; without one the password of a JSON that has one, else the whole text. UsageError without any."""
    fields = _object(text)
    if field is None and OURS in fields and PASSWORD not in fields:
        raise UsageError(f"{reference}: no password of it has been proved yet")
    if field is None and PASSWORD not in fields:
        return text
    found = fields.get(PASSWORD if field is None else field)
    if not isinstance(found, str):
        raise UsageError(f"{reference}: the secret is no JSON with a text of that name")
    return Secret(found)


def name_of(template: str, key: InstanceKey) -> str:
    values = {"account_id": key.account_id, "region": key.region, "id": key.instance_id}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], template)


def names_of(template: str) -> re.Pattern[str]:
    """What the names of all instances look like."""
    parts = re.split(r"(\{\w+\})", template)
    return re.compile("".join("[A-Za-z0-9_-]+" if part.startswith("{") else re.escape(part) for part in parts))


def prefix_of(template: str) -> str:
    """What all of them begin with."""
    return template.partition("{")[0]
