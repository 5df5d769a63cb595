"""One address over aiohttp's pool of connections, TLS, proxy tunnels and parser: a POST goes out, its whole answer comes back.

aiohttp's session is left out: what it does for every request (URLs, cookies, redirects, traces, headers that may be
anything) takes as long again as the request. A ClientRequest, made once, tells the pool where it leads.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

import aiohttp
from yarl import URL

from batchmod.model.secret import Secret

REPLY_LIMIT: Final = 8 << 20  # bytes; a page of fifty instances has about a hundred thousand
WHOLE: Final = 6  # times `read`: until then the whole answer is there, however small its pieces

# Not signed: what stands between may change them. No compression: a short reply could not grow out of all bounds.
_PLAIN = "accept: application/json\r\naccept-encoding: identity\r\nuser-agent: batchmod\r\n"


class Answer(NamedTuple):
    """`content` is None when it was longer than REPLY_LIMIT. `headers` are found whatever their case."""

    status: int
    headers: Mapping[str, str]
    content: bytes | None


class Wire(Protocol):
    """Where requests go out."""

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """What a POST of the body to `/` was answered; sent at most once. Raises one of faults.FOREIGN."""


class Line:
    """A Wire to one URL, to be closed by its user; made where an event loop runs.

    `connect` (seconds) bounds everything until a request can be sent, the wait for one of the `connections` too; `read`
    bounds each silence after it, and six times that the whole answer. Cancelled, a request may have been sent.
    """

    def __init__(self, url: str, *, connect: float, read: float, connections: int, proxy: Secret | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=connections)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read)
        self._loop = loop
        self._read = read
        self._connections = connections
        self._to = aiohttp.ClientRequest(
            "POST", URL(url, encoded=True), loop=loop, proxy=URL(proxy.reveal()) if proxy else None
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connector.close()

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        request = _head(headers, len(body)) + body
        connection = await self._unused()
        try:
            answer = await self._exchange(connection, request)
        except BaseException:
            connection.close()  # what still comes is no answer to the next request
            raise
        if answer.content is None:
            connection.close()
        else:
            connection.release()  # back to the pool, if it may be used again
        return answer

    async def _unused(self) -> aiohttp.connector.Connection:
        """A connection on which nothing whole has come that nobody asked for: a kept one of which that is true, or a new one.

        A peer that speaks first on each is given up.
        """
        for _ in range(self._connections + 1):
            try:
                connection = await self._connector.connect(self._to, [], self._timeout)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        raise aiohttp.ConnectionTimeoutError

    async def _exchange(self, connection: aiohttp.connector.Connection, request: bytes) -> Answer:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        end = self._loop.time() + WHOLE * self._read
        async with asyncio.timeout(self._read) as silence:  # aiohttp's own is not kept up after a 1xx or a broken chunk
            transport.write(request)
            message, payload = await protocol.read()
            while 100 <= message.code <= 199 and message.code != 101:  # noqa: PLR2004  an answer follows
                silence.reschedule(min(end, self._loop.time() + self._read))
                message, payload = await protocol.read()
            content = payload.read_nowait() if payload.is_eof() else await self._rest(payload, silence, end)
        return Answer(message.code, message.headers, content if len(content) <= REPLY_LIMIT else None)

    async def _rest(self, payload: aiohttp.StreamReader, silence: asyncio.Timeout, end: float) -> bytes:
        """The whole body, or a little more than a reply may have of it."""
        content = bytearray()
        while not payload.at_eof() and len(content) <= REPLY_LIMIT:
            silence.reschedule(min(end, self._loop.time() + self._read))
            try:
                content += await payload.readany()
            except RuntimeError:  # what aiohttp makes of a body whose connection is gone
                raise aiohttp.ServerDisconnectedError from None
        return bytes(content)


def _head(headers: Mapping[str, str], length: int) -> bytes:
    """The request's head. Raises ValueError for a header that would begin another line."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = f"POST / HTTP/1.1\r\n{''.join(lines)}{_PLAIN}content-length: {length}\r\n\r\n"
    if text.count("\n") != len(lines) + 6 or text.count("\r") != len(lines) + 6:  # six of its own
        raise ValueError("a header with a line break")
    return text.encode()
