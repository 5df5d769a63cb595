"""KMS secrets as the vendor's own client has them: what each operation gives, and its main refusals."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from vendor_clients import ASYNC, SYNC, Heard, Vendor
from vendor_models import complaints
from vendor_rows import ACCOUNT, REGION
from vendor_suite import at, door_of, simulator, wrong
from vendor_tally import Record, book

pytestmark = pytest.mark.oracle
NAME, ARN = "batchmod/db@1", f"acs:kms:{REGION}:{ACCOUNT}:secret/batchmod/db@1"
FIRST, SECOND = '{"AccountPassword": "uW8+nsrp%&=*~ 中"}', "second"
TAGS = '[{"TagKey": "team", "TagValue": "pay"}]'
ROTATION = frozenset({"RotationInterval", "NextRotationDate", "LastRotationDate", "ExtendedConfig"})  # of managed ones
LACKS = ROTATION | {"CiphertextForRecipient", "OwingService", "PlannedDeleteTime", "Tags", "DKMSInstanceId"}
GONE, EXISTS, INVALID = ("Forbidden.ResourceNotFound", 404), ("Rejected.ResourceExist", 409), ("InvalidParameter", 400)
FULL, WINDOW = ("Rejected.LimitExceeded", 400), ("Rejected.ResourceInDeleteWindow", 409)
MISSING = ("MissingParameter", 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call: what its reply holds, by path, or which refusal it is."""

    api: str
    params: dict[str, Any]
    gives: dict[str, Any] = field(default_factory=dict)
    refused: tuple[str, int] | None = None
    lists: bool = True  # the reply's lists are not empty

    @property
    def may_lack(self) -> frozenset[str]:
        return LACKS if self.lists else LACKS | {"VersionStage"}


def step(api: str, refused: tuple[str, int] | None = None, gives: dict[str, Any] | None = None, **params: Any) -> Step:
    return Step(api=api, params={"SecretName": NAME, **params}, gives=gives or {}, refused=refused)


def put(version: str, data: str, stages: str | None = None, refused: tuple[str, int] | None = None) -> Step:
    given: dict[str, Any] = {"VersionStages": stages} if stages else {}
    return step("PutSecretValue", refused, VersionId=version, SecretData=data, **given)


def move(label: str, to: str | None, source: str | None, refused: tuple[str, int] | None = None) -> Step:
    return step("UpdateSecretVersionStage", refused, VersionStage=label, MoveToVersion=to, RemoveFromVersion=source)


def get(refused: tuple[str, int] | None = None, gives: dict[str, Any] | None = None, **which: str) -> Step:
    return Step(
        api="GetSecretValue", params={"SecretName": NAME, **which}, gives=gives or {}, refused=refused, lists=False
    )


CREATE: dict[str, Any] = {"VersionId": "v1", "SecretData": FIRST}
LIST = "VersionIds.VersionId"
STEPS = (
    step("CreateSecret", gives={"VersionId": "v1", "SecretType": "Generic", "Arn": ARN}, Tags=TAGS, **CREATE),
    step("CreateSecret", EXISTS, **CREATE),
    step("CreateSecret", MISSING, VersionId="v1"),
    Step(api="CreateSecret", params={**CREATE, "SecretName": "a b"}, refused=INVALID),
    step(
        "GetSecretValue", gives={"SecretData": FIRST, "VersionId": "v1", "VersionStages.VersionStage": ["ACSCurrent"]}
    ),
    put("v2", SECOND, '["own"]'),
    put("v2", SECOND, '["own"]'),
    put("v2", "other", '["own"]', EXISTS),
    put("v3", SECOND, "own", INVALID),
    Step(api="PutSecretValue", params={"SecretName": "no", **CREATE}, refused=GONE),
    get(gives={"SecretData": SECOND}, VersionStage="own"),
    get(gives={"SecretData": SECOND}, VersionId="v2"),
    get(GONE, VersionStage="none"),
    get(GONE, VersionId="none"),
    move("ACSCurrent", "v2", "v2", INVALID),
    move("ACSCurrent", None, "v1", INVALID),
    move("ACSCurrent", None, None, INVALID),
    move("ACSCurrent", "none", "v1", GONE),
    move("own", "v1", None, INVALID),
    move("ACSCurrent", "v2", "v1"),
    move("ACSPrevious", "v1", None),
    move("own", None, "v2"),
    move("own", None, "v2", INVALID),
    put("v3", "third"),
    get(gives={"VersionId": "v3"}),
    get(gives={"VersionId": "v2"}, VersionStage="ACSPrevious"),
    step("ListSecretVersionIds", gives={"TotalCount": 2, f"{LIST}.0.VersionId": "v2", "PageSize": 10}),
    Step(
        api="ListSecretVersionIds",
        params={"SecretName": NAME, "IncludeDeprecated": "true", "PageSize": 2},
        gives={"TotalCount": 3, f"{LIST}.0.VersionStages.VersionStage": []},
        lists=False,
    ),
    step("ListSecretVersionIds", INVALID, PageSize=101),
    *(move(f"l{number}", "v3", None) for number in range(6)),
    move("l6", "v3", None, FULL),
    *(put(f"v{number}", "x", '["l0"]') for number in range(4, 11)),
    get(gives={"VersionId": "v1"}, VersionId="v1"),
    put("v11", "x", '["l0"]'),
    get(GONE, VersionId="v1"),
    step(
        "DescribeSecret", gives={"Tags.Tag.0.TagValue": "pay", "Arn": ARN, "EncryptionKeyId": "key-1"}, FetchTags="true"
    ),
    Step(
        api="ListSecrets",
        params={"Filters": '[{"Key": "SecretName", "Values": ["batchmod/"]}]', "FetchTags": "true"},
        gives={"TotalCount": 1, "SecretList.Secret.0.SecretName": NAME},
    ),
    Step(api="ListSecrets", params={"Filters": "[1]"}, refused=INVALID),
    step("DeleteSecret", INVALID, RecoveryWindowInDays="31"),
    step("DeleteSecret", RecoveryWindowInDays="7"),
    get(WINDOW),
    Step(api="CreateSecret", params={"SecretName": "two", **CREATE}),
    Step(api="DeleteSecret", params={"SecretName": "two", "ForceDeleteWithoutRecovery": "true"}),
    Step(api="DescribeSecret", params={"SecretName": "two"}, refused=GONE),
)


@pytest.mark.parametrize(
    ("vendor", "old"), [(SYNC, False), (ASYNC, False), (SYNC, True)], ids=["sync", "async", "old signature"]
)
async def test_every_operation_and_its_main_refusals(
    vendor: Vendor, old: bool, tmp_path: Path, record_property: Record
) -> None:
    """Every field that the vendor's model has, the code and status of each refusal, in the order of one secret's life."""
    found: dict[str, list[str]] = {}
    async with simulator(tmp_path) as sim:
        door = door_of(sim, old_signature=old)
        for number, one in enumerate(STEPS):
            reply = await vendor.ask(
                one.api, {**({"EncryptionKeyId": "key-1"} if number == 0 else {}), **one.params}, door
            )
            found[f"{number} {one.api} {one.refused or 'success'}"] = _complaints(one, reply)
    assert wrong(found) == {}
    for number, one in enumerate(STEPS):
        way = "old signature" if old else "secrets"
        book(record_property, vendor.name, one.api, [f"{one.refused[0] if one.refused else 'success'} {number}, {way}"])


def _complaints(one: Step, reply: dict[str, Any] | Heard) -> list[str]:
    if isinstance(reply, Heard):
        return [] if (reply.code, reply.status) == one.refused else [f"heard {reply}"]
    if one.refused:
        return [f"was answered {reply}"]
    told = {path: (at(reply, path), value) for path, value in one.gives.items()}
    return [
        *complaints(one.api, reply, may_lack=one.may_lack),
        *(f"{path} is {was!r}, not {should!r}" for path, (was, should) in told.items() if was != should),
    ]


async def test_policies_quotas_and_faults_are_for_kms_too(tmp_path: Path, record_property: Record) -> None:
    """A user who may read one name only, a window that is full, and a reply that is lost after it landed."""
    allowed = {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["kms:CreateSecret", "kms:*Value"],
                "Resource": "acs:kms:*:*:secret/batchmod/*",
            }
        ],
    }
    async with simulator(
        tmp_path,
        policies=[{"principal": "user/simulator", "document": allowed}],
        quotas={"GetSecretValue": "1/60s"},
        scripts=[{"api": "CreateSecret", "play": ["reset_after"]}],
    ) as sim:
        door = door_of(sim)
        asked = [
            ("CreateSecret", {"SecretName": NAME, **CREATE}),
            ("CreateSecret", {"SecretName": NAME, **CREATE}),
            ("CreateSecret", {"SecretName": "other", **CREATE}),
            ("DescribeSecret", {"SecretName": NAME}),
            ("GetSecretValue", {"SecretName": NAME}),
            ("GetSecretValue", {"SecretName": NAME}),
        ]
        heard = [await SYNC.ask(api, params, door) for api, params in asked]
    codes = [each.code or "lost" if isinstance(each, Heard) else "OK" for each in heard]
    assert codes == ["lost", "Rejected.ResourceExist", "Forbidden.RAM", "Forbidden.RAM", "OK", "Throttling.User"]
    for (api, _), code in zip(asked, codes, strict=True):
        book(record_property, SYNC.name, api, [f"{code}, gateway"])
