"""What can become of any call whatever it asks for: the gateway's refusals, the service's, and a reply that is lost.

Codes and statuses are those of the vendor's pages; where pages disagree, one of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vendor_clients import Heard, Vendor
from vendor_rows import ACCOUNT, Operation, Refused

GATEWAY: Mapping[str, int] = {
    "InvalidTimeStamp.Expired": 400,
    "InvalidTimeStamp.Format": 400,
    "SignatureNonceUsed": 400,
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidAccessKeyId.Inactive": 400,
    "InvalidSecurityToken.Expired": 400,
    "InvalidSecurityToken.Malformed": 400,
    "InvalidSecurityToken.MismatchWithAccessKey": 400,
    "MissingParameter": 400,
    "MissingSecurityToken": 400,
    "InvalidApi.NotFound": 404,
    "InvalidAction.NotFound": 404,
    "InvalidProtocol.NeedSsl": 404,
    "UnsupportedHTTPMethod": 400,
    "InvalidSignatureMethod": 400,
    "InvalidParameter": 400,
    "InvalidParameter.Format": 400,
    "Throttling": 400,
    "Throttling.User": 400,
    "Throttling.Api": 400,
    "Rejected.Throttling": 400,
    "Forbidden.NotSupportRAM": 403,
    "Forbidden.AccessKeyDisabled": 403,
    "Forbidden.RiskControl": 403,
    "NoPermission": 403,
    "ServiceUnavailable": 503,
    "InternalError": 500,
}
SERVICE: Mapping[str, int] = {  # of calls that change an instance
    "TaskExists": 400,
    "Task.Conflict": 400,
    "IncorrectDBInstanceState": 403,
    "IncorrectDBInstanceLockMode": 403,
    "OperationDenied.KVstoreInstanceStatus": 400,
    "OperationDeniedDBStatus": 400,
    "LockTimeout": 400,
    "InstanceType.NotSupport": 400,
    "IncorrectEngineVersion": 403,
    "InvalidEngineVersion.Format": 400,
    "InvalidAccountName.Duplicate": 400,
    "InvalidDBInstance.NotFound": 404,
    "InvalidDBInstanceId.NotFound": 404,
    "InvalidDbInstanceId.NotFound": 404,
}
MESSAGE = "Invented by the suite, 中文 & <xml>."


def refusals(operation: Operation, vendor: Vendor) -> tuple[Refused, ...]:
    """Every scripted code with its own status, one with a status and words of its own, the throttled call that says
    when to come back, the denied one that says why, and those of the table.
    """
    codes = {**GATEWAY, **(SERVICE if operation.writes else {})}
    own = {"fault": "refuse", "code": "Task.Conflict", "status": 409, "message": MESSAGE}
    denied = {"AuthAction": operation.action, "NoPermissionType": "ImplicitDeny", "AuthPrincipalOwnerId": ACCOUNT}
    throttled = {"fault": "throttle", "retry_after": 1500}
    return (
        *(
            Refused(code=code, status=status, play={"fault": "refuse", "code": code}, name="scripted")
            for code, status in codes.items()
        ),
        Refused(code="Task.Conflict", status=409, message=MESSAGE, play=own, name="in other words"),
        Refused(code="Throttling.User", status=400, retry_after=1500, play=throttled),
        Refused(code=operation.denied_code, status=403, denied=denied, play={"fault": "forbidden"}, name="denied"),
        Refused(code="InternalError", status=500, play={"fault": "http_500"}, name="of its own"),
        *operation.refused_by(adds_region=vendor.adds_region),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A reply that does not arrive as one."""

    name: str
    play: Mapping[str, Any]
    old: Heard  # what the old client says of it; the modern ones have one exception for all
    patience: float = 15.0  # seconds that the client waits for an answer

    def complaints(self, heard: object, vendor: Vendor) -> list[str]:
        """Where what the client says differs; a page of somebody else's is in the old client's message whole."""
        wanted = Heard(error="UnretryableException") if vendor.tells_all else self.old
        return [] if isinstance(heard, Heard) and replace(heard, message=None) == wanted else [f"heard {heard}"]


_CUT = Heard(error="ClientException", code="SDK.HttpError")
DENIED = {
    "PolicyType",
    "AuthAction",
    "AuthPrincipalType",
    "AuthPrincipalOwnerId",
    "AuthPrincipalDisplayName",
    "NoPermissionType",
    "EncodedDiagnosticMessage",
}
_HALF = Heard(error="JSONDecodeError")  # of its caller: the old client does not count the bytes
LOSSES = (
    Lost(
        name="html_502",
        play={"fault": "html_502"},
        old=Heard(error="ServerException", code="SDK.UnknownServerError", status=502),
    ),
    *(Lost(name=each, play={"fault": each}, old=_CUT) for each in ("reset_before", "reset_after")),
    Lost(name="hang", play={"fault": "hang", "seconds": 30}, old=_CUT, patience=0.05),
    *(Lost(name=each, play={"fault": each}, old=_HALF) for each in ("truncated", "garbled")),
)


def complaints_about(heard: Any, wanted: Refused, vendor: Vendor) -> list[str]:
    """Where what the client says of a refusal differs from what the cloud meant."""
    if not isinstance(heard, Heard):
        return [f"was answered {heard}"]
    told: dict[str, tuple[object, object]] = {
        "error": (heard.error, _exception(wanted, vendor)),
        "code": (heard.code, wanted.code),
        "status": (heard.status, wanted.status),
        "message": (heard.message, wanted.message or heard.message or "some"),
        "request id": (bool(heard.request_id and len(heard.request_id) == 36), True),
    }
    if vendor.tells_all:
        told["retry after"] = (heard.retry_after, wanted.retry_after)
        told["recommendation"] = (bool(heard.recommend and heard.recommend.startswith("https://")), True)
        told["denied"] = (_part(heard.denied, wanted.denied), wanted.denied)
    return [f"{what}: {was!r}, not {should!r}" for what, (was, should) in told.items() if was != should]


def _part(detail: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Of the detail what is wanted, if all that RAM documents is there; all of it if nothing is wanted."""
    if detail is None or wanted is None or not detail.keys() >= DENIED:
        return detail
    return {name: detail[name] for name in wanted}


def _exception(wanted: Refused, vendor: Vendor) -> str:
    if not vendor.tells_all or wanted.status >= 500:
        return "ServerException"
    return "ClientException" if wanted.retry_after is None else "ThrottlingException"
