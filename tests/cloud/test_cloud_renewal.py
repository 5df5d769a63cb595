"""An expired token: one refresh for all who tell of it, one repeat for each call, and never a third time."""

import itertools
from collections.abc import Callable

import pytest
from aiohttp import web
from cloud_recorder import KEY, Answer, Asked, Ring, bench, no, ok

from batchmod.cloud.credentials import AccessKey, FixedKeys
from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

OLD = AccessKey(id="STS.old", secret=Secret("S3cretOld"), token=Secret("CAIS+old"))
NEW = AccessKey(id="STS.new", secret=Secret("S3cretNew"), token=Secret("CAIS+new"))
EXPIRED = "InvalidSecurityToken.Expired"


def refuses(*keys: AccessKey, then: Callable[[], web.Response] = ok) -> Answer:
    """A service for which these keys have expired."""
    return lambda one: no(EXPIRED) if one.headers["x-acs-accesskey-id"] in {key.id for key in keys} else then()


class Broken:
    """Keys that fail: at once, or when they are to be renewed."""

    def __init__(self, error: CallError, *, key: AccessKey | None = None) -> None:
        self._error = error
        self._key = key

    async def key(self) -> AccessKey:
        if self._key is None:
            raise self._error
        return self._key

    async def renew(self, _: AccessKey) -> bool:
        raise self._error


async def test_an_expired_token_is_renewed_and_the_call_made_once_more() -> None:
    """The second request has a turn, a word before, nonce, date and key of its own; its answer is the answer."""
    log: list[tuple[str, str]] = []
    clock = itertools.count(1772600767, 100)
    nonces = (f"{n:032x}" for n in itertools.count())

    async def before() -> None:
        log.append(("before", "A"))

    keys = Ring(OLD, NEW)
    async with bench(refuses(OLD), keys=keys, wall=lambda: float(next(clock)), nonce=lambda: next(nonces)) as b:
        b.pace.log = log
        await b.client.call("A", {"InstanceId": "r-1"}, before=before)
    assert log == [(what, "A") for what in ("enter", "before", "answered", "leave") * 2]
    assert [error and error.code for error in b.pace.errors] == [EXPIRED, None]
    assert keys.told == [OLD]
    first, second = b.asked
    assert first.form == second.form == {"InstanceId": "r-1"}
    for name in ("x-acs-signature-nonce", "x-acs-date", "x-acs-accesskey-id", "x-acs-security-token", "Authorization"):
        assert first.headers[name] != second.headers[name]
    assert len(b.notices) == 2


@pytest.mark.parametrize(
    ("then", "verdict"),
    [
        (lambda: no(EXPIRED), Verdict.EXPIRED),
        (lambda: no("TaskExists"), Verdict.WAIT),
        (lambda: web.Response(status=502), Verdict.LOST),
    ],
)
async def test_what_comes_after_a_renewal_is_the_answer(then: Callable[[], web.Response], verdict: Verdict) -> None:
    """Expired again, refused or lost: there is no third request."""
    keys = Ring(OLD, NEW, KEY)
    async with bench(refuses(OLD, then=then), keys=keys) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("A", {})
    assert caught.value.verdict is verdict
    assert (len(b.asked), keys.told) == (2, [OLD])


async def test_a_key_that_cannot_be_renewed_is_not_tried_again() -> None:
    """One request, and the service's own words."""
    async with bench(refuses(OLD), keys=FixedKeys(OLD)) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("A", {})
    assert (caught.value.verdict, caught.value.code, len(b.asked)) == (Verdict.EXPIRED, EXPIRED, 1)


async def test_only_an_expired_token_is_renewed() -> None:
    """Another credential error is the account's end, and no key is asked for."""
    keys = Ring(OLD, NEW)
    async with bench(lambda _: no("InvalidSecurityToken.Malformed"), keys=keys) as b:
        with pytest.raises(CallError):
            await b.client.call("A", {})
    assert (len(b.asked), keys.told) == (1, [])


async def test_a_renewal_that_fails_says_why() -> None:
    """The request was refused and changed nothing, so the keys' own error is what the caller hears."""
    error = CallError(Verdict.NOT_SENT, code="ConnectFailed", message="")
    async with bench(refuses(OLD), keys=Broken(error, key=OLD)) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("A", {})
    assert caught.value is error
    assert len(b.asked) == 1


async def test_without_a_key_nothing_is_sent() -> None:
    """The key is asked for last, with the turn in hand; when there is none the slot is free again."""
    log: list[tuple[str, str]] = []

    async def before() -> None:
        log.append(("before", "A"))

    error = CallError(Verdict.SLOW_DOWN, code="Throttling", message="of STS")
    async with bench(lambda _: ok(), keys=Broken(error)) as b:
        b.pace.log = log
        with pytest.raises(CallError) as caught:
            await b.client.call("A", {}, before=before)
    assert caught.value is error
    assert log == [(what, "A") for what in ("enter", "before", "given up", "leave")]
    assert (b.asked, b.notices) == ([], [])


async def test_no_turn_is_held_while_a_key_is_renewed() -> None:
    """The slot is free for the refresh; the repeat waits for another one."""
    held = 0

    class Watching(Ring):
        async def renew(self, refused: AccessKey) -> bool:
            nonlocal held
            held = sum({"enter": 1, "leave": -1}.get(what, 0) for what, _ in b.pace.log)
            return await super().renew(refused)

    async with bench(refuses(OLD), keys=Watching(OLD, NEW)) as b:
        await b.client.call("A", {})
    assert held == 0


async def test_neither_key_is_in_an_error_of_both() -> None:
    """An answer that echoes the second key is withheld too."""

    def echo(one: Asked) -> web.Response:
        old = one.headers["x-acs-accesskey-id"] == OLD.id
        return no(EXPIRED if old else "X", f"token {one.headers['x-acs-security-token']}")

    async with bench(echo, keys=Ring(OLD, NEW)) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("A", {})
    assert "CAIS" not in str(caught.value) + repr(b.pace.errors) + repr([vars(e) for e in b.pace.errors if e])
