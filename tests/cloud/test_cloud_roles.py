"""A role's key: asked for once, kept, refreshed ahead of its end, by one caller for all."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiohttp import web
from cloud_recorder import Asked, Bench, Ring, bench, no, ok, seen_by_people

from batchmod.cloud.client import STS_VERSION
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.roles import EARLY_PAUSE, RoleKeys
from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

ARN = "acs:ram::1234567890123456:role/redis-operator"
BEGIN = 1772600767.0  # 2026-03-04T05:06:07Z
EXPIRED = "InvalidSecurityToken.Expired"


@dataclass(slots=True, kw_only=True)
class Sts:
    """STS as a test has it: each role key lives for `life` seconds from `now`; `instead` is said as long as it is set."""

    life: float = 3600.0
    now: float = BEGIN
    instead: web.Response | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    given: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, _: Asked) -> web.Response:
        self.arrived.set()
        await self.gate.wait()
        if self.instead is not None:
            return web.Response(body=self.instead.body, status=self.instead.status, headers=self.instead.headers)
        self.given += 1
        end = datetime.fromtimestamp(self.now + self.life, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return ok(Credentials=credentials(self.given, end))


def credentials(number: int, end: str) -> dict[str, str]:
    return {
        "AccessKeyId": f"STS.{number}",
        "AccessKeySecret": f"S3cret{number}",
        "SecurityToken": f"CAIS+token{number}",
        "Expiration": end,
    }


def role_key(number: int) -> AccessKey:
    return AccessKey(id=f"STS.{number}", secret=Secret(f"S3cret{number}"), token=Secret(f"CAIS+token{number}"))


@asynccontextmanager
async def role(sts: Sts) -> AsyncIterator[tuple[RoleKeys, Bench]]:
    async with bench(sts.answer, lane=None, version=STS_VERSION) as b:
        yield RoleKeys(b.client, ARN, "batchmod", wall=lambda: sts.now), b


async def test_the_role_is_assumed_once_and_its_key_kept() -> None:
    """STS is asked in its own version for an hour, and not again while the key is young."""
    async with role(sts := Sts()) as (keys, b):
        assert await keys.key() == role_key(1)
        sts.now += 2699
        assert await keys.key() == role_key(1)
    (asked,) = b.asked
    assert (asked.api, asked.headers["x-acs-version"]) == ("AssumeRole", "2015-04-01")
    assert asked.form == {"RoleArn": ARN, "RoleSessionName": "batchmod", "DurationSeconds": "3600"}


@pytest.mark.parametrize(
    ("life", "due"), [(900, 675), (3600, 2700), (43200, 42300), (240, 180), (100, 50), (40, 20)], ids=str
)
async def test_a_key_is_refreshed_ahead_of_its_end(life: int, due: int) -> None:
    """A quarter of its life before, at least a minute, at most 15; a very short one works and is refreshed half-way."""
    async with role(sts := Sts(life=life)) as (keys, b):
        await keys.key()
        sts.now = BEGIN + due - 1
        assert await keys.key() == role_key(1)
        sts.now = BEGIN + due
        assert await keys.key() == role_key(2)
    assert len(b.asked) == 2


async def test_fifty_callers_make_one_request() -> None:
    """At the first key, and at the one after the end: whoever waits has what the one call brought."""
    async with role(sts := Sts(life=900)) as (keys, b):
        for number in (1, 2):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(keys.key()) for _ in range(50)]
            assert {task.result().id for task in tasks} == {f"STS.{number}"}
            sts.now += 901
    assert len(b.asked) == 2


async def test_an_early_refresh_keeps_nobody_waiting_but_its_caller() -> None:
    """While one call asks for the next key the others sign with the one that still lives."""
    async with role(sts := Sts(life=900)) as (keys, b):
        await keys.key()
        sts.now += 800
        sts.gate.clear()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(keys.key())
            others = [group.create_task(keys.key()) for _ in range(50)]
            async with asyncio.timeout(10):
                assert {(await other).id for other in others} == {"STS.1"}
            sts.gate.set()
        assert first.result() == role_key(2)
    assert len(b.asked) == 2


@pytest.mark.parametrize("instead", [no("NoPermission", status=403), no("Throttling"), web.Response(status=502)])
async def test_an_early_refresh_that_fails_is_no_error(instead: web.Response) -> None:
    """The old key serves to its end; STS is asked again after a pause, and what it says then counts."""
    async with role(sts := Sts(life=900)) as (keys, b):
        await keys.key()
        sts.now, sts.instead = BEGIN + 700, instead
        assert [await keys.key() for _ in range(5)] == [role_key(1)] * 5
        assert len(b.asked) == 2
        sts.now += EARLY_PAUSE
        assert await keys.key() == role_key(1)
        assert len(b.asked) == 3
        sts.now, sts.instead = BEGIN + 899, None
        assert await keys.key() == role_key(2)


MEANING = [
    (no("EntityNotExist.Role", "The role not exists.", status=404), Verdict.ACCOUNT_STOP, "EntityNotExist.Role"),
    (no("NoPermission", "does not trust you", status=403), Verdict.ACCOUNT_STOP, "NoPermission"),
    (no("InvalidParameter.RoleArn", status=400), Verdict.ACCOUNT_STOP, "InvalidParameter.RoleArn"),
    (no("Brand.NewCode", status=400), Verdict.ACCOUNT_STOP, "Brand.NewCode"),
    (no("InvalidInstanceId.NotFound", status=404), Verdict.ACCOUNT_STOP, "InvalidInstanceId.NotFound"),
    (no("InvalidAccessKeyId.NotFound", status=404), Verdict.ACCOUNT_STOP, "InvalidAccessKeyId.NotFound"),
    (no(EXPIRED, status=403), Verdict.ACCOUNT_STOP, EXPIRED),
    (no("Throttling.User", headers={"x-acs-retry-after": "1500"}), Verdict.SLOW_DOWN, "Throttling.User"),
    (no("ServiceUnavailable", status=503), Verdict.NOT_SENT, "ServiceUnavailable"),
    (web.Response(status=502), Verdict.NOT_SENT, "HTTP 502"),
    (ok(Credentials={"AccessKeyId": "STS.1"}), Verdict.NOT_SENT, "UnreadableReply"),
]


@pytest.mark.parametrize(("instead", "verdict", "code"), MEANING, ids=[code for _, _, code in MEANING])
async def test_an_error_of_sts_is_told_for_the_call_that_was_not_sent(
    instead: web.Response, verdict: Verdict, code: str
) -> None:
    """No is the account's end, silence means not sent, a quota is a quota; code, message and wait are STS's own."""
    async with role(Sts(instead=instead)) as (keys, _):
        with pytest.raises(CallError) as caught:
            await keys.key()
    error = caught.value
    assert (error.verdict, error.code) == (verdict, code)
    assert error.retry_after == (1.5 if verdict is Verdict.SLOW_DOWN else None)
    assert isinstance(error.__cause__, CallError)
    assert error.message == error.__cause__.message


async def test_a_no_is_final_and_silence_is_not() -> None:
    """A role that is denied is not asked for again; one that got no answer is."""
    async with role(sts := Sts(instead=web.Response(status=502))) as (keys, b):
        for instead in (web.Response(status=502), no("NoPermission"), None):
            sts.instead = instead
            with pytest.raises(CallError):
                await keys.key()
    assert len(b.asked) == 2


@pytest.mark.parametrize("instead", [web.Response(status=502), no("NoPermission", status=403)])
async def test_fifty_callers_share_one_failure(instead: web.Response) -> None:
    """Each has an error of its own, and STS was asked once."""
    async with role(Sts(instead=instead)) as (keys, b):
        found = await asyncio.gather(*(keys.key() for _ in range(50)), return_exceptions=True)
    assert len({id(error) for error in found}) == 50
    assert len({str(error) for error in found}) == 1
    assert len(b.asked) == 1


async def test_whoever_asks_and_is_cancelled_is_followed_by_the_next() -> None:
    """A caller that goes away takes nobody with it."""
    async with role(sts := Sts()) as (keys, _):
        sts.gate.clear()
        async with asyncio.TaskGroup() as group:
            first, second = (group.create_task(keys.key()) for _ in range(2))
            async with asyncio.timeout(10):
                await sts.arrived.wait()
            first.cancel()
            sts.gate.set()
        assert second.result().id in {"STS.1", "STS.2"}
    assert first.cancelled()


async def test_twenty_calls_with_an_expired_token_make_one_refresh_and_one_repeat_each() -> None:
    """Whatever our clock says: the service calls the token expired, and each call goes out twice and no more."""
    sent: list[str] = []
    arrived = asyncio.Event()

    async def serve(one: Asked) -> web.Response:
        sent.append(one.headers["x-acs-accesskey-id"])
        if len(sent) == 20:
            arrived.set()
        if sent[-1] == "STS.1":
            await arrived.wait()  # all twenty are out before the first one fails
            return no(EXPIRED)
        return ok()

    async with role(Sts()) as (keys, sts), bench(serve, keys=keys, connections=20) as b, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(b.client.call("ModifyInstanceAttribute", {}))
    assert sorted(sent) == ["STS.1"] * 20 + ["STS.2"] * 20
    assert sts.apis == ["AssumeRole"] * 2


async def test_a_refusal_of_an_older_key_needs_no_refresh() -> None:
    """Whoever tells late of a key that is gone is told to go on with the one at hand."""
    async with role(Sts(life=900)) as (keys, b):
        await keys.key()
        assert await keys.renew(role_key(1))
        assert await keys.renew(role_key(1))
        assert await keys.key() == role_key(2)
    assert len(b.asked) == 2


@pytest.mark.parametrize(
    ("instead", "verdict"),
    [(web.Response(status=502), Verdict.NOT_SENT), (no("NoPermission", status=403), Verdict.ACCOUNT_STOP)],
)
async def test_a_key_that_was_refused_is_not_given_out_again(instead: web.Response, verdict: Verdict) -> None:
    """When the refresh fails all who told of the key hear why, from one request, and the next call asks anew."""
    async with role(sts := Sts()) as (keys, b):
        await keys.key()
        sts.instead = instead
        found = await asyncio.gather(*(keys.renew(role_key(1)) for _ in range(20)), return_exceptions=True)
        assert {error.verdict for error in found if isinstance(error, CallError)} == {verdict}
        assert (len(found), len(b.asked)) == (20, 2)
        sts.instead = None
        if verdict is Verdict.NOT_SENT:
            assert await keys.key() == role_key(2)
        else:
            with pytest.raises(CallError):
                await keys.key()


async def test_the_key_that_asks_for_the_role_is_renewed_like_any_other() -> None:
    """STS calls the source's token expired: it is renewed, and the role asked for once more."""
    sts = Sts()
    old, new = (
        AccessKey(id=name, secret=Secret("S3cret"), token=Secret("CAIS+token")) for name in ("STS.old", "STS.new")
    )

    async def answer(one: Asked) -> web.Response:
        return no(EXPIRED) if one.headers["x-acs-accesskey-id"] == old.id else await sts.answer(one)

    source = Ring(old, new)
    async with bench(answer, keys=source, lane=None, version=STS_VERSION) as b:
        assert await RoleKeys(b.client, ARN, "batchmod", wall=lambda: sts.now).key() == role_key(1)
    assert (len(b.asked), source.told) == (2, [old])


async def test_no_secret_of_a_role_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    """A whole key that comes with a broken end is in no error, log or repr; nor is a good one."""
    caplog.set_level(logging.DEBUG)
    async with role(sts := Sts()) as (keys, b):
        sts.instead = ok(Credentials=credentials(7, "soon"))
        with pytest.raises(CallError) as caught:
            await keys.key()
        sts.instead = None
        key = await keys.key()
    text = seen_by_people(caught.value) + repr(key) + repr(vars(keys)) + repr(b.notices) + caplog.text
    assert "S3cret" not in text
    assert "CAIS" not in text
