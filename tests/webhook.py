"""A webhook on loopback, in the test's own loop: it takes what it gets, refuses it, or never answers, as its path says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Webhook:
    port: int = 0
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # path and JSON, in the order of arrival
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, more: str = "") -> str:
        """For apprise; a path with `broken` is answered with 500, one with `hang` never, one with `away` elsewhere."""
        return f"json://127.0.0.1:{self.port}/{path}{more}"

    async def hears(self, path: str) -> None:
        """Returns once something came there."""
        while not self.of(path):
            self._came.clear()
            await self._came.wait()

    def of(self, path: str) -> list[dict[str, Any]]:
        return [told for where, told in self.heard if where == f"/{path}"]

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((request.path.rstrip("/"), json.loads(await request.text())))
        self._came.set()
        if "hang" in request.path:
            await asyncio.Event().wait()
        if "away" in request.path:
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{self.port}/elsewhere"})
        return web.Response(status=500 if "broken" in request.path else 200, text=request.path)


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    hook = Webhook()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hook.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        await runner.cleanup()
