"""What a principal may do: policies as RAM judges them. An explicit Deny wins, then an Allow, else it is denied. No I/O."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from batchmod.sim.errors import Refusal, refused


class Verdict(StrEnum):
    """The vendor's words for a denial; they are told in AccessDeniedDetail."""

    ALLOWED = "Allowed"
    EXPLICIT_DENY = "ExplicitDeny"
    IMPLICIT_DENY = "ImplicitDeny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One thing that a call wants to do. `context` are the condition keys that the request carries."""

    action: str  # kvstore:ModifyInstanceTDE
    resource: str  # an ARN, or * for an operation that knows no resources
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Globs over actions (in any case) and resources; `equals`: each of these condition keys must have one of the values."""

    allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    equals: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def speaks_of(self, ask: Ask) -> bool:
        """A condition on a key that the request does not carry is not met."""
        return (
            any(_glob(each.lower()).fullmatch(ask.action.lower()) for each in self.actions)
            and any(_glob(each).fullmatch(ask.resource) for each in self.resources)
            and all(ask.context.get(key) in values for key, values in self.equals)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A document, attached to a user or a role of an account."""

    account_id: str
    principal: str  # user/simulator, role/NAME
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who may take it on, and for how long at most (seconds)."""

    account_id: str
    name: str
    trusts: frozenset[str]  # account ids
    max_session: int = 3600

    @property
    def arn(self) -> str:
        return f"acs:ram::{self.account_id}:role/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: a user, or a role under the name of a session."""

    account_id: str
    name: str  # as policies name it: user/simulator, role/NAME
    session: str | None = None
    session_policy: tuple[Statement, ...] | None = field(default=None, repr=False)  # narrows what the role may do

    @property
    def arn(self) -> str:
        if self.session is None:
            return f"acs:ram::{self.account_id}:{self.name}"
        return f"acs:ram::{self.account_id}:assumed-{self.name}/{self.session}"


class Ram:
    """The roles and policies of all accounts."""

    def __init__(self, roles: Iterable[Role], policies: Iterable[Policy]) -> None:
        self._roles = {role.arn: role for role in roles}
        self._statements: dict[tuple[str, str], tuple[Statement, ...]] = {}
        for policy in policies:
            key = (policy.account_id, policy.principal)
            self._statements[key] = (*self._statements.get(key, ()), *policy.statements)

    def role(self, arn: str) -> Role | None:
        return self._roles.get(arn)

    def verdict(self, who: Principal, ask: Ask) -> Verdict:
        """A principal without a policy may do everything; a session policy can only take away."""
        attached = self._statements.get((who.account_id, who.name))
        for statements in (attached, who.session_policy):
            verdict = Verdict.ALLOWED if statements is None else judged(statements, ask)
            if verdict is not Verdict.ALLOWED:
                return verdict
        return Verdict.ALLOWED

    def demand(self, who: Principal, ask: Ask) -> None:
        """Raises Forbidden.RAM, or NoPermission for STS, unless it is allowed."""
        verdict = self.verdict(who, ask)
        if verdict is not Verdict.ALLOWED:
            raise denied(who, ask, verdict)


def judged(statements: Iterable[Statement], ask: Ask) -> Verdict:
    effects = {each.allow for each in statements if each.speaks_of(ask)}
    if False in effects:
        return Verdict.EXPLICIT_DENY
    return Verdict.ALLOWED if effects else Verdict.IMPLICIT_DENY


def denied(who: Principal, ask: Ask, verdict: Verdict) -> Refusal:
    """403, with who was denied what."""
    kind, shown = ("SubUser", who.name.partition("/")[2])
    if who.session is not None:
        kind, shown = ("AssumedRoleUser", f"{shown}:{who.session}")
    why = {"Action": ask.action, "Resource": ask.resource, "Principal": who.arn}
    return refused(
        "NoPermission" if ask.action.startswith("sts:") else "Forbidden.RAM",
        access_denied={
            "PolicyType": "AccountLevelIdentityBasedPolicy",
            "AuthAction": ask.action,
            "AuthPrincipalType": kind,
            "AuthPrincipalOwnerId": who.account_id,
            "AuthPrincipalDisplayName": shown,
            "NoPermissionType": verdict,
            "EncodedDiagnosticMessage": base64.b64encode(json.dumps(why).encode()).decode(),
        },
    )


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` is any text, `?` any one character; nothing else is special, as in RAM."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(each) or re.escape(each) for each in pattern), re.DOTALL)
