from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiohttp import web
from cloud_recorder import LANE, REQUEST_ID, Asked, bench, no, ok

from batchmod.cloud.changes import API, read_back, send
from batchmod.cloud.inventory import Inventory
from batchmod.cloud.views import Instance
from batchmod.errors import CallError, Verdict
from batchmod.model.events import Kind
from batchmod.model.plan import PlannedRow, Value, Values
from batchmod.model.secret import Secret

ROLE = "acs:ram::1234567890123456:role/AliyunRdsInstanceEncryptionDefaultRole"
ITEM = {"InstanceId": "r-1", "InstanceName": "renamed by somebody", "InstanceStatus": "Normal"}
LISTED = ok(Instances={"KVStoreInstance": [ITEM]}, TotalCount=1).body


def row(kind: Kind, **after: Value) -> PlannedRow:
    return PlannedRow(
        seq=0,
        account="prod",
        account_id=LANE.account_id,
        region=LANE.region,
        instance_id="r-1",
        instance_name="as planned",
        login="r-1",
        kind=kind,
        wave=1,
        before=dict.fromkeys(after),
        after=after,
    )


def instance(name: str | None = "orders") -> Instance:
    return Instance(
        id="r-1",
        status="Normal",
        name=name,
        region=None,
        zone=None,
        engine_version=None,
        resource_group=None,
        vpc=None,
        tags={},
        edition=None,
        architecture=None,
        charge_type=None,
        address=None,
    )


async def armed() -> None:
    """An attempt may go out."""


TARGET = {"InstanceId": "r-1", "RegionId": "cn-hangzhou"}


@pytest.mark.parametrize(
    ("planned", "secret", "sent"),
    [
        (row(Kind.ATTRIBUTES, name="new"), None, {"InstanceName": "new"}),
        (row(Kind.ATTRIBUTES, release_protection=True), None, {"InstanceReleaseProtection": "true"}),
        (
            row(Kind.ATTRIBUTES, name="new", release_protection=False),
            None,
            {"InstanceName": "new", "InstanceReleaseProtection": "false"},
        ),
        (row(Kind.PASSWORD), "uW8+nsrp", {"NewPassword": "uW8+nsrp"}),
        (row(Kind.TDE, status="Enabled"), None, {"TDEStatus": "Enabled"}),
        (
            row(Kind.TDE, status="Enabled", key_id=None, role_arn=None, algorithm="AES-CTR-256"),
            None,
            {"TDEStatus": "Enabled", "EncryptionName": "AES-CTR-256"},
        ),
        (
            row(Kind.TDE, status="Enabled", key_id="k-1", role_arn=ROLE, algorithm="AES-CTR-256"),
            None,
            {"TDEStatus": "Enabled", "EncryptionName": "AES-CTR-256", "EncryptionKey": "k-1", "RoleArn": ROLE},
        ),
    ],
)
async def test_a_change_says_what_differs_and_nothing_else(
    planned: PlannedRow, secret: str | None, sent: Mapping[str, str]
) -> None:
    """One call of the kind's API with the instance, its region and the values wanted; the RequestId comes back."""
    async with bench(lambda _: ok()) as b:
        assert await send(b.client, planned, Secret(secret) if secret else None, before=armed) == REQUEST_ID
    assert [(one.api, one.form) for one in b.asked] == [(API[planned.kind], {**TARGET, **sent})]


def test_every_kind_has_its_api() -> None:
    """The two operations that the product is for."""
    assert set(API) == set(Kind)
    assert set(API.values()) == {"ModifyInstanceAttribute", "ModifyInstanceTDE"}


@pytest.mark.parametrize("kind", Kind)
async def test_a_secret_goes_with_a_password_row_only(kind: Kind) -> None:
    """A password row without its secret, or another row with one, is a bug: nothing is sent."""
    async with bench(lambda _: ok()) as b:
        with pytest.raises(ValueError, match="secret"):
            await send(
                b.client, row(kind, name="n"), None if kind is Kind.PASSWORD else Secret("uW8+nsrp"), before=armed
            )
    assert b.asked == []


def strict(listing: Callable[[], web.Response], code: str = "MissingParameter") -> Callable[[Asked], web.Response]:
    """A service that takes release protection only together with a name or a password."""

    def answer(asked: Asked) -> web.Response:
        if asked.api == "DescribeInstances":
            return listing()
        return ok() if "InstanceName" in asked.form else no(code, "InstanceName or NewPassword is mandatory")

    return answer


@pytest.mark.parametrize("code", ["MissingParameter", "MissingInstanceName"])
async def test_protection_alone_is_sent_again_with_the_name_of_now(code: str) -> None:
    """A service that wants a name gets the one that the instance has, not the one that the plan saw."""
    arming: list[int] = []

    async def arm() -> None:
        arming.append(len(b.asked))

    async with bench(strict(lambda: web.Response(body=LISTED), code)) as b:
        assert await send(b.client, row(Kind.ATTRIBUTES, release_protection=True), None, before=arm) == REQUEST_ID
    assert arming == [0, 2]  # the journal knows of each request before it goes out
    assert b.apis == ["ModifyInstanceAttribute", "DescribeInstances", "ModifyInstanceAttribute"]
    assert b.asked[2].form == TARGET | {"InstanceReleaseProtection": "true", "InstanceName": "renamed by somebody"}


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ({"Instances": {"KVStoreInstance": [ITEM | {"InstanceName": ""}]}, "TotalCount": 1}, 2),
        ({"Instances": {"KVStoreInstance": []}, "TotalCount": 0}, 4),
    ],
    ids=["no name", "no instance"],
)
async def test_without_a_present_name_the_refusal_stands(body: dict[str, Any], calls: int) -> None:
    """No name is made up."""
    async with bench(strict(lambda: ok(**body))) as b:
        with pytest.raises(CallError, match="MissingParameter"):
            await send(b.client, row(Kind.ATTRIBUTES, release_protection=True), None, before=armed)
    assert len(b.asked) == calls


@pytest.mark.parametrize(
    ("code", "verdict"),
    [("InternalError", Verdict.NOT_SENT), ("Throttling", Verdict.SLOW_DOWN), ("X", Verdict.REFUSED)],
)
async def test_a_look_that_fails_leaves_nothing_in_doubt(code: str, verdict: Verdict) -> None:
    """The first call was refused and the second never made: no verdict says that something may have changed."""
    async with bench(strict(lambda: no(code))) as b:
        with pytest.raises(CallError, match=code) as caught:
            await send(b.client, row(Kind.ATTRIBUTES, release_protection=True), None, before=armed)
    assert caught.value.verdict is verdict
    assert b.apis == ["ModifyInstanceAttribute", "DescribeInstances"]


@pytest.mark.parametrize(
    ("planned", "secret", "code"),
    [
        (row(Kind.ATTRIBUTES, name="new"), None, "MissingParameter"),
        (row(Kind.ATTRIBUTES, name="new", release_protection=True), None, "MissingParameter"),
        (row(Kind.ATTRIBUTES, release_protection=True), None, "TaskExists"),
        (row(Kind.ATTRIBUTES, release_protection=True), None, "InternalError"),
        (row(Kind.PASSWORD), Secret("uW8+nsrp"), "MissingParameter"),
        (row(Kind.TDE, status="Enabled"), None, "MissingParameter"),
    ],
)
async def test_no_other_error_is_sent_again(planned: PlannedRow, secret: Secret | None, code: str) -> None:
    """Sending again is the caller's decision, but for that one case."""
    async with bench(lambda _: no(code)) as b:
        with pytest.raises(CallError, match=code):
            await send(b.client, planned, secret, before=armed)
    assert len(b.asked) == 1


def cloud(asked: Asked) -> web.Response:
    """An instance that is protected and encrypted with a key of its own."""
    item = {"InstanceId": "r-1", "InstanceStatus": "Normal", "InstanceReleaseProtection": "true"}
    match asked.api:
        case "DescribeInstanceAttribute":
            return ok(Instances={"DBInstanceAttribute": [item]})
        case "DescribeInstanceTDEStatus":
            return ok(TDEStatus="Enabled")
        case "DescribeEncryptionKey":
            return ok(EncryptionKey="k-1", RoleArn=ROLE, EncryptionName="AES-CTR-256")
        case other:
            return no(other)


@pytest.mark.parametrize(
    ("planned", "values", "apis"),
    [
        (row(Kind.ATTRIBUTES, name="new"), {"name": "orders"}, []),
        (row(Kind.ATTRIBUTES, release_protection=True), {"release_protection": True}, ["DescribeInstanceAttribute"]),
        (
            row(Kind.ATTRIBUTES, name="new", release_protection=True),
            {"name": "orders", "release_protection": True},
            ["DescribeInstanceAttribute"],
        ),
        (row(Kind.PASSWORD), {}, []),
        (
            row(Kind.TDE, status="Enabled", key_id=None, role_arn=None, algorithm="AES-CTR-256"),
            {"status": "Enabled"},
            ["DescribeInstanceTDEStatus"],
        ),
        (
            row(Kind.TDE, status="Enabled", key_id="k-2", role_arn=ROLE),
            {"status": "Enabled", "key_id": "k-1", "role_arn": ROLE},
            ["DescribeInstanceTDEStatus", "DescribeEncryptionKey"],
        ),
    ],
)
async def test_what_a_row_wants_is_read_back_and_nothing_else(
    planned: PlannedRow, values: Values, apis: list[str]
) -> None:
    """The values of now come from as few calls as tell them."""
    async with bench(cloud) as b:
        assert await read_back(Inventory(b.client), planned, instance()) == values
    assert b.apis == apis


async def test_the_key_of_an_unencrypted_instance_is_not_asked_for() -> None:
    """The service would refuse the question."""
    async with bench(lambda _: ok(TDEStatus="Disabled")) as b:
        values = await read_back(Inventory(b.client), row(Kind.TDE, status="Enabled", key_id="k-1"), instance())
    assert values == {"status": "Disabled"}
    assert b.apis == ["DescribeInstanceTDEStatus"]


async def test_attributes_of_nobody_prove_nothing() -> None:
    """An instance that is listed and yet has no attributes is asked for again, not taken for unprotected."""
    async with bench(lambda _: no("InvalidInstanceId.NotFound")) as b:
        with pytest.raises(CallError) as caught:
            await read_back(Inventory(b.client), row(Kind.ATTRIBUTES, release_protection=True), instance())
    assert caught.value.verdict is Verdict.LOST
