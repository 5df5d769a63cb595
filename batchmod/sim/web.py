"""The HTTP skin: decodes requests, sends answers, shows the truth under /_sim/. Decides nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

from aiohttp import web

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import SimError
from batchmod.sim.service import Service
from batchmod.sim.transmission import transmit
from batchmod.sim.wire import Pairs, Request

HOST = "127.0.0.1"
STOP_SECONDS = 0.1  # what hangs when the simulator stops is cut


class Ticker:
    """What is due in the cloud happens although nobody asks."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self._timer: asyncio.TimerHandle | None = None

    def wind(self) -> None:
        self.stop()
        due = self._cloud.next_due()
        if due is not None:
            wait = max(0.0, due - self._cloud.now())
            self._timer = asyncio.get_running_loop().call_later(wait, self._strike)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _strike(self) -> None:
        self._cloud.advance()
        self.wind()


def make_app(service: Service, ticker: Ticker, region: str | None = None) -> web.Application:
    """The endpoint of a region, or the one of all."""

    async def api(request: web.Request) -> web.StreamResponse:
        decoded = await decode(request)
        answer = service.handle(decoded, region)
        ticker.wind()
        xml = decoded.params.get("Format", "").upper() == "XML"
        return await transmit(request, answer, xml=xml, now=service.cloud.now())

    async def state(_: web.Request) -> web.Response:
        return web.json_response(service.cloud.state())

    async def calls(_: web.Request) -> web.Response:
        return web.json_response(service.cloud.recent_calls())

    app = web.Application()
    app.router.add_route("*", "/", api)
    app.router.add_get("/_sim/state", state)
    app.router.add_get("/_sim/calls", calls)
    return app


async def decode(request: web.Request) -> Request:
    body = await request.read()
    form = body if request.content_type == "application/x-www-form-urlencoded" else b""
    return Request(
        method=request.method,
        headers=tuple((name.decode().lower(), value.decode(errors="replace")) for name, value in request.raw_headers),
        query=_pairs(request.raw_path.partition("?")[2]),
        form=_pairs(form.decode(errors="replace")),
        body=body,
    )


def _pairs(text: str) -> Pairs:
    return tuple(parse_qsl(text, keep_blank_values=True))


@contextlib.asynccontextmanager
async def listening(app: web.Application, port: int) -> AsyncIterator[str]:
    """host:port, as long as the block; raises SimError for a port that is taken."""
    # No access log: a query may hold a password.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise SimError(f"port {port}: {error.strerror}") from error
        yield f"{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
