"""The accounts that a manifest names: where the credentials of each come from. No credential is written there. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from batchmod.model import rules
from batchmod.model.fields import NO_ACCESS_KEY, Account, Section, Text
from batchmod.model.suggest import did_you_mean
from batchmod.model.yamltext import Path

DEFAULT = "default"  # the default credential chain, unless `accounts` says what else it is
MOST_SHOWN = 8  # known names in a message


def _profile(name: str) -> str:
    if rules.is_access_key(name):
        raise ValueError(f"looks like an access key: {NO_ACCESS_KEY}")
    return name


def _role(arn: str) -> str:
    if problem := rules.role_arn_problem(arn):
        raise ValueError(problem)
    return arn


class ProfileAccount(Section):
    """Credentials from the vendor CLI's config file."""

    profile: Annotated[
        Text,
        AfterValidator(_profile),
        Field(
            description="A profile of the vendor CLI's config file.",
            examples=["prod"],
            json_schema_extra={"not": {"pattern": f"^({rules.ACCESS_KEY})$"}},
        ),
    ]


class RoleAccount(Section):
    """Credentials of a role, which another account takes on."""

    role_arn: Annotated[
        str,
        AfterValidator(_role),
        WithJsonSchema(
            {
                "type": "string",
                "pattern": f"^{rules.ROLE_ARN}$",
                "examples": ["acs:ram::1234567890123456:role/redis-operator"],
            }
        ),
        Field(description="The role to take on, in whichever account it is."),
    ]
    via: Annotated[Account, Field(description="The account that takes it on.")] = DEFAULT


def _one_form(value: object) -> object:
    match value:
        case ProfileAccount() | RoleAccount():
            return value
        case dict() if "profile" in value and value.keys() & {"role_arn", "via"}:
            raise ValueError("is profile: NAME, or role_arn: ARN with via: ACCOUNT, and not both")
        case dict() if value:
            return value
        case dict():
            raise ValueError("needs profile: NAME, or role_arn: ARN with via: ACCOUNT")
        case _:
            raise ValueError(f"must be a mapping with profile, or with role_arn and via; {NO_ACCESS_KEY}")


def _form(value: Any) -> str:
    named = isinstance(value, dict) and any("role" in key or key == "via" for key in value)
    return "\0role" if named or isinstance(value, RoleAccount) else "\0profile"


AccountEntry = Annotated[
    Annotated[ProfileAccount, Tag("\0profile")] | Annotated[RoleAccount, Tag("\0role")],
    Discriminator(_form),
    BeforeValidator(_one_form),
]
Accounts = dict[Account, AccountEntry]


def known_accounts(data: Mapping[str, Any]) -> frozenset[str] | None:
    """Every account that a manifest (as plain data) may name; None when its `accounts` cannot be read."""
    written = data.get("accounts", {})
    return frozenset((DEFAULT, *written)) if isinstance(written, dict) else None


def account_problem(name: str, known: frozenset[str] | None) -> str | None:
    """Why nobody may name this account; the name itself is not repeated."""
    return None if known is None or name in known else _unknown(name, known)


@lru_cache(maxsize=64)  # a file may name the same one in every row
def _unknown(name: str, known: frozenset[str]) -> str:
    if near := did_you_mean(name, known):
        return f"is no account that is known here{near}"
    first = sorted(known)[:MOST_SHOWN]
    return f"is no account that is known here: {', '.join(first)}{', …' if len(first) < len(known) else ''}"


def chain_problems(
    accounts: Mapping[str, ProfileAccount | RoleAccount], known: frozenset[str] | None
) -> Iterator[tuple[Path, str]]:
    """Each `via` that names no account, and each circle of them once; with the place in the manifest."""
    seen: set[str] = set()
    for name in accounts:
        chain: list[str] = []
        link: str | None = name
        while link is not None and link not in seen:
            seen.add(link)
            chain.append(link)
            link = _via(accounts.get(link))
            if link is not None and (problem := account_problem(link, known)):
                yield ("accounts", chain[-1], "via"), problem
        if link in chain:
            circle = [*chain[chain.index(link) :], link]
            yield (
                ("accounts", link, "via"),
                f"goes in a circle, {' → '.join(circle)}: a chain begins with a profile or with the environment",
            )


def _via(account: ProfileAccount | RoleAccount | None) -> str | None:
    return account.via if isinstance(account, RoleAccount) else None


def unknown_accounts(named: Iterable[tuple[Path, str]], known: frozenset[str] | None) -> Iterator[tuple[Path, str]]:
    """Place and problem of each account that is named and not known."""
    return ((place, problem) for place, name in named if (problem := account_problem(name, known)))
