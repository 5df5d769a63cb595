"""Every documented code can be played by its name alone, and comes with its documented status."""

import pytest
from sim_support import ONE, Caller

from batchmod.sim.codes import CODES

DOCUMENTED = {
    400: """InvalidTimeStamp.Expired InvalidTimeStamp.Format SignatureNonceUsed SignatureDoesNotMatch
        InvalidSignatureMethod InvalidAccessKeyId.Inactive InvalidSecurityToken.Expired InvalidSecurityToken.Malformed
        InvalidSecurityToken.MismatchWithAccessKey MissingSecurityToken MissingParameter InvalidParameter
        InvalidParameter.Format UnsupportedHTTPMethod Throttling Throttling.User Throttling.Api Rejected.Throttling
        InvalidInstanceName.Malformed InvalidPassword.Malformed InvalidInstanceIds.Malformed TaskExists Task.Conflict
        OperationDenied.KVstoreInstanceStatus OperationDeniedDBStatus LockTimeout InstanceType.NotSupport
        InvalidEngineVersion.Format InvalidAccountName.Format InvalidAccountName.Duplicate InvalidAccountPassword.Format
        InvalidParameter.RoleArn InvalidParameter.RoleSessionName InvalidParameter.DurationSeconds
        InvalidParameter.PolicyGrammar InvalidParameter.PolicySize MissingRoleArn MissingRoleSessionName Rejected.LimitExceeded""",
    403: """Forbidden.RAM Forbidden.NotSupportRAM Forbedden.NotSupportRAM Forbidden.AccessKeyDisabled
        Forbidden.RiskControl NoPermission IncorrectDBInstanceState IncorrectDBInstanceLockMode
        IncorrectEngineVersion Forbidden.NoPermission""",
    404: """InvalidAccessKeyId.NotFound InvalidApi.NotFound InvalidAction.NotFound InvalidProtocol.NeedSsl
        InvalidInstanceId.NotFound InvalidDBInstance.NotFound InvalidDBInstanceId.NotFound
        InvalidDbInstanceId.NotFound EntityNotExist.Role Forbidden.ResourceNotFound""",
    409: "Rejected.ResourceExist Rejected.ResourceInDeleteWindow",
    500: "InternalError InternalFailure",
    503: "ServiceUnavailable",
}
EXPECTED = {code: status for status, codes in DOCUMENTED.items() for code in codes.split()}


def test_the_table_is_complete() -> None:
    """It has every documented code, and none that this suite does not know."""
    assert CODES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("code", sorted(EXPECTED))
def test_a_script_plays_it(code: str) -> None:
    """`refuse:Code` answers with status, words and the vendor's envelope; the next call goes through."""
    call = Caller(f"scripts: [{{api: ModifyInstanceAttribute, play: ['refuse:{code}']}}]")
    answer = call("ModifyInstanceAttribute", ONE, InstanceName="renamed")
    assert (answer.status, answer.fields["Code"]) == (EXPECTED[code], code)
    assert len(answer.fields["Message"]) > 10
    assert call.rename() == "OK"


def test_a_script_may_know_better() -> None:
    """An explicit status and message win, and a code that nobody documents is 400; so do rules and throttling."""
    faults = f"""
scripts:
  - api: DescribeRegions
    play:
      - {{fault: refuse, code: SignatureDoesNotMatch, status: 403, message: No.}}
      - refuse:Never.Heard.Of
      - {{fault: throttle, code: Throttling.Api, status: 429}}
refuse: [{{match: {ONE}, code: IncorrectEngineVersion}}]
"""
    call = Caller(faults)
    answers = [call("DescribeRegions") for _ in range(3)]
    assert [each.status for each in answers] == [403, 400, 429]
    assert (answers[0].fields["Message"], answers[2].fields["Code"]) == ("No.", "Throttling.Api")
    assert call("ModifyInstanceTDE", ONE, TDEStatus="Enabled").status == 403
