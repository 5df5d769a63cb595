"""A cloud on loopback that answers what a test tells it and remembers what it was asked; and a pace that never waits."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.test_utils import TestServer

from batchmod.cloud.client import Client
from batchmod.cloud.credentials import AccessKey, FixedKeys, Keys
from batchmod.cloud.endpoints import endpoint_for
from batchmod.cloud.wire import Line
from batchmod.errors import CallError
from batchmod.model.notices import Notice
from batchmod.model.plan import Lane
from batchmod.model.secret import Secret

LANE = Lane("1234567890123456", "cn-hangzhou")
KEY = AccessKey(id="LTAI5tEXAMPLEkeyId0001", secret=Secret("eXaMpLeSecretKeyForTests0001"))
REQUEST_ID = "5D622714-AEDD-4609-9167-F5DDD3D1EAAA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the service got it."""

    api: str
    form: Mapping[str, str]
    headers: Mapping[str, str]
    target: str  # path and query
    body: bytes


Answer = Callable[[Asked], web.StreamResponse | Awaitable[web.StreamResponse]]


def ok(**body: Any) -> web.Response:
    return web.json_response({"RequestId": REQUEST_ID, **body})


def no(code: str, message: str = "no", *, status: int = 400, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"Code": code, "Message": message, "RequestId": REQUEST_ID, "HostId": "r-kvstore.aliyuncs.com"}
    return web.json_response(body, status=status, headers=headers)


@dataclass(slots=True, kw_only=True)
class OpenPace:
    """Grants at once; `log` has what happened in order."""

    log: list[tuple[str, str]] = field(default_factory=list)
    errors: list[CallError | None] = field(default_factory=list)

    async def enter(self, api: str) -> float:
        self.log.append(("enter", api))
        return 0.0

    def given_up(self, api: str, granted: float) -> None:
        assert granted == 0.0
        self.log.append(("given up", api))

    def leave(self, api: str) -> None:
        self.log.append(("leave", api))

    def answered(self, api: str, granted: float, error: CallError | None) -> None:
        assert granted == 0.0
        self.log.append(("answered", api))
        self.errors.append(error)


class Ring:
    """A list of keys: the next one from when the one at hand is called expired. `told` has what was."""

    def __init__(self, *keys: AccessKey) -> None:
        self._left = list(keys)
        self.told: list[AccessKey] = []

    async def key(self) -> AccessKey:
        return self._left[0]

    async def renew(self, refused: AccessKey) -> bool:
        self.told.append(refused)
        if self._left[0] == refused and len(self._left) > 1:
            del self._left[0]
        return self._left[0] != refused


@dataclass(slots=True, kw_only=True)
class Bench:
    """A client, and all that it did."""

    url: str
    client: Client
    asked: list[Asked]
    pace: OpenPace
    notices: list[Notice]

    @property
    def apis(self) -> list[str]:
        return [one.api for one in self.asked]


@asynccontextmanager
async def bench(answer: Answer, *, key: AccessKey = KEY, lane: Lane | None = LANE, **more: Any) -> AsyncIterator[Bench]:
    """A client of a service that answers so. `more` goes to the client."""
    asked: list[Asked] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        api = request.headers.get("x-acs-action", "")
        one = Asked(api=api, form=form, headers=dict(request.headers), target=request.path_qs, body=body)
        asked.append(one)
        said = answer(one)
        return said if isinstance(said, web.StreamResponse) else await said

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    async with (
        TestServer(app) as server,
        client_of(url := str(server.make_url("/")), key=key, lane=lane, **more) as made,
    ):
        client, pace, notices = made
        yield Bench(url=url, client=client, asked=asked, pace=pace, notices=notices)


@asynccontextmanager
async def client_of(
    url: str,
    *,
    key: AccessKey = KEY,
    keys: Keys | None = None,
    lane: Lane | None = LANE,
    connect: float = 5.0,
    read: float = 5.0,
    connections: int = 4,
    proxy: Secret | None = None,
    **more: Any,
) -> AsyncIterator[tuple[Client, OpenPace, list[Notice]]]:
    """A client with `keys`, or with a key for ever."""
    pace, notices = OpenPace(), list[Notice]()
    endpoint = endpoint_for("r-kvstore", None, url)
    async with Line(endpoint.url, connect=connect, read=read, connections=connections, proxy=proxy) as wire:
        yield (
            Client(
                lane=lane,
                account="prod",
                keys=keys or FixedKeys(key),
                endpoint=endpoint,
                wire=wire,
                pace=pace,
                notify=notices.append,
                **more,
            ),
            pace,
            notices,
        )


@asynccontextmanager
async def raw_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **more: Any
) -> AsyncIterator[int]:
    """The port of a server on loopback that says what the test wants, HTTP or not; it closes what `serve` leaves."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, **more) as server:
        yield server.sockets[0].getsockname()[1]


def seen_by_people(error: BaseException) -> str:
    """All that a log or a debugger would print of an error and of what it is chained to."""
    chain = [one for one in (error.__cause__, error.__context__) if one is not None]
    own = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + repr(error.args)
    return own + "".join(seen_by_people(one) for one in chain)


async def request_head_and_body(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One whole HTTP request as it came."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head, await reader.readexactly(length)
