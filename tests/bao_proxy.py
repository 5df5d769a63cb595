"""Between a store and its server: passes requests on, and spoils those that a test names."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Spoil = Callable[[str, str], str | None]  # method and path: how it goes wrong, None when it does not


@dataclass
class Proxy:
    """`asked`: method and path of each request, in order. Ways to spoil: `cut before`, `cut after` (the server has it done,
    its answer is lost), a status, `other value` (each `Password` in the answer is another).
    """

    to: str
    spoil: Spoil = lambda method, path: None  # noqa: ARG005
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            method, path = self.command, urlsplit(self.path).path
            proxy.asked.append((method, path))
            how = proxy.spoil(method, path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if how == "cut before":
                self.close_connection = True
                return
            if how is not None and how.isdigit():
                self.tell(int(how), b'{"errors": ["busy"]}')
                return
            status, content = self.forwarded(method, body)
            if how == "cut after":
                self.close_connection = True
                return
            self.tell(status, content.replace(b"Password", b"Passw0rd") if how == "other value" else content)

        def forwarded(self, method: str, body: bytes) -> tuple[int, bytes]:
            there = http.client.HTTPConnection(urlsplit(proxy.to).netloc, timeout=10)
            try:
                headers = {name: value for name, value in self.headers.items() if name.startswith("X-Vault-")}
                there.request(method, self.path, body, headers)
                answer = there.getresponse()
                return answer.status, answer.read()
            finally:
                there.close()

        def tell(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Location", "http://127.0.0.1:9/")
            if status != http.client.NO_CONTENT:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != http.client.NO_CONTENT:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base class has it
            pass

        do_GET = do_POST = do_PUT = do_LIST = pass_on  # noqa: N815

    return Handler


@contextmanager
def between(to: str) -> Iterator[Proxy]:
    """Serves until the block ends."""
    proxy = Proxy(to)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
