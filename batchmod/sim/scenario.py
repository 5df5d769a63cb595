"""What a fault file says, as values: which cloud this is, and what goes wrong in it. No file, no clock, no dice."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from batchmod.sim.ram import Policy, Role


class FaultKind(StrEnum):
    """What happens to one call. Each is described in docs/simulator.md."""

    OK = "ok"
    THROTTLE = "throttle"
    TASK_EXISTS = "task_exists"
    REFUSE = "refuse"
    FORBIDDEN = "forbidden"
    HTTP_500 = "http_500"
    HTML_502 = "html_502"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HANG = "hang"
    SLOW = "slow"
    LATE = "late"
    TRUNCATED = "truncated"
    GARBLED = "garbled"


NEVER_LANDS = frozenset({FaultKind.HTTP_500, FaultKind.HTML_502, FaultKind.RESET_BEFORE, FaultKind.LATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `seconds` are real ones: they belong to the network, not to the cloud, and no speed divides them."""

    kind: FaultKind = FaultKind.OK
    landed: bool = True  # the operation is carried out although the reply is spoilt
    seconds: float = 0.0
    status: int | None = None  # None: the code's own
    code: str = ""
    message: str = ""  # empty: the code's own words
    retry_after: int | None = None  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Faults in order. With `match` every matching instance plays the list for itself; without, the API plays it."""

    api: str = "*"
    match: str | None = None
    play: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The share (0 to 1) of the calls that meet a fault."""

    api: str = "*"
    match: str = "*"
    rate: float
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Some of the instances: those that match a pattern, or a share of all."""

    match: str = "*"
    fraction: float = 1.0

    def of(self, ids: Iterable[str], salt: str) -> frozenset[str]:
        """The same ids for the same salt; round(fraction * matching) of them."""
        matching = sorted(each for each in ids if fnmatchcase(each, self.match))
        count = round(self.fraction * len(matching))
        return frozenset(random.Random(salt).sample(matching, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Somebody else's task holds these instances for the first `seconds`."""

    who: Choice
    seconds: float
    status: str = "Changing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusing:
    """These instances refuse an API, always."""

    who: Choice
    api: str = "Modify*"
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Seconds from the moment the status leaves Normal until the change is in effect."""

    attributes: float = 0.2
    password: float = 1.0
    tde: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is special about an account: after how many calls its user's key is revoked."""

    revoke_key_after: int | None = None


DEFAULT_ACCOUNTS: Mapping[str, Account] = {"1234567890123456": Account()}
DEFAULT_REGIONS = ("cn-hangzhou", "cn-shanghai")
DEFAULT_QUOTAS: Mapping[str, Quota] = {
    "default": Quota(calls=200, seconds=60.0),
    "DescribeInstanceAttribute": Quota(calls=1000, seconds=1.0),
    "AssumeRole": Quota(calls=100, seconds=1.0),
    "GetCallerIdentity": Quota(calls=100, seconds=1.0),
    **dict.fromkeys(("GetSecretValue", "ListSecretVersionIds"), Quota(calls=100, seconds=1.0)),
    **dict.fromkeys(
        (
            "CreateSecret",
            "PutSecretValue",
            "UpdateSecretVersionStage",
            "ListSecrets",
            "DescribeSecret",
            "DeleteSecret",
        ),
        Quota(calls=40, seconds=1.0),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole fault file. `instances` are (pattern, values by field of Instance), later ones stronger."""

    regions: tuple[str, ...] = DEFAULT_REGIONS
    accounts: Mapping[str, Account] = field(
        default_factory=lambda: DEFAULT_ACCOUNTS
    )  # by id; the first is the main one
    roles: tuple[Role, ...] = ()
    policies: tuple[Policy, ...] = ()
    regional_endpoints: bool = False  # one more port for each region, which sees that region only
    scripts: tuple[Script, ...] = ()
    rates: tuple[Rate, ...] = ()
    busy: tuple[Busy, ...] = ()
    refuse: tuple[Refusing, ...] = ()
    instances: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    durations: Durations = Durations()
    lag: float = 0.2  # seconds from the reply until the status leaves Normal
    quotas: Mapping[str, Quota] = field(default_factory=lambda: DEFAULT_QUOTAS)
    retry_after: bool = False  # throttled replies say how long to wait
    tde_status: str = "TDEModifying"
    clock_offset: float = 0.0  # seconds that the cloud's clock is ahead of ours
    session_token: str | None = field(default=None, repr=False)  # of the main account's key
    token_seconds: float | None = None  # the longest that a token of STS lives
    revoke_key_after: int | None = None  # calls with the main account's key
    strict_protection: bool = False  # release protection alone is not enough for a ModifyInstanceAttribute
    authorization_state: int = 1  # of CheckCloudResourceAuthorized: 0 no, 1 yes, 2 KMS not activated

    @property
    def main_account(self) -> str:
        return next(iter(self.accounts))

    @property
    def key_limits(self) -> dict[str, int | None]:
        """By account: after how many calls its key is revoked."""
        own = {name: account.revoke_key_after for name, account in self.accounts.items()}
        return own if self.revoke_key_after is None else own | {self.main_account: self.revoke_key_after}
