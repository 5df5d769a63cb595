"""The live page on the network: one page, its parts, its data and its news. It can be read, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from batchmod.report.html import ASSETS, page
from batchmod.report.live import Live
from batchmod.report.live_door import HEADERS, IDLE, MOST, opened
from batchmod.report.live_guard import USER, WAIT, Address, Guard, Verdict
from batchmod.report.live_news import Follower

STREAMS: Final = 16
EVERY: Final = 0.25  # seconds between two pieces of news
PER_ROW: Final = 0.00025  # seconds more for each row of the last one: the run keeps the machine
BEAT: Final = 15.0  # seconds of silence after which a line is sent that says nothing
RETRY: Final = 2000  # milliseconds after which a browser asks again

Write = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is served under one path."""

    kind: str  # content type
    text: str


class Site:
    """Serves one run to several readers, none of which can hold it back."""

    def __init__(
        self, live: Live, guard: Guard, parts: Mapping[str, Part], *, patience: float, streams: int = STREAMS
    ) -> None:
        """`patience`: seconds that a reader may take to take a piece; one that takes longer is cut off.

        `streams`: of data and news that are read at a time.
        """
        self._live, self._guard, self._parts, self._patience = live, guard, parts, patience
        self._most = streams
        self._reading: set[web.RequestHandler] = set()  # who reads data or news
        self._quiet = asyncio.Event()  # nobody does
        self._quiet.set()
        self._over = asyncio.Event()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._admit])
        for path in self._parts:
            application.router.add_get(path, self._part)
        application.router.add_get("/data", self._data)
        application.router.add_get("/events", self._events)
        application.on_response_prepare.append(_with_headers)
        return application

    def is_read_by(self, connection: web.RequestHandler) -> bool:
        """Whether data or news go out there."""
        return connection in self._reading

    async def end(self) -> None:
        """Who follows is told the last word, as far as each takes it within the patience."""
        self._live.close()
        self._over.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._quiet.wait()

    @web.middleware
    async def _admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        headers = request.headers
        match self._guard.verdict(
            host=headers.get("Host", ""), authorization=headers.get("Authorization"), remote=request.remote or ""
        ):
            case Verdict.FOREIGN:
                raise web.HTTPForbidden(text="this page is served under the names of loopback only\n")
            case Verdict.UNKNOWN:
                raise web.HTTPUnauthorized(
                    text=f"the user is {USER}, the password is the token of this page\n",
                    headers={"WWW-Authenticate": 'Basic realm="batchmod", charset="UTF-8"'},
                )
            case Verdict.LATER:
                raise web.HTTPTooManyRequests(
                    text="a wrong token came from this address: wait a second\n", headers={"Retry-After": f"{WAIT:.0f}"}
                )
            case Verdict.WELCOME:
                return await handler(request)

    async def _part(self, request: web.Request) -> web.StreamResponse:
        part = self._parts[request.path]
        response = web.Response(text=part.text, content_type=part.kind, charset="utf-8")
        await self._tell(request, response, None)
        return response

    async def _data(self, request: web.Request) -> web.StreamResponse:
        async def pieces(write: Write) -> None:
            for piece in self._live.document():
                await write(piece)
                await asyncio.sleep(0)  # between two pieces it is the run's turn

        return await self._stream(request, "application/json", pieces)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        known = request.headers.get("Last-Event-ID") or request.query.get("after", "")

        async def news(write: Write) -> None:
            await write(f"retry: {RETRY}\n\n")
            await self._follow(Follower(self._live, known), write)

        return await self._stream(request, "text/event-stream", news)

    async def _follow(self, follower: Follower, write: Write) -> None:
        loop, said_at = asyncio.get_running_loop(), -BEAT
        while not follower.is_lost:
            over, rows = self._over.is_set(), 0
            for known, update, told in follower.news():
                await write(f"id: {known}\nevent: update\ndata: {update}\n\n")
                await asyncio.sleep(0)
                rows, said_at = rows + told, loop.time()
            if over:
                await write(f"event: end\ndata: {follower.last()}\n\n")
                return
            if loop.time() - said_at >= BEAT:
                await write(": still here\n\n")
                said_at = loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY + PER_ROW * rows * len(self._reading)):
                    await self._over.wait()
        await write("event: reload\ndata: {}\n\n")

    async def _stream(
        self, request: web.Request, kind: str, tell: Callable[[Write], Awaitable[None]]
    ) -> web.StreamResponse:
        if len(self._reading) >= self._most:
            raise web.HTTPServiceUnavailable(text="too many read this page\n", headers={"Retry-After": "5"})
        response = web.StreamResponse(headers={"Content-Type": f"{kind}; charset=utf-8"})
        self._reading.add(request.protocol)
        self._quiet.clear()
        try:
            await self._tell(request, response, None if request.method == "HEAD" else tell)
        finally:
            self._reading.remove(request.protocol)
            if not self._reading:
                self._quiet.set()
        return response

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, tell: Callable[[Write], Awaitable[None]] | None
    ) -> None:
        """All of the response, and first what is told piece by piece; a reader that takes longer than the patience to
        take a piece, or the end, is cut off.
        """

        async def write(text: str) -> None:
            async with asyncio.timeout(self._patience):
                await response.write(text.encode())

        try:
            await response.prepare(request)
            if tell is not None:
                await tell(write)
            async with asyncio.timeout(self._patience):
                await response.write_eof()
        except ConnectionResetError:  # the reader has gone
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()


def parts(title: str) -> Mapping[str, Part]:
    """The page and what it is made of, by path."""
    shell = "".join(page(title=title, counts={}, document=None))
    kinds = {"page.css": "text/css", "page.js": "text/javascript", "live.js": "text/javascript"}
    made = {f"/{name}": Part(kind=kind, text=(ASSETS / name).read_text("utf-8")) for name, kind in kinds.items()}
    return {"/": Part(kind="text/html", text=shell), **made}


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@asynccontextmanager
async def served(site: Site, address: Address, *, most: int = MOST, idle: float = IDLE) -> AsyncIterator[str]:
    """Inside, the page is there, under the URL that is given. Raises OSError when the address cannot be had.

    So many connections are kept at a time, and so many seconds without a complete request.
    """
    runner = web.AppRunner(site.application(), handler_cancellation=True, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    assert runner.server is not None
    try:
        async with opened(runner.server, address, site.is_read_by, most=most, idle=idle) as port:
            yield address.url(port)
            await site.end()
    finally:
        await runner.cleanup()
