"""Whether and how one kind of change applies to one instance, from what was read of it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from batchmod.errors import UsageError
from batchmod.model.events import Kind, Phase
from batchmod.model.manifest import AttributesChange, PasswordChange, TdeChange
from batchmod.model.plan import Value, Values
from batchmod.model.rules import key_id_problem, name_problem, role_arn_problem
from batchmod.model.targets import Target
from batchmod.model.templates import desired_name, render

Change = AttributesChange | PasswordChange | TdeChange
NO_ADDRESS = "no address of the data plane is known: set proof.address"
SUBSCRIPTION = "PrePaid"
NOT_FOUND = "InvalidInstanceId.NotFound"
NO_PLACE = "NoPlace"  # of our own: what is stored of this instance's passwords cannot be used
NORMAL_STATUS = "Normal"  # of an instance that no task is changing
ENDED = {  # statuses that no waiting ends; every other one but Normal is waited out, for the set is open
    "Inactive": "the instance is locked: disabled or expired (Inactive)",
    "Released": "the instance is released",
    "Error": "the instance was never made: its creation failed (Error)",
}


class Instance(Protocol):
    """What DescribeInstances says of one instance."""

    @property
    def name(self) -> str | None: ...
    @property
    def status(self) -> str: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def engine_version(self) -> str | None: ...
    @property
    def charge_type(self) -> str | None: ...
    @property
    def address(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One target as it was read. What a change does not need was not read and is None."""

    target: Target
    account_id: str
    instance: Instance | None  # None: there is no such instance
    release_protection: bool | None = None
    tde_supported: bool = True
    tde_enabled: bool = False
    tde_key: str | None = None
    young: str | None = None  # why the password is not due yet
    password_is_current: bool = False  # a chosen password equals the proved one in the store
    address: str | None = None  # of the data plane, where the list of instances did not tell it
    lacks_old: str | None = None  # why the proof asked for can never be: there is no old password to see refused
    refused: Mapping[Kind, tuple[str, str]] = field(
        default_factory=dict
    )  # code and message of a read that was refused,
    # by the service or by the secret store


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the plan says of one target and kind."""

    phase: Phase
    before: Values = field(default_factory=dict)
    after: Values = field(default_factory=dict)
    reason: str | None = None
    code: str | None = None


def judge(observed: Observed, change: Change, *, login: bool, routed: bool) -> Judgement:
    """What the plan says of this kind of change; `login`: a password is proved by one, `routed`: to an address of the
    manifest. Raises UsageError for what breaks a rule of the vendor's, with the target's place.
    """
    if change.kind in observed.refused:
        code, message = observed.refused[change.kind]
        phase = Phase.SKIPPED if code == NO_PLACE else Phase.FAILED
        return Judgement(phase=phase, code=code, reason=message)
    if observed.instance is None:
        reason = f"no such instance in {observed.target.region} ({observed.target.where})"
        return Judgement(phase=Phase.FAILED, code=NOT_FOUND, reason=reason)
    if observed.instance.status in ENDED:
        return Judgement(phase=Phase.SKIPPED, reason=ENDED[observed.instance.status])
    match change:
        case AttributesChange():
            return _attributes(observed, observed.instance, change)
        case PasswordChange():
            if observed.young is not None:
                return Judgement(phase=Phase.UNCHANGED, reason=observed.young)
            if observed.password_is_current:
                return Judgement(phase=Phase.UNCHANGED, reason="the chosen password is current")
            return _password(observed, observed.instance, routed=routed or not login)
        case TdeChange():
            return _tde(observed, observed.instance, change)


def _password(observed: Observed, instance: Instance, *, routed: bool) -> Judgement:
    """What a login could not prove is not sent."""
    known = routed or instance.address is not None or observed.address is not None
    if not known and instance.status == NORMAL_STATUS:  # any other is asked for it once it is Normal
        return Judgement(phase=Phase.SKIPPED, reason=NO_ADDRESS)
    if observed.lacks_old is not None:
        raise UsageError(f"{observed.target.where}: {observed.target.id}: {observed.lacks_old}")
    return Judgement(phase=Phase.PLANNED)


def _attributes(observed: Observed, instance: Instance, change: AttributesChange) -> Judgement:
    before: dict[str, Value] = {}
    after: dict[str, Value] = {}
    reason = None
    if change.name is not None:
        name = desired_name(change.name, instance.name or "", _facts(observed, instance))
        problem = None if name is None else name_problem(name)
        if problem is not None:
            raise UsageError(f"{observed.target.where}: {observed.target.id}: the new name {name!r}: {problem}")
        if name is not None and name != instance.name:
            before["name"], after["name"] = instance.name, name
    if change.release_protection is not None and instance.charge_type == SUBSCRIPTION:
        reason = "release protection does not apply to a subscription instance"
    elif change.release_protection not in {None, observed.release_protection}:
        before["release_protection"] = observed.release_protection
        after["release_protection"] = change.release_protection
    if after:
        return Judgement(phase=Phase.PLANNED, before=before, after=after, reason=reason)
    if reason is not None:
        return Judgement(phase=Phase.SKIPPED, reason=reason)
    return Judgement(phase=Phase.UNCHANGED, reason="already so")


def _tde(observed: Observed, instance: Instance, change: TdeChange) -> Judgement:
    if not observed.tde_supported:
        return Judgement(phase=Phase.SKIPPED, code="InstanceType.NotSupport", reason="this instance cannot do TDE")
    facts = _facts(observed, instance)
    key_id = _rendered(observed, change.key_id, facts, "tde.key_id", key_id_problem)
    if observed.tde_enabled:
        if key_id is None or observed.tde_key == key_id:
            return Judgement(phase=Phase.UNCHANGED, reason="encrypted already")
        reason = f"already encrypted with key {observed.tde_key}; the key of an encrypted instance is never changed"
        return Judgement(phase=Phase.SKIPPED, reason=reason)
    role_arn = _rendered(observed, change.role_arn, facts, "tde.role_arn", role_arn_problem)
    after: dict[str, Value] = {
        "status": "Enabled",
        "key_id": key_id,
        "role_arn": role_arn,
        "algorithm": change.algorithm,
    }
    return Judgement(phase=Phase.PLANNED, before={**dict.fromkeys(after), "status": "Disabled"}, after=after)


def _rendered(
    observed: Observed, template: str | None, facts: Mapping[str, str], what: str, rule: Callable[[str], str | None]
) -> str | None:
    """The text of a template for this target; UsageError when it breaks its rule, which only live facts could tell."""
    if template is None:
        return None
    text = render(template, facts)
    problem = rule(text)
    if problem is not None:
        raise UsageError(f"{observed.target.where}: {observed.target.id}: {what} {text!r}: {problem}")
    return text


def _facts(observed: Observed, instance: Instance) -> Mapping[str, str]:
    target = observed.target
    return {
        **target.vars,
        "id": target.id,
        "region": target.region,
        "zone": instance.zone or "",
        "account": target.account,
        "account_id": observed.account_id,
        "engine_version": instance.engine_version or "",
    }
