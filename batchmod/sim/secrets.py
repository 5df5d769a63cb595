"""Secrets of one account in one region, as KMS keeps them: versions, and the labels that say which is which. No I/O.

A version has at most one value for ever; a label sits on at most one version. Beyond ten, the earliest version is
deleted by the service itself, whatever labels it has.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from batchmod.sim.errors import invalid, refused

CURRENT, PREVIOUS = "ACSCurrent", "ACSPrevious"
MAX_VERSIONS, MAX_LABELS = 10, 8
NAME = re.compile(r"[A-Za-z0-9_/+=.@-]{1,192}")
VERSION_ID = LABEL = re.compile(r"[A-Za-z0-9_/+=.@-]{1,64}")
MAX_BYTES = 30_720  # of a value


@dataclass(slots=True, kw_only=True)
class Version:
    id: str
    data: str = field(repr=False)
    data_type: str
    created: float
    labels: list[str]


@dataclass(slots=True, kw_only=True)
class KmsSecret:
    """`versions`: by id, in the order in which they came."""

    name: str
    created: float
    updated: float
    about: Mapping[str, str]  # Description, EncryptionKeyId, DKMSInstanceId
    tags: list[dict[str, str]]
    versions: dict[str, Version] = field(default_factory=dict)
    deleted_at: float | None = None  # when it will be gone

    def holder(self, label: str) -> Version | None:
        return next((each for each in self.versions.values() if label in each.labels), None)

    def version(self, version_id: str) -> Version:
        """Raises Forbidden.ResourceNotFound."""
        if version_id not in self.versions:
            raise refused("Forbidden.ResourceNotFound")
        return self.versions[version_id]


class KmsSecrets:
    """All secrets of one account and region. `follows`: whether ACSPrevious moves by itself when ACSCurrent is moved."""

    def __init__(self, *, follows: bool = False) -> None:
        self.follows = follows
        self._secrets: dict[str, KmsSecret] = {}

    def find(self, name: str, now: float) -> KmsSecret:
        """One that is there. Raises Forbidden.ResourceNotFound, or what a secret that is to be deleted is answered with."""
        secret = self._present(name, now)
        if secret is None:
            raise refused("Forbidden.ResourceNotFound")
        if secret.deleted_at is not None:
            raise refused("Rejected.ResourceInDeleteWindow")
        return secret

    def describe(self, name: str, now: float) -> KmsSecret:
        """One that is there, also one that is to be deleted."""
        secret = self._present(name, now)
        if secret is None:
            raise refused("Forbidden.ResourceNotFound")
        return secret

    def named(self, prefixes: Iterable[str], now: float) -> list[KmsSecret]:
        """By name; those that begin with one of the prefixes, or all."""
        wanted = tuple(prefixes) or ("",)
        found = (self._present(name, now) for name in sorted(self._secrets))
        return [each for each in found if each is not None and each.name.startswith(wanted)]

    def create(self, secret: KmsSecret, first: Version) -> None:
        """Its first version is current."""
        if not NAME.fullmatch(secret.name):
            raise invalid("SecretName")
        _check(first)
        if self._present(secret.name, secret.created) is not None:
            raise refused("Rejected.ResourceExist")
        first.labels[:] = [CURRENT]
        secret.versions[first.id] = first
        self._secrets[secret.name] = secret

    def put(self, name: str, version: Version) -> Version:
        """The version with its labels, which leave the others; without any it is current. The same one again is ignored."""
        _check(version)
        secret = self.find(name, version.created)
        known = secret.versions.get(version.id)
        if known is not None:
            if (known.data, known.data_type) != (version.data, version.data_type):
                raise refused("Rejected.ResourceExist")
            return known
        labels = list(dict.fromkeys(version.labels)) or [CURRENT]
        version.labels[:] = []
        secret.versions[version.id] = version
        try:
            for label in labels:
                self._attach(secret, label, version, follows=True)
        except BaseException:
            del secret.versions[version.id]
            raise
        if len(secret.versions) > MAX_VERSIONS:
            del secret.versions[next(iter(secret.versions))]
        secret.updated = version.created
        return version

    def move(self, name: str, label: str, *, to: str, source: str, now: float) -> None:
        """The label leaves `source` for `to`; either may be empty. Whoever does not hold it cannot lose it."""
        secret = self.find(name, now)
        if not LABEL.fullmatch(label):
            raise invalid("VersionStage")
        if not to and not source:
            raise invalid("MoveToVersion")
        if not to and label in {CURRENT, PREVIOUS}:
            raise invalid("MoveToVersion")
        target = secret.version(to) if to else None
        holder = secret.holder(label)
        if source and secret.version(source) is not holder:
            raise invalid("RemoveFromVersion")
        if not source and holder is not None and holder is not target:
            raise invalid("RemoveFromVersion")
        if target is None:
            secret.version(source).labels.remove(label)
        else:
            self._attach(secret, label, target, follows=self.follows)
        secret.updated = now

    def delete(self, name: str, *, now: float, at: float | None) -> KmsSecret:
        """Gone at once, or at that time."""
        secret = self.find(name, now)
        secret.deleted_at = at
        if at is None:
            del self._secrets[name]
        return secret

    def _present(self, name: str, now: float) -> KmsSecret | None:
        secret = self._secrets.get(name)
        if secret is not None and secret.deleted_at is not None and secret.deleted_at <= now:
            del self._secrets[name]
            return None
        return secret

    def _attach(self, secret: KmsSecret, label: str, version: Version, *, follows: bool) -> None:
        """`follows`: whether what was current becomes previous."""
        holder = secret.holder(label)
        if holder is version:
            return
        used = {each for one in secret.versions.values() for each in one.labels}
        if label not in used and len(used) >= MAX_LABELS:
            raise refused("Rejected.LimitExceeded")
        if holder is not None:
            holder.labels.remove(label)
        version.labels.append(label)
        if label == CURRENT and holder is not None and follows:
            self._attach(secret, PREVIOUS, holder, follows=False)


def _check(version: Version) -> None:
    if not VERSION_ID.fullmatch(version.id):
        raise invalid("VersionId")
    if version.data_type not in {"text", "binary"}:
        raise invalid("SecretDataType")
    if len(version.data.encode()) > MAX_BYTES:
        raise invalid("SecretData")
    if not all(LABEL.fullmatch(label) for label in version.labels):
        raise invalid("VersionStages")
