import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod import errors
from batchmod.cloud.codes import OWN, SERVICE, advice, classify
from batchmod.errors import Verdict

DOC = Path(__file__).parents[2] / "docs" / "errors.md"

KNOWN = {
    Verdict.WAIT: [
        "TaskExists",
        "Task.Conflict",
        "IncorrectDBInstanceState",
        "OperationDenied.KVstoreInstanceStatus",
        "OperationDeniedDBStatus",
        "LockTimeout",
    ],
    Verdict.SLOW_DOWN: ["Throttling", "Throttling.User", "Throttling.Api", "Rejected.Throttling"],
    Verdict.REFUSED: [
        "EntityNotExist.Role",
        "EntityNotExist.RoleArn",
        "InvalidParameter.RoleArn",
        "InvalidParameter.RoleSessionName",
        "InvalidParameter.DurationSeconds",
        "MissingParameter",
        "InvalidInstanceName.Malformed",
        "InvalidPassword.Malformed",
        "InvalidInstanceIds.Malformed",
        "InvalidParameter",
        "InstanceType.NotSupport",
        "IncorrectDBInstanceLockMode",
        "IncorrectEngineVersion",
        "InvalidEngineVersion.Format",
        "InvalidApi.NotFound",
        "InvalidAction.NotFound",
        "InvalidProtocol.NeedSsl",
        "UnsupportedHTTPMethod",
        "InvalidRegionId",
        "InvalidRegionId.NotFound",
        "Forbidden.ResourceNotFound",
        "Rejected.ResourceExist",
        "Rejected.ResourceInDeleteWindow",
        "Rejected.LimitExceeded",
    ],
    Verdict.FORBIDDEN: [
        "Forbidden",
        "Forbidden.RAM",
        "Forbidden.NotSupportRAM",
        "Forbedden.RAM",
        "NoPermission",
        "Forbidden.NoPermission",
    ],
    Verdict.GONE: [
        "InvalidInstanceId.NotFound",
        "InvalidDBInstance.NotFound",
        "InvalidDBInstanceId.NotFound",
        "InvalidDbInstanceId.NotFound",
    ],
    Verdict.EXPIRED: ["InvalidSecurityToken.Expired"],
    Verdict.ACCOUNT_STOP: [
        "InvalidSecurityToken.Malformed",
        "InvalidSecurityToken.MismatchWithAccessKey",
        "InvalidAccessKeyId.NotFound",
        "InvalidAccessKeyId.Inactive",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "InvalidSignatureMethod",
        "InvalidTimeStamp.Expired",
        "InvalidTimeStamp.Format",
        "MissingSecurityToken",
    ],
    Verdict.LOST: ["ServiceUnavailable", "InternalError", "InternalFailure", "SignatureNonceUsed"],
}
CASES = [(code, verdict) for verdict, codes in KNOWN.items() for code in codes]


@pytest.mark.parametrize(("code", "verdict"), CASES)
def test_a_known_code_means_the_same_with_every_status(code: str, verdict: Verdict) -> None:
    """The code decides; documents disagree about its status."""
    told = {status: classify(code, status=status) for status in (400, 403, 404, 429, 500, 503)}
    assert told == dict.fromkeys(told, verdict)


@given(st.text(min_size=1), st.integers(400, 499))
def test_no_code_of_a_reply_claims_that_nothing_was_sent(code: str, status: int) -> None:
    """Whatever a reply says, the request was there: not one of batchmod's own codes proves otherwise."""
    for said in (code, *OWN):
        assert classify(said, status=status) is not Verdict.NOT_SENT
        assert classify(said, status=status + 100) is not Verdict.NOT_SENT


@pytest.mark.parametrize(("status", "verdict"), [(400, Verdict.REFUSED), (499, Verdict.REFUSED), (500, Verdict.LOST)])
def test_an_unknown_code_is_a_refusal_only_with_a_4xx(status: int, verdict: Verdict) -> None:
    """What nobody knows is refused when the service says that it is the request's fault, else lost."""
    assert classify("Brand.NewCode", status=status) is verdict


def test_every_rule_can_be_reached() -> None:
    """No pattern is hidden by one before it, and no two say the same."""
    for rule in SERVICE:
        assert classify(rule.code.replace("*", ""), status=200) is rule.verdict
    assert len({rule.code for rule in SERVICE}) == len(SERVICE)


def test_advice_is_there_for_every_code_that_is_known() -> None:
    """A known code comes with something to do, an unknown one with nothing."""
    assert all(advice(code) for code, _ in CASES)
    assert all(advice(code) for code in OWN)
    assert "clock" in (advice("InvalidTimeStamp.Expired") or "")
    assert advice("HTTP 502") == OWN["HTTP *"].advice
    assert advice("Brand.NewCode") is None


def test_the_page_about_errors_says_what_the_code_does() -> None:
    """docs/errors.md lists every code, verdict and error class in the order of the tables, and nothing else."""
    sections = re.split(r"^## ", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    tables = {section.split("\n")[0]: _rows(section) for section in sections}
    assert tables["Codes of the service"] == [(f"`{r.code}`", r.verdict.value, r.advice) for r in SERVICE]
    assert tables["Codes of batchmod"] == [(f"`{r.code}`", r.verdict.value, r.advice) for r in OWN.values()]
    assert [row[0] for row in tables["Verdicts"]] == [verdict.value for verdict in Verdict]
    classes = [name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)]
    assert [row[0] for row in tables["Classes"]] == [f"`{name}`" for name in classes if name != "BatchmodError"]


def _rows(section: str) -> list[tuple[str, ...]]:
    """The cells of a section's table, without its two header lines."""
    lines = [line for line in section.split("\n") if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]
