"""The two operations of STS: who am I, and let me be this role for a while."""

import hashlib
import json
import re
from datetime import UTC, datetime

from batchmod.sim.calls import Call
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import SimError, refused
from batchmod.sim.policyfile import read_document
from batchmod.sim.ram import Ask, Principal, Role, Statement
from batchmod.sim.reading import load

Reply = dict[str, object]
ROLE_ARN = re.compile(r"acs:ram::\d{1,20}:role/[A-Za-z0-9.\-]{1,64}", re.IGNORECASE)
SESSION_NAME = re.compile(r"[A-Za-z0-9.@_\-]{2,64}")
MIN_SECONDS, DEFAULT_SECONDS = 900, 3600
MAX_POLICY = 2048  # characters


def caller_identity(_: FakeCloud, call: Call) -> Reply:
    who = call.principal
    number = entity_id(who.account_id, who.name)
    common: Reply = {"AccountId": who.account_id, "Arn": who.arn}
    if who.session is None:
        return common | {"IdentityType": "RAMUser", "UserId": number, "PrincipalId": number}
    return common | {"IdentityType": "AssumedRoleUser", "RoleId": number, "PrincipalId": f"{number}:{who.session}"}


def wants_role(_: FakeCloud, call: Call) -> list[Ask]:
    """What AssumeRole needs of the caller's own policy."""
    return [Ask(action=call.action, resource=_given(call, "RoleArn"))]


def assume_role(cloud: FakeCloud, call: Call) -> Reply:
    """A new key pair with a token that expires. ExternalId is accepted: no role here asks for one."""
    arn, session = _given(call, "RoleArn"), _given(call, "RoleSessionName")
    if not ROLE_ARN.fullmatch(arn):
        raise refused("InvalidParameter.RoleArn")
    if not SESSION_NAME.fullmatch(session):
        raise refused("InvalidParameter.RoleSessionName")
    policy = _session_policy(call.params.get("Policy", ""))
    seconds = _seconds(call.params.get("DurationSeconds") or str(DEFAULT_SECONDS))
    role = _role(cloud, call, arn)
    if seconds > role.max_session:
        if call.params.get("DurationSeconds"):
            raise refused("InvalidParameter.DurationSeconds")
        seconds = role.max_session
    principal = Principal(account_id=role.account_id, name=f"role/{role.name}", session=session, session_policy=policy)
    limit = cloud.scenario.token_seconds
    issued = cloud.keyring.issue(principal, seconds if limit is None else min(seconds, limit))
    number = entity_id(role.account_id, principal.name)
    return {
        "Credentials": {
            "AccessKeyId": issued.keys.access_key_id,
            "AccessKeySecret": issued.keys.access_key_secret,
            "SecurityToken": issued.keys.session_token,
            "Expiration": _iso(issued.expires or 0.0),
        },
        "AssumedRoleUser": {"Arn": f"{role.arn}/{session}", "AssumedRoleId": f"{number}:{session}"},
    }


def _given(call: Call, name: str) -> str:
    if not call.params.get(name):
        raise refused(f"Missing{name}")
    return call.params[name]


def _role(cloud: FakeCloud, call: Call, arn: str) -> Role:
    role = cloud.ram.role(arn)
    if role is None:
        raise refused("EntityNotExist.Role")
    if call.account_id not in role.trusts:
        raise refused("NoPermission")
    return role


def _seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < MIN_SECONDS:
        raise refused("InvalidParameter.DurationSeconds")
    return int(text)


def _session_policy(text: str) -> tuple[Statement, ...] | None:
    """Raises InvalidParameter.PolicyGrammar for what is no policy, or says more than is judged here."""
    if not text:
        return None
    if len(text) > MAX_POLICY:
        raise refused("InvalidParameter.PolicySize")
    try:
        json.loads(text)
        return read_document(load(text, "Policy"))
    except (ValueError, SimError) as error:
        raise refused("InvalidParameter.PolicyGrammar") from error


def entity_id(account_id: str, name: str) -> str:
    """The number by which RAM knows a user or a role; the same for the same."""
    return str(2 * 10**17 + int(hashlib.sha256(f"{account_id}/{name}".encode()).hexdigest()[:12], 16))


def _iso(at: float) -> str:
    """Whole seconds, never later than the truth."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
