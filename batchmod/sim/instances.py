"""What an instance is, and the fleet that a seed and a scenario make. No clock, no I/O."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from batchmod.sim.errors import SimError
from batchmod.sim.scenario import Scenario

ACCOUNT_ID = "1234567890123456"
REGIONS = ("cn-hangzhou", "cn-shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How an instance was encrypted; `custom` when the caller named the key."""

    key_id: str
    role_arn: str
    algorithm: str
    custom: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a task will have changed when it ends; None stays as it is."""

    name: str | None = None
    password: str | None = field(default=None, repr=False)
    release_protection: bool | None = None
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """From its acceptance to `ends` it holds the instance; from `shows` on the status says so."""

    shows: float
    ends: float
    status: str
    change: Change | None  # None: somebody else's


@dataclass(slots=True, kw_only=True)
class Instance:
    """One instance as the cloud knows it. Mutable: this is the state that everything else asks."""

    id: str
    name: str
    region: str
    address: str  # host:port of its data plane
    password: str = field(repr=False)
    engine_version: str = "7.0"
    charge_type: str = "PostPaid"
    edition: str = "Enterprise"
    support_tde: bool = True
    release_protection: bool = False
    password_free: bool = False
    status: str = "Normal"  # without a task
    tags: dict[str, str] = field(default_factory=lambda: {"env": "prod"})
    vanish_after: float | None = None  # seconds from the start
    encryption: Encryption | None = None
    task: Task | None = None
    tasks_done: int = 0
    password_generation: int = 0  # passwords that took effect since the start
    passwords_sent: set[str] = field(default_factory=set, repr=False)  # digests of every value that arrived

    def status_at(self, now: float) -> str:
        return self.task.status if self.task and self.task.shows <= now else self.status

    @property
    def old_login(self) -> bool:
        """Before 6.0 there are no users: a login is one text, id:password."""
        return self.engine_version in {"2.8", "4.0", "5.0"}

    def received(self, password: str) -> None:
        self.passwords_sent.add(hashlib.sha256(password.encode()).hexdigest())


def service_key(instance_id: str) -> str:
    """The key that KMS makes for an instance when none is named; the same for the same instance."""
    digest = hashlib.sha256(f"key/{instance_id}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def default_encryption(instance_id: str) -> Encryption:
    return Encryption(key_id=service_key(instance_id), role_arn="", algorithm="AES-CTR-256", custom=False)


def fleet_ids(count: int) -> list[str]:
    return [f"r-sim{number:06d}" for number in range(count)]


def make_fleet(count: int, scenario: Scenario, *, address: str, new_password: Callable[[], str]) -> dict[str, Instance]:
    """The instances by id, in order; raises SimError for an override that no instance matches."""
    ids = fleet_ids(count)
    for pattern, _ in scenario.instances:
        if not any(fnmatchcase(each, pattern) for each in ids):
            raise SimError(f"fault file: instances.{pattern}: matches no instance")
    fleet = {}
    for number, instance_id in enumerate(ids):
        values: dict[str, Any] = {
            "name": f"sim-{number:06d}",
            "region": REGIONS[number % len(REGIONS)],
            "address": address,
        }
        for pattern, given in scenario.instances:
            if fnmatchcase(instance_id, pattern):
                values |= given
        if not values.pop("missing", False):
            values["encryption"] = default_encryption(instance_id) if values.pop("tde", False) else None
            fleet[instance_id] = Instance(id=instance_id, **{"password": new_password()} | values)
    return fleet
