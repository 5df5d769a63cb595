"""How the live page is reached: callers are let in one by one and so many at a time, so that the run keeps its descriptors.

What a caller sends that is no request concerns nobody but the caller: it gets an answer, and nothing is said of it here.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Final, cast

from aiohttp import web

from batchmod.report.live_guard import Address

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
MOST: Final = 64  # connections at a time
IDLE: Final = 5.0  # seconds without a complete request after which one is closed
AGAIN: Final = 1.0  # seconds after which callers are let in again when there was no descriptor left

Busy = Callable[[web.RequestHandler], bool]

log = logging.getLogger(__name__)
_unheard = logging.getLogger(f"{__name__}.callers")
_unheard.disabled = True


class _Connection(web.RequestHandler):
    """One caller."""

    __slots__ = ("_door",)

    def __init__(self, door: "_Door", server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=door.idle,
            lingering_time=door.idle,
            logger=_unheard,
            access_log=_unheard,
        )
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._door.inside[self] = cast("asyncio.Transport", transport)  # uvloop's are none by name
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._door.inside.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it repeats what the caller sent
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one at which the page itself failed."""
        is_ours = status >= web.HTTPInternalServerError.status_code
        if is_ours:
            self._door.failed(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        text = "the page failed at this\n" if is_ours else "this is no request\n"
        answer = web.Response(status=status, text=text, headers=HEADERS)
        answer.force_close()
        return answer


class _Door:
    """Counts who is inside. One caller more than there is room for takes the place of the oldest that is not busy."""

    def __init__(self, server: web.Server, busy: Busy, *, most: int, idle: float) -> None:
        self._server, self._busy, self._most, self.idle = server, busy, most, idle
        self.inside: dict[web.RequestHandler, asyncio.Transport] = {}  # who came first is first
        self._said = False

    def failed(self, error: BaseException | None) -> None:
        """The page has a fault, which is logged once; the run goes on."""
        if not self._said:
            log.error("the live page failed; the run goes on", exc_info=error)
        self._said = True

    async def admit(self, listening: socket.socket) -> None:
        """Callers are let in, until this is cancelled."""
        try:
            while True:
                await self._admit_one(listening)
        except Exception:  # whatever it is: a page that nobody can reach must not stop what it shows
            log.exception("the live page failed, and lets nobody in any more; the run goes on")

    async def _admit_one(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            caller, _ = await loop.sock_accept(listening)
        except ConnectionAbortedError:
            return
        except OSError:  # no descriptor is left: those that there are belong to the run
            await asyncio.sleep(AGAIN)
            return
        if not await self._make_room():
            caller.close()
            return
        try:
            await loop.connect_accepted_socket(lambda: _Connection(self, self._server), caller)
        except OSError:
            caller.close()

    async def _make_room(self) -> bool:
        """Whether there is room for one more now."""
        await asyncio.sleep(0)  # between two callers it is the run's turn
        while len(self.inside) >= self._most:
            idle = next((one for one in self.inside if not self._busy(one)), None)
            if idle is None:
                return False
            self.inside[idle].abort()
            await asyncio.sleep(0)
        return True


@asynccontextmanager
async def opened(
    server: web.Server, address: Address, busy: Busy, *, most: int = MOST, idle: float = IDLE
) -> AsyncIterator[int]:
    """Inside, `server` is reached at this port of the address. Raises OSError when the address cannot be had.

    `busy`: who keeps the place, however many others call; `most`: connections at a time; `idle`: seconds.
    """
    with ExitStack() as stack:
        listening = await _listening(address, stack)
        door = _Door(server, busy, most=most, idle=idle)
        tasks = [asyncio.create_task(door.admit(one)) for one in listening]
        try:
            yield listening[0].getsockname()[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _listening(address: Address, stack: ExitStack) -> list[socket.socket]:
    """Sockets of all that the address stands for; `stack` closes them."""
    host = "127.0.0.1" if address.host.lower() == "localhost" else address.host
    found = await asyncio.get_running_loop().getaddrinfo(
        host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made = []
    for family, _, _, _, where in dict.fromkeys(found):
        one = stack.enter_context(socket.create_server(where, family=family))
        one.setblocking(False)
        made.append(one)
    return made
