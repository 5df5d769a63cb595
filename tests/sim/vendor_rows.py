"""What a row of the vendor suite's table is, and the fleet that the rows speak of: the fault file of all its simulators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACCOUNT, OTHER_ACCOUNT = "1234567890123456", "2222333344445555"
ROLE, OTHER_ROLE = (f"acs:ram::{account}:role/redis-operator" for account in (ACCOUNT, OTHER_ACCOUNT))
TDE_ROLE = f"acs:ram::{ACCOUNT}:role/AliyunRdsInstanceEncryptionDefaultRole"
ONE, PLAIN, BUSY, INACTIVE, PREPAID, CLASSIC, LOCKED = (f"r-sim{4 * number:06d}" for number in range(7))
COUNT = 40  # every fourth is of ACCOUNT in REGION
OTHERS = "r-sim000002"  # of OTHER_ACCOUNT in REGION
REGION = "cn-hangzhou"
FIRST = "uW8+nsrp"  # what logs in to ONE and CLASSIC at first
TAGS = [{"Key": "env", "Value": "prod"}, {"Key": "team", "Value": "pay & ship *~"}]
FLEET: Mapping[str, Any] = {
    "accounts": {ACCOUNT: {}, OTHER_ACCOUNT: {}},
    "lag": 0,
    "durations": {"attributes": 0, "password": 0, "tde": 0},
    "instances": {
        ONE: {"password": FIRST, "tags": {each["Key"]: each["Value"] for each in TAGS}},
        PLAIN: {"edition": "Community", "support_tde": False},
        INACTIVE: {"status": "Inactive"},
        PREPAID: {"charge_type": "PrePaid"},
        CLASSIC: {"password": FIRST, "engine_version": "2.8"},
        LOCKED: {"locked": True},
    },
    "busy": [{"match": BUSY, "seconds": 86400}],
    "roles": [
        {"name": "redis-operator", "trusts": [ACCOUNT]},
        {"name": "foreign", "trusts": [OTHER_ACCOUNT]},
        {"name": "redis-operator", "account": OTHER_ACCOUNT, "trusts": [ACCOUNT]},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call that the cloud refuses: the good one with `change`d parameters (None: without it), or as `play`ed."""

    code: str
    status: int
    change: Mapping[str, Any] = field(default_factory=dict)
    play: Mapping[str, Any] | None = None  # an entry of a fault script
    message: str | None = None  # None: any, but some
    retry_after: int | None = None  # milliseconds
    denied: Mapping[str, str] | None = None  # what its AccessDeniedDetail says, among others
    name: str = ""  # where one code has several reasons

    @property
    def natural(self) -> bool:
        """The cloud refuses the call for what it is."""
        return self.play is None

    @property
    def outcome(self) -> str:
        return f"{self.code} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row. `gives`: what the good call's reply holds, by path; `may_lack`: fields that it does not have."""

    name: str
    good: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # calls that make the good one possible
    gives: Mapping[str, Any] = field(default_factory=dict)
    may_lack: frozenset[str] = frozenset()
    refused: tuple[Refused, ...] = ()
    writes: bool = False  # it changes an instance

    def refused_by(self, *, adds_region: bool) -> tuple[Refused, ...]:
        """Those that a client can meet: one that adds its region to every call cannot leave it out."""
        return tuple(each for each in self.refused if not (adds_region and each.change.get("RegionId", "") is None))

    @property
    def of_sts(self) -> bool:
        return self.name in STS_OPERATIONS

    @property
    def denied_code(self) -> str:
        return "NoPermission" if self.of_sts else "Forbidden.RAM"

    @property
    def action(self) -> str:
        """As RAM knows it."""
        return f"{'sts' if self.of_sts else 'kvstore'}:{self.name}"


STS_OPERATIONS = frozenset({"AssumeRole", "GetCallerIdentity"})
KMS_OPERATIONS = frozenset(
    {
        "CreateSecret",
        "PutSecretValue",
        "GetSecretValue",
        "ListSecretVersionIds",
        "UpdateSecretVersionStage",
        "ListSecrets",
        "DescribeSecret",
        "DeleteSecret",
    }
)
UNKNOWN = Refused(code="InvalidInstanceId.NotFound", status=404, change={"InstanceId": "r-none"})


def missing(*names: str) -> tuple[Refused, ...]:
    return tuple(Refused(code="MissingParameter", status=400, change={each: None}, name=each) for each in names)


def bad(name: str, value: Any, code: str = "InvalidParameter", why: str = "") -> Refused:
    return Refused(code=code, status=400, change={name: value}, name=f"{name} {why or value}")


def refused_for(instance: str, code: str, status: int, why: str = "") -> Refused:
    return Refused(code=code, status=status, change={"InstanceId": instance}, name=why)


OF_AN_INSTANCE = (UNKNOWN, *missing("InstanceId"))
OF_A_CHANGE = (
    *OF_AN_INSTANCE,
    refused_for(BUSY, "TaskExists", 400),
    refused_for(INACTIVE, "IncorrectDBInstanceState", 403),
    refused_for(LOCKED, "IncorrectDBInstanceLockMode", 403),
)
NO_TDE = refused_for(PLAIN, "InstanceType.NotSupport", 400, "edition")
