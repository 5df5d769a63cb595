"""A fault file (YAML or JSON) becomes a Scenario, or one SimError that names file and place. docs/simulator.md has it all."""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from batchmod.sim.errors import SimError
from batchmod.sim.instancefile import read_instance
from batchmod.sim.operations import OPERATIONS
from batchmod.sim.policyfile import Tenants, read_accounts, read_policy, read_regions, read_roles
from batchmod.sim.reading import Node, load
from batchmod.sim.scenario import (
    DEFAULT_QUOTAS,
    NEVER_LANDS,
    Busy,
    Choice,
    Durations,
    Fault,
    FaultKind,
    Quota,
    Rate,
    Refusing,
    Scenario,
    Script,
)

DETAILS: Mapping[FaultKind, frozenset[str]] = {  # what may be said of a fault beyond its kind
    FaultKind.THROTTLE: frozenset({"code", "status", "retry_after"}),
    FaultKind.REFUSE: frozenset({"code", "status", "message"}),
    FaultKind.HTTP_500: frozenset({"landed"}),
    FaultKind.HTML_502: frozenset({"landed"}),
    FaultKind.HANG: frozenset({"seconds", "landed"}),
    FaultKind.SLOW: frozenset({"seconds"}),
    FaultKind.LATE: frozenset({"seconds"}),
}
NEEDS: Mapping[FaultKind, frozenset[str]] = {
    FaultKind.REFUSE: frozenset({"code"}),
    FaultKind.HANG: frozenset({"seconds"}),
    FaultKind.SLOW: frozenset({"seconds"}),
    FaultKind.LATE: frozenset({"seconds"}),
}
DETAIL_READERS: Mapping[str, Callable[[Node], Any]] = {
    "code": Node.text,
    "message": Node.text,
    "status": lambda place: place.count(low=400, high=599),
    "retry_after": Node.count,
    "seconds": Node.number,
    "landed": Node.flag,
}


def load_scenario(path: Path) -> Scenario:
    """The file's scenario; raises SimError when it cannot be read or is not right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SimError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Scenario:
    """The scenario of a text; `source` is its name in complaints. Raises SimError."""
    places = load(text, source).fields({*READERS, *TENANT_KEYS})
    values = {key: READERS[key](place) for key, place in places.items() if key in READERS}
    return Scenario(**values, **_tenants(places))


def _tenants(places: Mapping[str, Node]) -> dict[str, Any]:
    """What refers to accounts, once it is known which there are."""
    tenants = Tenants(accounts=read_accounts(places.get("accounts")))
    main = next(iter(tenants.accounts.values()))
    if "revoke_key_after" in places and main.revoke_key_after is not None:
        raise places["revoke_key_after"].wrong("the first of 'accounts' says it too")
    values: dict[str, Any] = {"accounts": tenants.accounts}
    if "roles" in places:
        values["roles"] = read_roles(places["roles"], tenants)
    if "policies" in places:
        read = partial(
            read_policy, tenants=tenants, roles=values.get("roles", ()), scripted_token="session_token" in places
        )
        values["policies"] = places["policies"].each(read)
    if "instances" in places:
        given = places["instances"].mapping()
        values["instances"] = tuple((key, read_instance(value, tenants)) for key, value in given.items())
    return values


def _fault(place: Node, given: Mapping[str, Node], spoken: Node) -> Fault:
    """The fault that `spoken` names (refuse:Code is short for refuse with a code), with the given details."""
    name, colon, code = spoken.text().partition(":")
    kind = FaultKind(spoken.replaced(name).one_of([kind.value for kind in FaultKind]))
    details = {**given, "code": spoken.replaced(code)} if colon else given
    for key, detail in details.items():
        if key not in DETAILS.get(kind, frozenset()):
            raise detail.wrong(f"{key!r} means nothing for the fault {kind.value!r}")
    for key in sorted(NEEDS.get(kind, frozenset()) - details.keys()):
        raise place.wrong(f"the fault {kind.value!r} needs {key!r}")
    values = {key: DETAIL_READERS[key](detail) for key, detail in details.items()}
    return Fault(kind=kind, **{"landed": kind not in NEVER_LANDS, **values})


def _play(place: Node) -> tuple[Fault, ...]:
    """One entry of a script: a fault's name, or a mapping with details and `times`."""
    if isinstance(place.value, str):
        return (_fault(place, {}, place),)
    fields = place.fields({"fault", "times", *DETAIL_READERS}, {"fault"})
    times = fields.pop("times").count(low=1, high=100_000) if "times" in fields else 1
    kind = fields.pop("fault")
    return (_fault(place, fields, kind),) * times


def _script(place: Node) -> Script:
    fields = place.fields({"api", "match", "play"}, {"play"})
    return Script(
        **_texts(fields, "api", "match"), play=tuple(fault for entry in fields["play"].each(_play) for fault in entry)
    )


def _rate(place: Node) -> Rate:
    fields = place.fields({"api", "match", "fault", "rate", *DETAIL_READERS}, {"fault", "rate"})
    details = {key: detail for key, detail in fields.items() if key in DETAIL_READERS}
    fault = _fault(place, details, fields["fault"])
    return Rate(**_texts(fields, "api", "match"), rate=fields["rate"].number(high=1.0), fault=fault)


def _texts(fields: Mapping[str, Node], *names: str) -> dict[str, Any]:
    return {name: (_api if name == "api" else Node.text)(fields[name]) for name in names if name in fields}


def _api(place: Node) -> str:
    """A pattern that some operation's name matches."""
    pattern = place.text()
    return pattern if any(fnmatchcase(each, pattern) for each in OPERATIONS) else place.one_of(OPERATIONS)


def _choice(place: Node, fields: Mapping[str, Node]) -> Choice:
    if "match" not in fields and "fraction" not in fields:
        raise place.wrong("says neither 'match' nor 'fraction'")
    fraction = fields["fraction"].number(high=1.0) if "fraction" in fields else 1.0
    return Choice(**_texts(fields, "match"), fraction=fraction)


def _busy(place: Node) -> Busy:
    fields = place.fields({"match", "fraction", "seconds", "status"}, {"seconds"})
    return Busy(who=_choice(place, fields), seconds=fields["seconds"].number(), **_texts(fields, "status"))


def _refusing(place: Node) -> Refusing:
    fields = place.fields({"match", "fraction", "api", "code", "status", "message"}, {"code"})
    details = {key: DETAIL_READERS[key](fields[key]) for key in ("code", "status", "message") if key in fields}
    fault = Fault(kind=FaultKind.REFUSE, **details)
    return Refusing(who=_choice(place, fields), fault=fault, **_texts(fields, "api"))


def _quotas(place: Node) -> Mapping[str, Quota]:
    fields = place.fields({"default", *OPERATIONS})
    return {**DEFAULT_QUOTAS, **{api: _quota(value) for api, value in fields.items()}}


def _quota(place: Node) -> Quota:
    found = re.fullmatch(r"([1-9]\d{0,8})/(\d{1,6}(?:\.\d{1,3})?)s", place.text())
    if found is None or float(found[2]) == 0:
        raise place.wrong("must be calls per period, as in 200/60s")
    return Quota(calls=int(found[1]), seconds=float(found[2]))


def _durations(place: Node) -> Durations:
    fields = place.fields({"attributes", "password", "tde"})
    return Durations(**{key: value.number() for key, value in fields.items()})


READERS: Mapping[str, Callable[[Node], Any]] = {
    "scripts": lambda place: place.each(_script),
    "rates": lambda place: place.each(_rate),
    "busy": lambda place: place.each(_busy),
    "refuse": lambda place: place.each(_refusing),
    "durations": _durations,
    "lag": Node.number,
    "quotas": _quotas,
    "retry_after": Node.flag,
    "tde_status": Node.text,
    "clock_offset": lambda place: place.number(low=None),
    "session_token": Node.text,
    "token_seconds": lambda place: place.number(low=1.0),
    "regional_endpoints": Node.flag,
    "regions": read_regions,
    "revoke_key_after": Node.count,
    "strict_protection": Node.flag,
    "authorization_state": lambda place: place.count(high=2),
}
TENANT_KEYS = frozenset({"accounts", "roles", "policies", "instances"})
