import asyncio
import contextlib
import gzip
import itertools
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from aiohttp import web
from alibabacloud_tea_openapi.utils import Utils
from cloud_recorder import (
    KEY,
    LANE,
    REQUEST_ID,
    Asked,
    Ring,
    bench,
    client_of,
    no,
    ok,
    raw_server,
    request_head_and_body,
    seen_by_people,
)

from batchmod.cloud.client import Param
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.signing import ALGORITHM
from batchmod.cloud.wire import REPLY_LIMIT, Line
from batchmod.errors import CallError, Verdict
from batchmod.model.notices import CallAnswered
from batchmod.model.secret import Secret

BREAKING = "a\r\nx-evil: 1"
CANARY = "uW8+nsrp%&=!@#"
PARAMS: dict[str, Param] = {
    "InstanceId": "r-1",
    "NewPassword": Secret(CANARY),
    "InstanceReleaseProtection": True,
    "PageSize": 50,
    "InstanceName": None,
}
TEMPORARY = AccessKey(id="STS.example", secret=Secret("S3cretS3cret"), token=Secret("CAIS+token/=="))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def test_parameters_travel_in_the_form_and_nowhere_else() -> None:
    """POST to /, no query; true is `true`, None is left out, and no other part has the password."""
    async with bench(lambda _: ok()) as b:
        reply = await b.client.call("ModifyInstanceAttribute", PARAMS)
    (asked,) = b.asked
    assert (reply.request_id, asked.target, asked.api) == (REQUEST_ID, "/", "ModifyInstanceAttribute")
    assert asked.form == {
        "InstanceId": "r-1",
        "NewPassword": CANARY,
        "InstanceReleaseProtection": "true",
        "PageSize": "50",
    }
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.headers["Accept-Encoding"] == "identity"
    assert CANARY not in str(asked.headers)
    assert "nsrp" not in str(asked.headers)


@pytest.mark.oracle
@pytest.mark.parametrize("key", [KEY, TEMPORARY], ids=["plain", "temporary"])
async def test_what_arrives_is_signed_as_the_vendor_does(key: AccessKey) -> None:
    """The vendor's library, given what the service got, comes to the signature that came with it."""
    async with bench(lambda _: ok(), key=key) as b:
        await b.client.call("ModifyInstanceAttribute", PARAMS)
    headers = {name.lower(): value for name, value in b.asked[0].headers.items()}
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {name for name in headers if name.startswith("x-acs-")} | {"host", "content-type"} == set(names)
    request = SimpleNamespace(method="POST", pathname="/", query={}, headers={name: headers[name] for name in names})
    payload = Utils.hash(b.asked[0].body, ALGORITHM).hex()
    assert headers["authorization"] == Utils.get_authorization(request, ALGORITHM, payload, key.id, key.secret.reveal())
    assert headers.get("x-acs-security-token") == (key.token.reveal() if key.token else None)


async def test_each_call_has_its_own_nonce_date_and_key() -> None:
    """A call is signed for itself: nonce and date are asked for anew, and the key is the one of that moment."""
    clock = itertools.count(1772600767, 100)
    nonces = (f"{n:032x}" for n in itertools.count())
    keys = Ring(KEY, TEMPORARY)
    async with bench(lambda _: ok(), keys=keys, wall=lambda: float(next(clock)), nonce=lambda: next(nonces)) as b:
        await b.client.call("A", {})
        await keys.renew(KEY)
        await b.client.call("A", {})
    first, second = (one.headers for one in b.asked)
    assert (first["x-acs-signature-nonce"], second["x-acs-signature-nonce"]) == ("0" * 32, f"{1:032x}")
    assert (first["x-acs-date"], second["x-acs-date"]) == ("2026-03-04T05:06:07Z", "2026-03-04T05:09:27Z")
    assert KEY.id in first["Authorization"]
    assert TEMPORARY.id in second["Authorization"]


async def test_nonces_differ_by_themselves() -> None:
    """Without a given one every nonce is new, and long."""
    async with bench(lambda _: ok()) as b:
        for _ in range(3):
            await b.client.call("A", {})
    nonces = {one.headers["x-acs-signature-nonce"] for one in b.asked}
    assert len(nonces) == 3
    assert all(len(nonce) == 32 for nonce in nonces)


async def test_the_pace_is_asked_before_and_told_before_the_slot_is_free() -> None:
    """Enter, then sign and send, tell, leave: for a success as for an error."""
    log: list[tuple[str, str]] = []

    def nonce() -> str:
        log.append(("signed", log[-1][1]))
        return "n"

    def answer(asked: Asked) -> web.Response:
        log.append(("sent", asked.api))
        return ok() if asked.api == "A" else no("Throttling.User", headers={"x-acs-retry-after": "1500"})

    async with bench(answer, nonce=nonce) as b:
        b.pace.log = log
        await b.client.call("A", {})
        with pytest.raises(CallError) as caught:
            await b.client.call("B", {})
    assert log == [(what, api) for api in "AB" for what in ("enter", "signed", "sent", "answered", "leave")]
    assert b.pace.errors == [None, caught.value]
    assert (caught.value.verdict, caught.value.retry_after) == (Verdict.SLOW_DOWN, 1.5)


async def test_what_comes_before_a_call_has_the_turn_and_the_last_word() -> None:
    """`before` runs with the turn in hand; when it raises nothing is sent or noticed, and the slot is free."""
    log: list[tuple[str, str]] = []

    async def before() -> None:
        log.append(("before", "A"))
        if len(b.asked) == 1:
            raise LookupError("the run stops")

    async with bench(lambda _: ok()) as b:
        b.pace.log = log
        await b.client.call("A", {}, before=before)
        assert log == [(what, "A") for what in ("enter", "before", "answered", "leave")]
        log.clear()
        with pytest.raises(LookupError):
            await b.client.call("A", {}, before=before)
    assert log == [(what, "A") for what in ("enter", "before", "given up", "leave")]
    assert (len(b.asked), len(b.notices)) == (1, 1)


async def test_every_call_of_a_lane_is_noticed() -> None:
    """Observers see lane, API, code, throttling, the seconds from signature to answer, and its id; calls of STS have no lane."""
    ticks = itertools.count(0, 2)

    def answer(asked: Asked) -> web.Response:
        return {"A": ok(), "B": no("Throttling"), "C": no("TaskExists")}[asked.api]

    async with bench(answer, monotonic=lambda: float(next(ticks))) as b:
        await b.client.call("A", {})
        for api in "BC":
            with pytest.raises(CallError):
                await b.client.call(api, {})
    assert b.notices == [
        CallAnswered(LANE, api, code, throttled=api == "B", seconds=2.0, request_id=REQUEST_ID)
        for api, code in (("A", None), ("B", "Throttling"), ("C", "TaskExists"))
    ]
    async with bench(lambda _: ok(), lane=None) as b:
        await b.client.call("A", {})
    assert b.notices == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    """The password is posted to one place; what a redirect hides is in doubt."""
    async with bench(lambda _: web.Response(status=status, headers={"Location": "/elsewhere"})) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("ModifyInstanceAttribute", PARAMS)
    assert [one.target for one in b.asked] == ["/"]
    assert (caught.value.verdict, caught.value.code) == (Verdict.LOST, f"HTTP {status}")


async def test_a_cookie_is_not_kept() -> None:
    """Nothing of one reply is told to the next request."""
    async with bench(lambda _: web.json_response({"RequestId": "R"}, headers={"Set-Cookie": "a=b"})) as b:
        await b.client.call("A", {})
        await b.client.call("A", {})
    assert "Cookie" not in b.asked[1].headers


async def test_a_reply_that_would_grow_is_not_unpacked() -> None:
    """A compressed reply was not asked for and is no answer."""
    packed = gzip.compress(b'{"RequestId": "R"}')
    async with bench(lambda _: web.Response(body=packed, headers={"Content-Encoding": "gzip"})) as b:
        with pytest.raises(CallError, match="UnreadableReply"):
            await b.client.call("A", {})


async def test_an_endless_reply_is_left() -> None:
    """Reading ends at the limit, and so does the connection: the service cannot fill the memory."""
    written = 0
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request_head_and_body(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
                written += 65536
        except ConnectionError:
            closed.set()

    async with raw_server(serve) as port, client_of(f"http://127.0.0.1:{port}") as (client, _, _):
        async with asyncio.timeout(10):
            with pytest.raises(CallError, match="UnreadableReply"):
                await client.call("A", {})
            await closed.wait()
    assert REPLY_LIMIT < written < 4 * REPLY_LIMIT


async def hang_up(_: asyncio.StreamWriter) -> None:
    """Says nothing and closes."""


async def test_what_comes_unasked_on_a_kept_connection_is_no_answer() -> None:
    """A request goes out on another connection, and has its own answer; what came before it is nobody's."""
    more, connections = asyncio.Event(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request_head_and_body(reader)
        body = b'{"RequestId": "of %d"}' % connections
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if connections == 1:
            await more.wait()
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"RequestId": "unasked"}')
            await reader.read()  # until it is left

    async with raw_server(serve) as port, client_of(f"http://127.0.0.1:{port}") as (client, _, _):
        assert (await client.call("A", {})).request_id == "of 1"
        more.set()
        for _ in range(20):  # turns of the loop: what the server wrote is there
            await asyncio.sleep(0)
        assert (await client.call("ModifyInstanceAttribute", PARAMS)).request_id == "of 2"


async def test_a_header_never_begins_another_one() -> None:
    """A value with a line break is a bug of whoever handed it over: loud, and nothing is sent."""
    async with bench(lambda _: ok()) as b, Line(b.url, connect=1.0, read=1.0, connections=1) as line:
        with pytest.raises(ValueError, match="line break") as caught:
            await line.post({"x-acs-security-token": BREAKING}, b"")
        assert b.asked == []
    assert "evil" not in seen_by_people(caught.value)


def says(text: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return say


BROKEN = {
    "hangs up": hang_up,
    "no HTTP": says(b"\x16\x03\x01 hello\r\n\r\n"),
    "half a head": says(b"HTTP/1.1 200 OK\r\nContent-"),
    "half a body": says(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"RequestId": "R"}'),
    "a broken chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "half a chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "an endless header": says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "a kept connection"])
async def test_an_answer_that_breaks_is_lost_and_the_request_is_not_repeated(how: str, reused: bool) -> None:
    """Once the request is out there is no telling; the library sends no second copy, not even on a kept connection."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reused:
            await request_head_and_body(reader)
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"RequestId": "R"}')
        bodies.append((await request_head_and_body(reader))[1])
        await BROKEN[how](writer)

    async with raw_server(serve) as port, client_of(f"http://127.0.0.1:{port}") as (client, pace, _):
        if reused:
            await client.call("A", {})
        with pytest.raises(CallError) as caught:
            await client.call("ModifyInstanceAttribute", PARAMS)
        assert caught.value.verdict is Verdict.LOST
        assert caught.value.code in {"ConnectionLost", "UnreadableReply"}
        assert pace.errors[-1] is caught.value
    assert len(bodies) == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENT = {
    "says nothing": [],
    "says go on": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "says a head": [CHUNKED],
    "says a piece": [CHUNKED + b"2\r\n{}\r\n"],
    "breaks a later piece": [CHUNKED + b"2\r\n{}\r\n", b"zz\r\n{}\r\n"],
    "goes on and on": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 1000,
}


@pytest.mark.parametrize("how", SILENT)
async def test_silence_is_lost_after_the_read_timeout(how: str) -> None:
    """A service that takes the request and never says all of an answer leaves it in doubt."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head_and_body(reader)
        for piece in SILENT[how]:
            writer.write(piece)
            with contextlib.suppress(ConnectionError, TimeoutError):  # each piece comes by itself
                await writer.drain()
                await asyncio.wait_for(done.wait(), 0.01)
        await done.wait()

    async with raw_server(serve) as port, client_of(f"http://127.0.0.1:{port}", read=0.05) as (client, _, _):
        async with asyncio.timeout(5):
            with pytest.raises(CallError) as caught:
                await client.call("A", {})
        done.set()
    assert caught.value.verdict is Verdict.LOST
    assert caught.value.code in {"ReadTimeout", "ConnectionLost"}


async def test_a_closed_port_is_not_sent() -> None:
    """Nobody listens: nothing left this machine."""
    async with raw_server(lambda _r, _w: asyncio.sleep(0)) as port:
        pass
    async with client_of(f"http://127.0.0.1:{port}") as (client, _, _):
        with pytest.raises(CallError) as caught:
            await client.call("A", {})
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "ConnectFailed")


async def test_a_tunnel_that_is_refused_is_not_sent() -> None:
    """A proxy is asked for a tunnel and sees no request; its refusal comes before anything is sent."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(serve) as port:
        proxy = Secret(f"http://me:{CANARY[:4]}hunter2@127.0.0.1:{port}")
        async with client_of("https://service.example", proxy=proxy) as (client, _, _):
            with pytest.raises(CallError) as caught:
                await client.call("ModifyInstanceAttribute", PARAMS)
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "ProxyRefused")
    assert heads[0].startswith(b"CONNECT service.example:443 ")
    assert b"x-acs" not in heads[0]
    assert "hunter2" not in seen_by_people(caught.value)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (
            lambda one: no("SignatureDoesNotMatch", f"server string to sign is:{one.body.decode()}"),
            Verdict.ACCOUNT_STOP,
        ),
        (lambda one: no("InvalidPassword.Malformed", f"{one.form['NewPassword']} is weak"), Verdict.REFUSED),
        (lambda one: no("X", f"token {one.headers['x-acs-security-token']}"), Verdict.REFUSED),
        (lambda one: no(one.form["NewPassword"]), Verdict.REFUSED),
        (lambda one: web.Response(body=one.body), Verdict.LOST),
        (lambda one: web.Response(body=one.body, status=502), Verdict.LOST),
        (lambda one: web.Response(status=307, headers={"Location": f"/?{one.body.decode()}"}), Verdict.LOST),
    ],
)
async def test_no_secret_of_the_request_is_in_an_error_or_a_log(
    reply: Callable[[Asked], web.Response], verdict: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the service echoes, password, key and token are in no error, traceback, notice or log line."""
    caplog.set_level(logging.DEBUG)
    async with bench(reply, key=TEMPORARY) as b:
        with pytest.raises(CallError) as caught:
            await b.client.call("ModifyInstanceAttribute", PARAMS)
    assert caught.value.verdict is verdict
    text = seen_by_people(caught.value) + repr(b.notices) + caplog.text
    for secret in (CANARY, "uW8%2Bnsrp", "CAIS+token", "CAIS%2Btoken", "S3cret"):
        assert secret not in text


async def test_a_cancelled_call_leaves_its_turn() -> None:
    """Cancelling is passed on as it is, the slot is free, and nobody is told of an answer that never came."""
    arrived, done = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_head_and_body(reader)
        arrived.set()
        await done.wait()

    async with raw_server(serve) as port, client_of(f"http://127.0.0.1:{port}") as (client, pace, notices):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.call("A", {}))
            await arrived.wait()
            task.cancel()
        done.set()
    assert task.cancelled()
    assert (pace.log, notices) == ([("enter", "A"), ("given up", "A"), ("leave", "A")], [])
