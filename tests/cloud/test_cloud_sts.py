import pytest
from aiohttp import web
from cloud_recorder import bench, ok, seen_by_people

from batchmod.cloud.client import STS_VERSION
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.sts import Identity, assume_role, identity
from batchmod.errors import CallError
from batchmod.model.secret import Secret


async def test_identity_tells_account_and_skew() -> None:
    """STS is asked in its own version; the skew is our clock less the service's."""
    date = {"Date": "Wed, 04 Mar 2026 05:06:07 GMT"}
    arn = "acs:ram::1234567890123456:user/op"
    body = {"AccountId": "1234567890123456", "Arn": arn, "RequestId": "R"}
    async with bench(
        lambda _: web.json_response(body, headers=date), lane=None, version=STS_VERSION, wall=lambda: 1772600797.0
    ) as b:
        assert await identity(b.client) == Identity(account_id="1234567890123456", arn=arn, skew=30.0)
    (asked,) = b.asked
    assert (asked.api, asked.headers["x-acs-version"]) == ("GetCallerIdentity", "2015-04-01")


@pytest.mark.parametrize(
    ("body", "date"),
    [
        ({"Arn": "a"}, "Wed, 04 Mar 2026 05:06:07 GMT"),
        ({"AccountId": "1"}, "Wed, 04 Mar 2026 05:06:07 GMT"),
        ({"AccountId": ["1"], "Arn": "a"}, "Wed, 04 Mar 2026 05:06:07 GMT"),
        ({"AccountId": "1", "Arn": "a"}, "broken"),
    ],
)
async def test_half_an_identity_is_none(body: dict[str, object], date: str) -> None:
    """Without account, name and date nobody is known, and no skew is guessed."""
    async with bench(lambda _: web.json_response(body | {"RequestId": "R"}, headers={"Date": date}), lane=None) as b:
        with pytest.raises(CallError, match="UnreadableReply"):
            await identity(b.client)


WHOLE: dict[str, object] = {
    "AccessKeyId": "STS.example",
    "AccessKeySecret": "S3cret",
    "SecurityToken": "CAIS+token",
    "Expiration": "2026-03-04T06:06:07Z",
}


async def test_a_role_gives_a_temporary_key_and_its_end() -> None:
    """What is asked for is in the form; what comes is a key with a token, and an end in seconds since the epoch."""
    async with bench(lambda _: ok(Credentials=WHOLE), lane=None) as b:
        key, end = await assume_role(b.client, "acs:ram::1:role/op", "batchmod", 1800)
    assert key == AccessKey(id="STS.example", secret=Secret("S3cret"), token=Secret("CAIS+token"))
    assert end == 1772604367.0
    assert b.asked[0].form == {
        "RoleArn": "acs:ram::1:role/op",
        "RoleSessionName": "batchmod",
        "DurationSeconds": "1800",
    }


@pytest.mark.parametrize(
    "found",
    [
        None,
        "STS.example",
        *(WHOLE | {name: broken} for name in WHOLE for broken in (None, "", 7, ["x"])),
        WHOLE | {"AccessKeySecret": "S3cret\n"},
        WHOLE | {"Expiration": "2026-03-04T06:06:07"},
        WHOLE | {"Expiration": "soon"},
    ],
)
async def test_half_a_role_is_none(found: object) -> None:
    """A reply without a whole key and a time that means one moment is unreadable, and nothing of it is told."""
    async with bench(lambda _: ok(Credentials=found), lane=None) as b:
        with pytest.raises(CallError, match="UnreadableReply") as caught:
            await assume_role(b.client, "acs:ram::1:role/op", "batchmod", 1800)
    assert "S3cret" not in seen_by_people(caught.value)


async def test_a_reply_shows_no_secret() -> None:
    """Its secret fields are Secrets at whatever depth, and its repr has no body at all."""
    async with bench(lambda _: ok(Credentials=WHOLE, Name="orders"), lane=None) as b:
        reply = await b.client.call("AssumeRole", {})
    assert reply.body["Credentials"] | {"Expiration": ""} == {
        "AccessKeyId": "STS.example",
        "AccessKeySecret": Secret("S3cret"),
        "SecurityToken": Secret("CAIS+token"),
        "Expiration": "",
    }
    assert "S3cret" not in repr(reply) + repr(reply.body)
    assert "orders" not in repr(reply)
