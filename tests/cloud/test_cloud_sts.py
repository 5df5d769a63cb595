import pytest
from aiohttp import web
from cloud_recorder import bench

from batchmod.cloud.client import STS_VERSION
from batchmod.cloud.sts import Identity, identity
from batchmod.errors import CallError


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
