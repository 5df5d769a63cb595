"""How an answer reaches the client, or does not: whole, late, cut, as somebody's HTML page, or never."""

import asyncio
import socket
import struct
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

from batchmod.sim.envelope import written
from batchmod.sim.scenario import FaultKind
from batchmod.sim.service import Answer

BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: the peer sees a reset, not an orderly end


async def transmit(request: web.BaseRequest, answer: Answer, *, xml: bool, now: float) -> web.StreamResponse:
    """Sends what the fault lets through; `now` (seconds since the epoch) is what the Date header says."""
    body, content_type = written(answer.fields, root=answer.root, xml=xml)
    headers = {"Content-Type": content_type, "Date": _date(int(now))}
    if answer.retry_after is not None:
        headers["x-acs-retry-after"] = str(answer.retry_after)
    match answer.fault.kind:
        case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER | FaultKind.LATE:
            return _reset(request)
        case FaultKind.HANG:
            await asyncio.sleep(answer.fault.seconds)
            return _reset(request)
        case FaultKind.SLOW:
            await asyncio.sleep(answer.fault.seconds)
        case FaultKind.HTML_502:
            return web.Response(status=502, text=BAD_GATEWAY, content_type="text/html")
        case FaultKind.GARBLED:
            body = body[: len(body) // 2]
        case FaultKind.TRUNCATED:
            return await _cut(request, body, headers)
        case _:
            pass
    return web.Response(status=answer.status, body=body, headers=headers)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _reset(request: web.BaseRequest) -> web.Response:
    """The connection is gone; the response that is returned goes nowhere."""
    if request.transport is not None:
        peer = request.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        request.transport.abort()
    return web.Response()


async def _cut(request: web.BaseRequest, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Half of the promised body, then the end of the connection."""
    response = web.StreamResponse(headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
