"""The calls of a KmsStore, one by one: what is sent, what of the reply is meant, and which error is a StoreError.

The network is not known here: whoever opens the store gives the way to it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from batchmod.errors import CallError, NoPlaceError, StoreError, Verdict
from batchmod.model.secret import InstanceKey, Secret
from batchmod.secrets.kmsvalue import Value, name_of, names_of, parsed, placeholder, prefix_of
from batchmod.secrets.versions import PLACEHOLDER, Moves, Version, version_id

MISSING: Final = "Forbidden.ResourceNotFound"
DELETED: Final = "Rejected.ResourceInDeleteWindow"
PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the service said; `skew`: seconds that our clock is ahead of its, as far as it told."""

    body: Mapping[str, Any] = field(repr=False)
    skew: float | None


Param = str | bool | int | Secret | None
Call = Callable[[str, Mapping[str, Param]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsPlace:
    """`template`: of a secret's name; the key and the KMS instance are those of new secrets."""

    template: str
    key_id: str | None = None
    instance: str | None = None

    def name(self, key: InstanceKey) -> str:
        return name_of(self.template, key)


class KmsCalls:
    """What reads raises StoreError, what writes CallError: whether to go on is decided by who wrote."""

    def __init__(self, call: Call, place: KmsPlace, explain: Callable[[CallError], str]) -> None:
        self._call = call
        self._place = place
        self._explain = explain

    async def move(self, name: str, moves: Moves) -> None:
        """Raises CallError."""
        for each in moves:
            await self._call(
                "UpdateSecretVersionStage",
                {
                    "SecretName": name,
                    "VersionStage": each.label,
                    "MoveToVersion": each.to,
                    "RemoveFromVersion": each.source,
                },
            )

    async def put(self, name: str, number: int, value: Value, label: str) -> None:
        """The new version has this label and no other one. Raises CallError; StoreError when the service gave it another."""
        answer = await self._call(
            "PutSecretValue",
            {
                "SecretName": name,
                "VersionId": version_id(number),
                "SecretData": value.text(),
                "VersionStages": json.dumps([label]),
            },
        )
        given = _inner(answer.body, "VersionStages", "VersionStage")
        if list(given) != [label]:
            raise StoreError(f"{name}: KMS gave {version_id(number)} the stages {given}, not {label}: look at it first")

    async def create(self, name: str, key: InstanceKey) -> None:
        """The secret with its placeholder. Raises CallError, also when somebody else was first."""
        await self._call(
            "CreateSecret",
            {
                "SecretName": name,
                "VersionId": PLACEHOLDER,
                "SecretData": placeholder(key.instance_id),
                "Description": f"Password of {key.instance_id} in {key.region}, kept by batchmod",
                "EncryptionKeyId": self._place.key_id,
                "DKMSInstanceId": self._place.instance,
            },
        )

    async def value(self, name: str, number: int) -> Value:
        where = f"{name}, version {version_id(number)}"
        try:
            text = await self.text(name, {"VersionId": version_id(number)})
        except CallError as error:
            if error.code == MISSING:
                raise StoreError(f"{name}: there is no generation {number}") from error
            raise self.failed("GetSecretValue", error) from error
        value = parsed(text, where)
        if self._place.name(value.key) != name:
            raise StoreError(f"{where}: is a password of {value.key}")
        return value

    async def text(self, name: str, which: Mapping[str, Param]) -> Secret:
        """Raises CallError."""
        data = (await self._call("GetSecretValue", {"SecretName": name, **which})).body.get("SecretData")
        if not isinstance(data, Secret):
            raise CallError(Verdict.LOST, code="UnreadableReply", message="a secret without data")
        return data

    async def versions(self, name: str) -> tuple[Version, ...]:
        """All versions; none when there is no such secret."""
        params: dict[str, Param] = {"SecretName": name, "IncludeDeprecated": "true", "PageSize": PAGE}
        try:
            body = (await self._call("ListSecretVersionIds", params)).body
        except CallError as error:
            if error.code == MISSING:
                return ()
            raise self.failed("ListSecretVersionIds", error) from error
        return tuple(_version(name, each) for each in _inner(body, "VersionIds", "VersionId"))

    async def names(self) -> list[str]:
        """Of the secrets of all instances, but those that are to be deleted."""
        pattern, found, page = names_of(self._place.template), [], 1
        while True:
            listed = _inner((await self.list(page=page, size=PAGE)).body, "SecretList", "Secret")
            found += [str(each.get("SecretName")) for each in listed if not each.get("PlannedDeleteTime")]
            if len(listed) < PAGE:
                return [name for name in found if pattern.fullmatch(name)]
            page += 1

    async def list(self, *, page: int, size: int) -> Answer:
        begin = prefix_of(self._place.template)
        filters = json.dumps([{"Key": "SecretName", "Values": [begin]}]) if begin else None
        try:
            return await self._call("ListSecrets", {"Filters": filters, "PageNumber": page, "PageSize": size})
        except CallError as error:
            raise self.failed("ListSecrets", error) from error

    def failed(self, what: str, error: CallError) -> StoreError:
        """NoPlaceError for a secret that is to be deleted: it says nothing of any other."""
        kind = NoPlaceError if error.code == DELETED else StoreError
        return kind(f"KMS, {what}: {self._explain(error)}")


def _version(name: str, fields: Any) -> Version:
    """StoreError for what is none: a version that is not understood may be the one that is live."""
    found = fields if isinstance(fields, dict) else {}
    its_id, created = found.get("VersionId"), found.get("CreateTime")
    if not isinstance(its_id, str) or not isinstance(created, str):
        raise StoreError(f"{name}: KMS lists a version without its id or time")
    return Version(id=its_id, created=created, labels=frozenset(_inner(found, "VersionStages", "VersionStage")))


def _inner(body: Mapping[str, Any], outer: str, inner: str) -> Sequence[Any]:
    """The list of a reply, which has a list in an object of its own; empty when there is none."""
    found = body.get(outer)
    listed = found.get(inner) if isinstance(found, dict) else None
    return listed if isinstance(listed, list) else []
