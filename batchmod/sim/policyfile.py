"""What a fault file says about accounts, their roles and what they may do. Each complaint names its place."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from batchmod.sim.keyring import SCRIPTED_ROLE, USER
from batchmod.sim.ram import Policy, Role, Statement
from batchmod.sim.reading import Node
from batchmod.sim.scenario import DEFAULT_ACCOUNTS, Account

ACCOUNT = re.compile(r"\d{16}", re.ASCII)
REGION = re.compile(r"[a-z][a-z0-9-]{1,30}")
ROLE_NAME = re.compile(r"[A-Za-z0-9.\-]{1,64}")
MIN_SESSION, MAX_SESSION = 900, 43_200  # seconds, RAM's own limits of MaxSessionDuration
CONDITION_KEYS = frozenset({"kvstore:TDEStatus"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Who there is: what roles, policies and instances may refer to. The first account is the main one."""

    accounts: Mapping[str, Account]

    def read(self, place: Node | None) -> str:
        """An account that exists; the main one when nothing is said."""
        return place.one_of(self.accounts) if place else next(iter(self.accounts))


def read_accounts(place: Node | None) -> Mapping[str, Account]:
    if place is None:
        return DEFAULT_ACCOUNTS
    accounts = {}
    for name, value in place.mapping().items():
        if not ACCOUNT.fullmatch(name):
            raise value.wrong("an account id has 16 digits")
        fields = value.fields({"revoke_key_after"})
        accounts[name] = Account(**{key: each.count() for key, each in fields.items()})
    if not accounts:
        raise place.wrong("names no account")
    return accounts


def read_regions(place: Node) -> tuple[str, ...]:
    names = place.each(read_region)
    if not names:
        raise place.wrong("names no region")
    if len(set(names)) < len(names):
        raise place.wrong("names a region twice")
    return names


def read_region(place: Node) -> str:
    return _matching(place, REGION, "must be the name of a region, as in cn-hangzhou")


def read_roles(place: Node, tenants: Tenants) -> tuple[Role, ...]:
    roles = place.each(partial(_role, tenants=tenants))
    if len({role.arn for role in roles}) < len(roles):
        raise place.wrong("names a role twice")
    return roles


def _role(place: Node, tenants: Tenants) -> Role:
    fields = place.fields({"account", "name", "trusts", "max_session"}, {"name", "trusts"})
    limit = (
        {"max_session": fields["max_session"].count(low=MIN_SESSION, high=MAX_SESSION)}
        if "max_session" in fields
        else {}
    )
    return Role(
        account_id=tenants.read(fields.get("account")),
        name=_matching(fields["name"], ROLE_NAME, "must be 1 to 64 letters, digits, dots and hyphens"),
        trusts=frozenset(fields["trusts"].each(tenants.read)),
        **limit,
    )


def read_policy(place: Node, tenants: Tenants, roles: Collection[Role], *, scripted_token: bool) -> Policy:
    """`scripted_token`: the main account's key is a role of its own."""
    fields = place.fields({"account", "principal", "document"}, {"principal", "document"})
    account = tenants.read(fields.get("account"))
    known = {USER} | {f"role/{role.name}" for role in roles if role.account_id == account}
    known |= {SCRIPTED_ROLE} if scripted_token and account == next(iter(tenants.accounts)) else set()
    return Policy(
        account_id=account,
        principal=fields["principal"].one_of(known),
        statements=read_document(fields["document"]),
    )


def read_document(place: Node) -> tuple[Statement, ...]:
    """The statements of a policy in RAM's own words."""
    fields = place.fields({"Version", "Statement"}, {"Version", "Statement"})
    fields["Version"].one_of({"1"})
    return fields["Statement"].each(_statement)


def _statement(place: Node) -> Statement:
    fields = place.fields({"Effect", "Action", "Resource", "Condition"}, {"Effect", "Action", "Resource"})
    return Statement(
        allow=fields["Effect"].one_of({"Allow", "Deny"}) == "Allow",
        actions=_texts(fields["Action"]),
        resources=_texts(fields["Resource"]),
        equals=_equals(fields["Condition"]) if "Condition" in fields else (),
    )


def _equals(place: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    test = place.fields({"StringEquals"}, {"StringEquals"})["StringEquals"]
    return tuple((key, _texts(value)) for key, value in test.fields(CONDITION_KEYS).items())


def _texts(place: Node) -> tuple[str, ...]:
    """A text, or a list of them that is not empty."""
    if not isinstance(place.value, list):
        return (place.text(),)
    if not place.value:
        raise place.wrong("is empty")
    return place.each(Node.text)


def _matching(place: Node, pattern: re.Pattern[str], problem: str) -> str:
    if not pattern.fullmatch(place.text()):
        raise place.wrong(problem)
    return place.text()
