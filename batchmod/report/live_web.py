"""The live page on the network: one page, its parts, its data and its news. It can be read, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from batchmod.report.html import ASSETS, page
from batchmod.report.live import Live
from batchmod.report.live_guard import USER, WAIT, Address, Guard, Verdict
from batchmod.report.live_news import Follower

SELF: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": SELF,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "batchmod",
}
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
        self._streams, self._most = 0, streams
        self._quiet = asyncio.Event()  # nobody reads data or news
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
        return web.Response(text=part.text, content_type=part.kind, charset="utf-8")

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
                async with asyncio.timeout(EVERY + PER_ROW * rows * self._streams):
                    await self._over.wait()
        await write("event: reload\ndata: {}\n\n")

    async def _stream(
        self, request: web.Request, kind: str, tell: Callable[[Write], Awaitable[None]]
    ) -> web.StreamResponse:
        if self._streams >= self._most:
            raise web.HTTPServiceUnavailable(text="too many read this page\n", headers={"Retry-After": "5"})
        response = web.StreamResponse(headers={"Content-Type": f"{kind}; charset=utf-8"})
        self._streams += 1
        self._quiet.clear()
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await self._tell(request, response, tell)
        finally:
            self._streams -= 1
            if not self._streams:
                self._quiet.set()
        return response

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, tell: Callable[[Write], Awaitable[None]]
    ) -> None:
        async def write(text: str) -> None:
            async with asyncio.timeout(self._patience):
                await response.write(text.encode())

        try:
            await tell(write)
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
async def served(site: Site, address: Address) -> AsyncIterator[str]:
    """Inside, the page is there, under the URL that is given. Raises OSError when the address cannot be had."""
    runner = web.AppRunner(
        site.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1, handle_signals=False
    )
    await runner.setup()
    try:
        host = "127.0.0.1" if address.host.lower() == "localhost" else address.host
        await web.TCPSite(runner, host, address.port).start()
        yield address.url(runner.addresses[0][1])
        await site.end()
    finally:
        await runner.cleanup()
