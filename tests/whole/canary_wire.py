"""The wire between the command and the simulator: every request as it was sent, and answers that repeat what they got."""

import asyncio
import html
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

TIMES = 8  # that an echo answers: a service that slows its client down does not do so for ever
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: the peer sees a reset, not an orderly end


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request, as bytes and as what they say."""

    line: bytes
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def api(self) -> str:
        return self.headers.get("x-acs-action", "")

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True)


Echo = Callable[[Sent], bytes]


def reply(status: int, body: str, *, kind: str = "application/json", more: str = "") -> bytes:
    content = body.encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + content


def refusal(code: str, words: Callable[[Sent], str], *, status: int = 400) -> Echo:
    """An error of the service whose message is made from the request."""
    return lambda sent: reply(status, json.dumps({"Code": code, "Message": words(sent), "RequestId": "ECHO-1"}))


def _all(sent: Sent) -> str:
    """Headers and body, the body as it came and decoded."""
    headers = " ".join(f"{name}: {text}" for name, text in sent.headers.items())
    return f"{headers} {sent.body.decode()} {unquote_plus(sent.body.decode())}"


def _string_to_sign(sent: Sent) -> str:
    """As the older signature has it: every value encoded, and the whole of it again."""
    joined = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(sent.form))
    return f"Specified signature is not matched. server string to sign is:POST&%2F&{quote(joined, safe='')}"


def _browser_json(sent: Sent) -> str:
    text = json.dumps(dict(sent.form) | dict(sent.headers))
    return "".join(f"\\u{ord(one):04x}" if one in "&<>'+=" else one for one in text)


def _html(sent: Sent) -> str:
    return html.escape(_all(sent))


def _body(sent: Sent) -> str:
    return sent.body.decode()


SIGNATURE = refusal("SignatureDoesNotMatch", _string_to_sign)
TEXTS = (_all, _string_to_sign, _browser_json, _html)
LAST_WORDS: Mapping[str, Echo] = {  # none of them lands, and a report quotes what each says
    **{f"refused, {text.__name__}": refusal("InvalidParameter", text) for text in TEXTS},
    **{f"lost, {text.__name__}": refusal("InternalError", text, status=500) for text in TEXTS},
    "as a code": lambda sent: reply(400, json.dumps({"Code": _all(sent), "Message": "m"})),
    "as a request id": lambda sent: reply(400, json.dumps({"Code": "InvalidName", "RequestId": _all(sent)})),
}
ECHOES: Mapping[str, Echo] = {
    **LAST_WORDS,
    "throttled": refusal("Throttling.User", lambda sent: f"slow down: {_all(sent)}"),
    "busy": refusal("TaskExists", _all),
    "page": lambda sent: reply(502, f"<html>{_html(sent)}</html>", kind="text/html"),
    "page of success": lambda sent: reply(200, f"<html>{_all(sent)}</html>", kind="text/html"),
    "garbled": lambda sent: reply(200, json.dumps({"Echo": _all(sent), "RequestId": "1"})[:-6]),
    "redirect": lambda sent: reply(307, _body(sent), more=f"Location: /?{_body(sent)}\r\n"),
    "not http": lambda sent: b"HTTP/9.9 " + sent.body + b"\r\n\r\n",
    "broken header": lambda sent: b"HTTP/1.1 200 OK\r\nBad Header " + sent.body + b"\r\n\r\n",
    "broken length": lambda sent: b"HTTP/1.1 200 OK\r\nContent-Length: " + sent.body + b"\r\n\r\n",
    "broken chunk": lambda sent: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent.body + b"\r\n",
}


@dataclass(kw_only=True)
class Wire:
    """Passes requests on to the simulator one by one, unless an echo stands in for it."""

    upstream: str
    endpoint: str = ""
    sent: list[Sent] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)  # the Credentials in replies, as AssumeRole has them
    plays: dict[str, Echo] = field(default_factory=dict)  # by API, or by instance of a write: who answers instead
    played: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            sent, content = await _read(reader)
            self.sent.append(sent)
            instance = dict(sent.form).get("InstanceId", "") if sent.api.startswith("Modify") else ""
            key = sent.api if sent.api in self.plays else instance
            echo = self.plays.get(key) if self.played[key] < TIMES else None
            self.played[key] += 1
            answer = echo(sent) if echo else await self._pass_on(content)
            if answer:
                writer.write(answer)
                await writer.drain()
            else:
                peer = writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        writer.close()

    async def _pass_on(self, content: bytes) -> bytes:
        """What the simulator answers; nothing when it reset the connection."""
        parts = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(content)
            answer = await reader.read()
        except OSError:
            return b""
        finally:
            writer.close()
        with suppress(ValueError):
            found = json.loads(answer.partition(b"\r\n\r\n")[2])
            if "Credentials" in found:
                self.given.append(found["Credentials"])
        return answer


async def _read(reader: asyncio.StreamReader) -> tuple[Sent, bytes]:
    """One request, and its bytes with the wish that the connection ends with the answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head[:-4].split(b"\r\n")
    headers = {
        name.strip().lower().decode(): value.strip().decode() for name, _, value in (h.partition(b":") for h in rest)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    closing = b"\r\n".join([line, *rest, b"Connection: close", b"", body])
    return Sent(line=line, headers=headers, body=body), closing


@asynccontextmanager
async def wire_to(upstream: str) -> AsyncIterator[Wire]:
    wire = Wire(upstream=upstream)
    async with await asyncio.start_server(wire.serve, "127.0.0.1", 0) as server:
        wire.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield wire
