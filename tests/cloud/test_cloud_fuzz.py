"""Whatever a server answers, a call gives a reply with a RequestId or a CallError, and the parsers a value or a CallError."""

import html
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import quote, quote_plus

from aiohttp import web
from cloud_recorder import KEY, LANE, bench, client_of, raw_server, request_head_and_body
from hypothesis import given
from hypothesis import strategies as st
from selector_records import a_selector
from soaking import FACTOR, examples

from batchmod.cloud.answers import Reply, read
from batchmod.cloud.client import Client
from batchmod.cloud.inventory import Inventory
from batchmod.cloud.sts import assume_role, identity
from batchmod.errors import CallError
from batchmod.model.secret import Secret

SECRET = Secret("S3cret-of-the-request")
STRANGE = st.sampled_from(
    [
        "\ud800",
        "\0",
        "9" * 5000,
        "-1",
        "1e999",
        "NaN",
        "٣",
        "²",
        "r-1",
        "Normal",
        "true",
        "enabled",
        "",
        " ",
        "cn-hangzhou",
    ]
)
TEXT = st.text(max_size=8) | STRANGE
ATOM = st.none() | st.booleans() | st.integers() | st.just(10**300) | st.floats() | TEXT
JSON = st.recursive(
    ATOM, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


def deep(levels: int) -> Any:
    found: Any = "x"
    for number in range(levels):
        found = [found] if number % 2 else {"InstanceName": found}
    return found


ANY = JSON | st.integers(min_value=1, max_value=900).map(deep)
INSTANCE = {
    "InstanceId": "r-1",
    "InstanceStatus": "Normal",
    "InstanceName": "cache",
    "RegionId": "cn-hangzhou",
    "ConnectionDomain": "r-1.redis.example",
    "Port": 6379,
    "EngineVersion": "7.0",
    "InstanceReleaseProtection": True,
    "Tags": {"Tag": [{"Key": "env", "Value": "prod"}]},
}
WHOLE: dict[str, Any] = {  # answers every question
    "RequestId": "5D622714",
    "TotalCount": 1,
    "Instances": {"KVStoreInstance": [INSTANCE], "DBInstanceAttribute": [INSTANCE]},
    "TDEStatus": "Enabled",
    "EncryptionKey": "key",
    "RoleArn": "acs:ram::1234567890123456:role/r",
    "EncryptionName": "AES-CTR-256",
    "AccountId": "1234567890123456",
    "Arn": "acs:ram::1234567890123456:user/u",
    "Credentials": {
        "AccessKeyId": "STS.LTAI5t",
        "AccessKeySecret": "S3cretOfARole",
        "SecurityToken": "CAIStoken",
        "Expiration": "2030-01-01T00:00:00Z",
    },
}


def paths(value: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    if above:
        yield above
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(each, *above, key)


def spoilt(changes: list[tuple[tuple[str | int, ...], Any]]) -> Any:
    """The whole body with something else at some places."""
    body = json.loads(json.dumps(WHOLE))
    for path, value in changes:
        place = body
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # what it was a part of is another thing already
    return body


STORED = st.recursive(  # integers beyond 64 bits are the one thing that is read as another number
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.sampled_from(
    [
        lambda body: json.dumps(body).encode(),
        lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        lambda body: json.dumps(body, ensure_ascii=False, indent=1).encode("utf-8-sig", "surrogatepass"),
    ]
)


@examples(300)
@given(more=STORED, written=WRITTEN)
def test_a_body_is_read_as_the_standard_library_reads_it(more: Any, written: Callable[[Any], bytes]) -> None:
    """Byte order mark, lone surrogates, NaN and infinity too."""
    text = written({"RequestId": "R", "more": more})
    reply = read(status=200, headers={}, content=text, received=1.0, secrets=[])
    assert isinstance(reply, Reply)
    expected = json.loads(text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass"))
    assert repr(reply.body) == repr(expected)  # NaN is not equal to itself


BODY = st.lists(st.tuples(st.sampled_from([*paths(WHOLE)]), ATOM | ANY), min_size=1, max_size=2).map(spoilt)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 304, 307, 400, 403, 404, 429, 500, 502, 503, 599])
HEADERS = st.dictionaries(
    st.sampled_from(["date", "x-acs-retry-after", "x-other"]),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
    | st.sampled_from(["Tue, 31 Feb 0000 99:99:99 +9999", "1" * 40, ",", "Mon, 1 Jan 99999 00:00:00 GMT", "Thu,"]),
)


@examples(200)
@given(
    status=STATUS,
    headers=HEADERS,
    content=st.none() | st.binary(max_size=60) | (JSON | BODY).map(lambda body: json.dumps(body).encode()),
)
def test_any_answer_is_a_reply_with_an_id_or_an_error(
    status: int, headers: dict[str, str], content: bytes | None
) -> None:
    """And nothing that is shown of it is long, unprintable or a secret of the request."""
    answer = read(status=status, headers=headers, content=content, received=1.0, secrets=[SECRET])
    shown = (
        [answer.request_id] if isinstance(answer, Reply) else [answer.code, answer.message, answer.request_id or "-"]
    )
    assert all(text.isprintable() and len(text) <= 500 for text in shown)
    if isinstance(answer, Reply):
        assert status == 200
        assert answer.request_id
    else:
        assert answer.retry_after is None or answer.retry_after > 0


@examples(80)
@given(
    before=st.text(max_size=5),
    after=st.text(max_size=5),
    nested=st.lists(st.sampled_from(["url", "plus", "json", "html"]), max_size=3),
)
def test_a_secret_in_any_escape_is_withheld(before: str, after: str, nested: list[str]) -> None:
    """Up to three escapes around each other, inside the JSON of the reply."""
    secret = "a&b%c+d=E/1\"'"
    escapes: Mapping[str, Callable[[str], str]] = {
        "url": lambda text: quote(text, safe=""),
        "plus": quote_plus,
        "json": lambda text: json.dumps(text)[1:-1].replace("&", "\\u0026"),
        "html": html.escape,
    }
    text = before + secret + after
    for name in nested:
        text = escapes[name](text)
    content = json.dumps({"Code": "Wrong", "Message": text}).encode()
    answer = read(status=400, headers={}, content=content, received=1.0, secrets=[Secret(secret)])
    assert isinstance(answer, CallError)
    assert answer.message == "(withheld)"


QUESTIONS: tuple[Callable[[Client], Awaitable[object]], ...] = (
    lambda client: Inventory(client).look(["r-1", "r-2"]),
    lambda client: Inventory(client).look(["r-1"]),
    lambda client: Inventory(client).page(a_selector(tags={"env": "prod"}), 1),
    lambda client: Inventory(client).page(a_selector(), 1),
    lambda client: Inventory(client).details("r-1"),
    lambda client: Inventory(client).tde("r-1"),
    lambda client: Inventory(client).encryption_key("r-1"),
    identity,
    lambda client: assume_role(client, "acs:ram::1234567890123456:role/r", "session", 3600),
)


async def test_whatever_a_server_says_a_question_has_an_answer_or_a_call_error() -> None:
    """Every reader of replies, over HTTP, with bodies of the right shape and wrong types."""
    said: list[bytes] = []
    async with bench(lambda _: web.Response(body=said[-1], content_type="application/json")) as b:

        async def ask(body: Any) -> None:
            said.append(json.dumps(body).encode())
            for question in QUESTIONS:
                with suppress(CallError):
                    await question(b.client)

        await tried(400 * FACTOR, BODY, ask)


RAW = st.binary(max_size=80) | st.builds(
    lambda line, headers, body: line + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body,
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.0 500 X",
            b"HTTP/1.1 200",
            b"HTTP/2 200 OK",
            b"HTTP/1.1 999 \xff",
            b"GET / HTTP/1.1",
        ]
    ),
    st.lists(
        st.sampled_from(
            [
                b"Content-Length: 5",
                b"Content-Length: -5",
                b"Content-Length: 99999999999999999999",
                b"Content-Length: five",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: gzip",
                b"Content-Encoding: br",
                b"Content-Type: \xff\xfe",
                b"Content-Type: text/plain; charset=klingon",
                b"Location: http://[",
                b"Set-Cookie: a=\x00",
                b"Date: \xff",
                b"no colon",
                b": empty",
                b"Connection: upgrade",
                b"x: " + b"y" * 9000,
            ]
        ),
        max_size=3,
    ),
    st.binary(max_size=20)
    | st.sampled_from([b'{"RequestId":"1"}', b"ffffffffffffffffff\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"-1\r\n"]),
)


async def test_whatever_bytes_come_back_a_call_ends_with_a_reply_or_a_call_error() -> None:
    """Bytes that are no HTTP, headers that contradict the body, lengths that nothing has."""
    said: list[bytes] = []

    async def serve(reader: Any, writer: Any) -> None:
        await request_head_and_body(reader)
        writer.write(said[-1])
        await writer.drain()

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(raw_server(serve))
        at = client_of(f"http://127.0.0.1:{port}", key=KEY, lane=LANE, read=2.0)
        client, _, _ = await stack.enter_async_context(at)

        async def ask(content: bytes) -> None:
            said.append(content)
            with suppress(CallError):
                assert (await client.call("DescribeInstances", {"NewPassword": SECRET})).request_id

        await tried(150 * FACTOR, RAW, ask)


async def tried(count: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], Awaitable[None]]) -> None:
    """Checks values of the strategy in the event loop that a test runs in, which Hypothesis cannot turn by itself."""
    values: list[Any] = []

    @examples(count // FACTOR)
    @given(strategy)
    def gather(value: Any) -> None:
        values.append(value)

    gather()
    for value in values:
        try:
            await check(value)
        except Exception as error:
            raise AssertionError(f"for {value!r:.2000}") from error
