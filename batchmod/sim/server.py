"""The simulator as a program: one HTTP port for every API, one Valkey behind it, both on 127.0.0.1."""

import asyncio
import contextlib
import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from aiohttp import web

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.dataplane import DataPlane, data_plane
from batchmod.sim.errors import SimError
from batchmod.sim.faultfile import load_scenario
from batchmod.sim.instances import fleet_ids, make_fleet
from batchmod.sim.scenario import Scenario
from batchmod.sim.service import Service
from batchmod.sim.transmission import transmit
from batchmod.sim.wire import Keys, Pairs, Request

HOST = "127.0.0.1"
MAX_INSTANCES = 1_000_000
STOP_SECONDS = 0.1  # what hangs when the simulator stops is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """`port` 0 is a free one. `speed` divides what the cloud takes: durations, lag, quota periods; not the network."""

    port: int = 0
    instances: int = 20
    seed: int = 0
    faults: Path | None = None
    speed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A simulator that serves. `cloud` is the truth behind it."""

    endpoint: str  # http://127.0.0.1:PORT
    access_key_id: str
    access_key_secret: str = field(repr=False)
    data_plane: str  # 127.0.0.1:PORT
    cloud: FakeCloud = field(repr=False)


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


def make_app(service: Service, ticker: Ticker) -> web.Application:
    """The skin: decodes requests, sends answers, shows the truth under /_sim/. Decides nothing."""

    async def api(request: web.Request) -> web.StreamResponse:
        decoded = await decode(request)
        answer = service.handle(decoded)
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


def _cloud(options: SimOptions, scenario: Scenario, plane: DataPlane) -> FakeCloud:
    fleet = make_fleet(options.instances, scenario, address=plane.address, new_password=first_password)
    return FakeCloud(
        fleet,
        scenario=scenario,
        clock=lambda: time.time() + scenario.clock_offset,
        speed=options.speed,
        seed=options.seed,
        plane=plane,
    )


def first_password() -> str:
    """What an instance starts with; nobody is told."""
    return f"Aa1{secrets.token_hex(12)}"


def _checked(options: SimOptions) -> Scenario:
    if not 0 <= options.instances <= MAX_INSTANCES:
        raise SimError(f"instances: between 0 and {MAX_INSTANCES}")
    if not 0 < options.speed < float("inf"):
        raise SimError("speed: more than 0")
    if not 0 <= options.port < 65536:  # noqa: PLR2004  a port
        raise SimError("port: between 0 and 65535")
    return load_scenario(options.faults) if options.faults else Scenario()


@contextlib.asynccontextmanager
async def running(options: SimOptions) -> AsyncIterator[Running]:
    """The simulator serves as long as the block. Raises SimError when it cannot start; handles no signal."""
    scenario = _checked(options)
    keys = Keys(
        access_key_id=f"LTAI5tSim{secrets.token_hex(6)}",
        access_key_secret=secrets.token_urlsafe(24),
        session_token=scenario.session_token,
    )
    async with data_plane() as plane:
        cloud = _cloud(options, scenario, plane)
        service = Service(cloud, keys, ids=fleet_ids(options.instances), speed=options.speed, seed=options.seed)
        ticker = Ticker(cloud)
        async with _listening(make_app(service, ticker), options.port) as port:
            ticker.wind()
            try:
                yield Running(
                    endpoint=f"http://{HOST}:{port}",
                    access_key_id=keys.access_key_id,
                    access_key_secret=keys.access_key_secret,
                    data_plane=plane.address,
                    cloud=cloud,
                )
            finally:
                ticker.stop()


@contextlib.asynccontextmanager
async def _listening(app: web.Application, port: int) -> AsyncIterator[int]:
    # No access log: a query may hold a password.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise SimError(f"port {port}: {error.strerror}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def serve(options: SimOptions) -> None:
    """One JSON line on stdout says that it serves; it ends in good order on SIGTERM or SIGINT. Raises SimError."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(options) as sim:
            names = ("endpoint", "access_key_id", "access_key_secret", "data_plane")
            sys.stdout.write(json.dumps({name: getattr(sim, name) for name in names}) + "\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
