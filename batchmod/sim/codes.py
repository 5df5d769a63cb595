"""Every code that this cloud can answer with: its HTTP status and the words that go with it.

Where the vendor documents no status it is 400, or 404 for what is not found. Nothing here is meant to be matched by clients
but the code: the same one has been seen with several statuses.
"""

from collections.abc import Mapping

DEFAULT_STATUS = 400
UNSUITABLE_STATE = "The current state of the instance does not support this operation."
NO_INSTANCE = "The specified instance is not found."
FLOW_CONTROL = "Request was denied due to user flow control."
NOT_AUTHORIZED = "You are not authorized to do this action. You should be authorized by RAM."

GATEWAY: Mapping[str, tuple[int, str]] = {
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Format": (400, "Specified time stamp or date value is not well formatted."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "InvalidSignatureMethod": (400, "Specified signature method is not supported."),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAccessKeyId.Inactive": (400, "Specified access key is disabled."),
    "InvalidSecurityToken.Expired": (400, "Specified SecurityToken is expired."),
    "InvalidSecurityToken.Malformed": (400, "Specified SecurityToken is malformed."),
    "InvalidSecurityToken.MismatchWithAccessKey": (400, "Specified SecurityToken mismatch with the AccessKey."),
    "MissingSecurityToken": (400, "SecurityToken is mandatory for this action."),
    "MissingParameter": (400, "An input parameter that is mandatory for this request is not supplied."),
    "InvalidParameter": (400, "A specified parameter is not valid."),
    "InvalidParameter.Format": (400, "The specified value of parameter Format is not supported."),
    "InvalidApi.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidProtocol.NeedSsl": (404, "Your request is denied because it is not sent over HTTPS."),
    "UnsupportedHTTPMethod": (400, "This http method is not supported."),
    "Throttling": (400, "Request was denied due to request throttling."),
    "Throttling.User": (400, FLOW_CONTROL),
    "Throttling.Api": (400, "Request was denied due to api flow control."),
    "Rejected.Throttling": (400, "Request was denied due to request throttling."),
    "Forbidden.RAM": (
        403,
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "Forbidden.NotSupportRAM": (403, "This action does not support access by a RAM user."),
    "Forbedden.NotSupportRAM": (
        403,
        "This action does not support access by a RAM user.",
    ),  # a sibling product spells so
    "Forbidden.AccessKeyDisabled": (403, "The access key is disabled."),
    "Forbidden.RiskControl": (403, "Risk control rejected the request."),
    "NoPermission": (403, NOT_AUTHORIZED),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
}
KVSTORE: Mapping[str, tuple[int, str]] = {
    "InvalidInstanceName.Malformed": (400, 'The Specified parameter "InstanceName" is not valid.'),
    "InvalidPassword.Malformed": (400, 'The Specified parameter "NewPassword" is not valid.'),
    "InvalidInstanceIds.Malformed": (400, 'The Specified parameter "InstanceIds" is not valid.'),
    "TaskExists": (400, "Specified task have existed."),
    "Task.Conflict": (400, "The operation conflicts with a task that is running."),
    "IncorrectDBInstanceState": (403, "Current DB instance state does not support this operation."),
    "IncorrectDBInstanceLockMode": (403, "Current DB instance lock mode does not support this operation."),
    "IncorrectEngineVersion": (403, "Current engine version does not support this operation."),
    "OperationDenied.KVstoreInstanceStatus": (400, UNSUITABLE_STATE),
    "OperationDeniedDBStatus": (400, UNSUITABLE_STATE),
    "LockTimeout": (400, "The instance is locked by another request."),
    "InstanceType.NotSupport": (400, "The instance type does not support this operation."),
    "InvalidEngineVersion.Format": (400, "Current engine version does not support this operation."),
    "InvalidAccountName.Format": (400, "Specified account name is not valid."),
    "InvalidAccountName.Duplicate": (400, "Specified account name already exists in the instance."),
    "InvalidAccountPassword.Format": (400, "Specified account password is not valid."),
    "InvalidInstanceId.NotFound": (404, NO_INSTANCE),
    "InvalidDBInstance.NotFound": (404, NO_INSTANCE),
    "InvalidDBInstanceId.NotFound": (404, NO_INSTANCE),
    "InvalidDbInstanceId.NotFound": (404, NO_INSTANCE),
}
STS: Mapping[str, tuple[int, str]] = {
    "EntityNotExist.Role": (404, "The specified Role does not exist."),
    "InvalidParameter.RoleArn": (400, "The parameter RoleArn is wrongly formed."),
    "InvalidParameter.RoleSessionName": (400, "The parameter RoleSessionName is wrongly formed."),
    "InvalidParameter.DurationSeconds": (400, "The Min/Max value of DurationSeconds is 15min/max session of the role."),
    "InvalidParameter.PolicyGrammar": (400, "The parameter Policy has not passed grammar check."),
    "InvalidParameter.PolicySize": (400, "The size of Policy must be smaller than 2048 bytes."),
    "MissingRoleArn": (400, "RoleArn is mandatory for this action."),
    "MissingRoleSessionName": (400, "RoleSessionName is mandatory for this action."),
}
KMS: Mapping[str, tuple[int, str]] = {
    "Forbidden.NoPermission": (403, "You are not authorized to perform the operation."),
    "Forbidden.ResourceNotFound": (404, "The resource is not found."),
    "Rejected.ResourceExist": (409, "The resource already exists."),
    "Rejected.ResourceInDeleteWindow": (409, "The secret is planned to be deleted."),
    "Rejected.LimitExceeded": (400, "The secret quota is exceeded."),
    "InternalFailure": (500, "An internal error occurred."),
}
CODES: Mapping[str, tuple[int, str]] = {**GATEWAY, **KVSTORE, **STS, **KMS}
