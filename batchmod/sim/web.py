"""The HTTP skin: decodes requests, sends answers, shows the truth under /_sim/. Decides nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import lru_cache
from urllib.parse import parse_qsl

from aiohttp import web

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import SimError
from batchmod.sim.service import Service
from batchmod.sim.transmission import transmit
from batchmod.sim.wire import Pairs, Request

HOST = "127.0.0.1"
STOP_SECONDS = 0.1  # what hangs when the simulator stops is cut
TICK = 0.001  # two clocks never agree to the microsecond: a timer that is so near is the right one
FORM = "application/x-www-form-urlencoded"


class Ticker:
    """What is due in the cloud happens although nobody asks."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self._timer: asyncio.TimerHandle | None = None

    def wind(self) -> None:
        """The timer strikes no later than what is due next."""
        due = self._cloud.next_due()
        if due is None:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, due - self._cloud.now())
        if self._timer is None or self._timer.when() > at + TICK:
            self.stop()
            self._timer = loop.call_at(at, self._strike)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _strike(self) -> None:
        self._timer = None
        self._cloud.advance()
        self.wind()


class Door:
    """The endpoint of a region, or the one of all. A request passes no router: there are three paths."""

    def __init__(self, service: Service, ticker: Ticker, region: str | None = None) -> None:
        self._service = service
        self._ticker = ticker
        self._region = region

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/":
                return await self._api(request)
            case "/_sim/state" if request.method == "GET":
                return web.json_response(self._service.cloud.state())
            case "/_sim/calls" if request.method == "GET":
                return web.json_response(self._service.cloud.recent_calls())
            case _:
                return web.Response(status=404, text="404: Not Found")

    async def _api(self, request: web.BaseRequest) -> web.StreamResponse:
        decoded = await decode(request)
        answer = self._service.handle(decoded, self._region)
        self._ticker.wind()
        xml = decoded.params.get("Format", "").upper() == "XML"
        return await transmit(request, answer, xml=xml, now=self._service.cloud.now())


async def decode(request: web.BaseRequest) -> Request:
    body = await request.read()
    form = body if request.content_type == FORM else b""
    return Request(
        method=request.method,
        headers=tuple([(_name(name), value.decode(errors="replace")) for name, value in request.raw_headers]),
        query=_pairs(request.raw_path.partition("?")[2]),
        form=_pairs(form.decode(errors="replace")),
        body=body,
    )


@lru_cache(maxsize=256)  # every request has the same ones
def _name(given: bytes) -> str:
    return given.decode().lower()


def _pairs(text: str) -> Pairs:
    return tuple(parse_qsl(text, keep_blank_values=True)) if text else ()


@contextlib.asynccontextmanager
async def listening(door: Door, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """host:port, as long as the block; raises SimError for a port that is taken."""
    # No access log: a query may hold a password.
    runner = web.ServerRunner(web.Server(door, access_log=None), shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port, ssl_context=tls).start()
        except OSError as error:
            raise SimError(f"port {port}: {error.strerror}") from error
        yield f"{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
