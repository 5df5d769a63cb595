"""What an instance is. No clock, no I/O."""

import hashlib
from dataclasses import dataclass, field

CREATING = "Creating"


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
    account: str
    region: str
    address: str  # host:port of its data plane
    password: str = field(repr=False)
    zone: str
    private_ip: str
    secondary_zone: str = ""
    engine_version: str = "7.0"
    charge_type: str = "PostPaid"
    edition: str = "Enterprise"
    architecture: str = "standard"
    node_type: str = "double"
    instance_class: str = "redis.amber.master.small.multithread"
    network_type: str = "VPC"
    vpc_id: str = "vpc-sim"
    vswitch_id: str = "vsw-sim"
    resource_group: str = "rg-sim"
    shard_count: int = 1
    create_time: str = "2024-01-01T00:00:00Z"
    expired: bool = False
    in_global: bool = False  # part of a global distributed instance
    locked: bool = False  # for a bill, say: it refuses every change
    order_completed: bool = True  # false while a change of its specifications runs
    support_tde: bool = True
    release_protection: bool = False
    password_free: bool = False
    listed_address: bool = True  # DescribeInstances tells it, not only DescribeDBInstanceNetInfo
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
    def instance_type(self) -> str:
        return "Tair" if self.edition == "Enterprise" else "Redis"

    def is_reachable(self, status: str) -> bool:
        """What is being made has no address yet."""
        return status != CREATING

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def end_time(self) -> str:
        """A subscription ends; pay-as-you-go does not."""
        if self.expired:
            return "2024-02-01T00:00:00Z"
        return "2099-01-01T00:00:00Z" if self.charge_type == "PrePaid" else ""

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
