"""What each error code means and what to do about it: data, and the lookup. No I/O.

The service's codes are matched by their text, in order, the first pattern that fits (`*` stands for anything); the
HTTP status is asked only about a code that no pattern knows, for the same code comes with different ones. Source:
the error tables of the two operations, of their siblings and of AssumeRole, the gateway's documentation, and what the
vendor's Terraform provider has met. docs/errors.md is held equal to this file.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from batchmod.errors import Verdict


class Rule(NamedTuple):
    """What a code means; `advice` is for a person."""

    code: str
    verdict: Verdict
    advice: str


_STOP, _WAIT, _SLOW = Verdict.ACCOUNT_STOP, Verdict.WAIT, Verdict.SLOW_DOWN
_NO, _GONE, _LOST = Verdict.REFUSED, Verdict.GONE, Verdict.LOST

_CREDENTIAL = "Check the access key: it is unknown, disabled or of another account."
_TOKEN = "Get a new security token that belongs to this access key."  # noqa: S105  advice, no token
_PERMISSION = (
    "Allow the RAM user or role this API on this instance; for AssumeRole: sts:AssumeRole on the role, whose trust policy "
    "must name the caller, which cannot be a root account."
)
_SIGNATURE = "Check the access key secret for missing or extra characters; a proxy may also have changed the request."
_OURS = "The endpoint does not serve this API in this form; check --endpoint, and report it if that is right."
_MISSING = "Check id, account and region: the instance is released, or lives elsewhere."
_NO_SECRET = "Check `secrets.name`, `account` and `region`: there is no such KMS secret, version or stage."  # noqa: S105  advice, no secret
_BUSY = "Nothing to do: batchmod waits until the instance's own task has ended."
_SERVER = "Nothing to do: batchmod looks whether the change arrived before it sends it again."
_RULES_OF = "Choose another one that keeps the documented rules for a"

SERVICE: Final[tuple[Rule, ...]] = (
    Rule("TaskExists", _WAIT, _BUSY),
    Rule("Task.Conflict", _WAIT, _BUSY),
    Rule("IncorrectDBInstanceState", _WAIT, _BUSY),
    Rule("OperationDenied*Status", _WAIT, _BUSY),
    Rule("LockTimeout", _WAIT, _BUSY),
    Rule("*Throttling*", _SLOW, "Nothing to do: batchmod slows down. Lower `limits.rate` if others share the quota."),
    Rule("InvalidInstanceId.NotFound", _GONE, _MISSING),
    Rule("InvalidDBInstanceId.NotFound", _GONE, _MISSING),
    Rule("InvalidDbInstanceId.NotFound", _GONE, _MISSING),
    Rule("InvalidDBInstance.NotFound", _GONE, _MISSING),
    Rule("InvalidInstanceIds.Malformed", _NO, "Check the ids: one of them is none."),
    Rule("InvalidInstanceName.Malformed", _NO, f"{_RULES_OF} name."),
    Rule("InvalidPassword.Malformed", _NO, f"{_RULES_OF} password."),
    Rule("IncorrectDBInstanceLockMode", _NO, "Unlock the instance first; it may be locked for an unpaid bill."),
    Rule(
        "InstanceType.NotSupport", _NO, "This instance cannot do it; for TDE, edition, architecture and version count."
    ),
    Rule("IncorrectEngineVersion", _NO, "Upgrade the instance: its engine version cannot do it."),
    Rule("InvalidEngineVersion.Format", _NO, "Upgrade the instance: its engine version cannot do it."),
    Rule("EntityNotExist.Role*", _NO, "Check the ARN of the role: there is no such role in that account."),
    Rule("InvalidParameter.RoleArn", _NO, "Check the ARN of the role: acs:ram::<account id>:role/<name>."),
    Rule("InvalidParameter.RoleSessionName", _NO, _OURS),
    Rule("InvalidParameter.DurationSeconds", _NO, "Let the role's sessions last for an hour or longer."),
    Rule(
        "InvalidRegionId*", _NO, "Check the region: the endpoint does not serve it; `endpoints` may name another one."
    ),
    Rule("MissingParameter", _NO, "The service wants a parameter that the change does not have; the message names it."),
    Rule("InvalidParameter", _NO, "The service does not accept a value of this change; the message names it."),
    Rule("Forbidden.ResourceNotFound", _NO, _NO_SECRET),
    Rule("Rejected.ResourceExist", _NO, "Nothing to do: batchmod looks who made the KMS secret or its version."),
    Rule("Rejected.ResourceInDeleteWindow", _NO, "Restore the KMS secret: it is to be deleted."),
    Rule("Rejected.LimitExceeded", _NO, "Raise the quota of KMS secrets, or delete those that nobody needs."),
    Rule("Forbidden*", Verdict.FORBIDDEN, "Allow the RAM user or role this API on this instance."),
    Rule("Forbedden*", Verdict.FORBIDDEN, "Allow the RAM user or role this API on this instance."),
    Rule("NoPermission*", Verdict.FORBIDDEN, _PERMISSION),
    Rule("InvalidSecurityToken.Expired", Verdict.EXPIRED, _TOKEN),
    Rule("InvalidSecurityToken*", _STOP, _TOKEN),
    Rule("MissingSecurityToken", _STOP, _TOKEN),
    Rule("InvalidAccessKeyId*", _STOP, _CREDENTIAL),
    Rule("SignatureDoesNotMatch", _STOP, _SIGNATURE),
    Rule("IncompleteSignature*", _STOP, _SIGNATURE),
    Rule("InvalidSignatureMethod", _STOP, _OURS),
    Rule("InvalidTimeStamp.Expired", _STOP, "Set this machine's clock: it differs from the service's by 15 minutes."),
    Rule("InvalidTimeStamp.Format", _STOP, _OURS),
    Rule("SignatureNonceUsed", _LOST, "A copy of this request arrived before it. " + _SERVER),
    Rule("InvalidApi.NotFound", _NO, _OURS),
    Rule("InvalidAction.NotFound", _NO, _OURS),
    Rule("InvalidProtocol.NeedSsl", _NO, "Use an endpoint that starts with https."),
    Rule("UnsupportedHTTPMethod", _NO, _OURS),
    Rule("ServiceUnavailable*", _LOST, _SERVER),
    Rule("InternalError*", _LOST, _SERVER),
    Rule("InternalFailure*", _LOST, _SERVER),
)

OWN: Final[Mapping[str, Rule]] = {
    rule.code: rule
    for rule in (
        Rule("ConnectFailed", Verdict.NOT_SENT, "Check the network, the endpoint and the proxy."),
        Rule("ConnectTimeout", Verdict.NOT_SENT, "Check the network, or raise `timeouts.connect`."),
        Rule("NameNotResolved", Verdict.NOT_SENT, "Check the region, the endpoint and this machine's DNS."),
        Rule("TlsFailed", Verdict.NOT_SENT, "Check the endpoint's certificate and what stands between."),
        Rule("ProxyRefused", Verdict.NOT_SENT, "Check the proxy's user, password and rules, or set NO_PROXY."),
        Rule("InvalidUrl", Verdict.NOT_SENT, "Check --endpoint."),
        Rule("NoCredentials", _STOP, "Give the account a key in one of the places that the message names."),
        Rule(
            "CredentialsUnreachable",
            Verdict.NOT_SENT,
            "Check the network to where the key comes from; the message names it.",
        ),
        Rule("InstanceNotNormal", _WAIT, _BUSY),
        Rule("ReadTimeout", _LOST, "Raise `timeouts.read` if this is frequent. " + _SERVER),
        Rule("ConnectionLost", _LOST, _SERVER),
        Rule("UnreadableReply", _LOST, "Look for a proxy that answers for the service. " + _SERVER),
        Rule("HTTP *", _LOST, "Look for a proxy that answers for the service. " + _SERVER),
    )
}


def classify(code: str, *, status: int) -> Verdict:
    """What the service's code means for what is done next, for a read as for a write.

    A code that is not in the table is a refusal when it came with a 4xx; with any other status nothing is known.
    """
    rule = _match(code)
    if rule is not None:
        return rule.verdict
    return Verdict.REFUSED if 400 <= status < 500 else Verdict.LOST  # noqa: PLR2004  what 4xx means


def advice(code: str) -> str | None:
    """What a person can do about a code, the service's or batchmod's own; None for one that nobody knows."""
    rule = _known(code)
    return rule.advice if rule else None


def verdict(code: str) -> Verdict | None:
    """What a code means, the service's or batchmod's own; None for one that nobody knows."""
    rule = _known(code)
    return rule.verdict if rule else None


def _known(code: str) -> Rule | None:
    return OWN.get("HTTP *" if code.startswith("HTTP ") else code) or _match(code)


def _match(code: str) -> Rule | None:
    return next((rule for rule in SERVICE if fnmatchcase(code, rule.code)), None)
