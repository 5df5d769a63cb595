"""What stands before a PostgreSQL that serves on a socket alone: a TCP port, with TLS or without."""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ANYWHERE: Final = "0.0.0.0"  # this machine without a network, and not by a loopback address
TLS: Final = 80877103  # the codes of PostgreSQL's requests before the first message
GSS: Final = 80877104


@contextmanager
def front(behind: Path, context: ssl.SSLContext | None) -> Iterator[int]:
    """The port, for as long as the block. Without a context it says that it knows no TLS."""
    threads: list[threading.Thread] = []
    opened: list[socket.socket] = []
    with socket.create_server((ANYWHERE, 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    client, _ = listener.accept()
                    opened.append(client)
                    threads.append(threading.Thread(target=_serve, args=(behind, context, client)))
                    threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for each in opened:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads[1:]:
                thread.join()


def _serve(behind: Path, context: ssl.SSLContext | None, client: socket.socket) -> None:
    with suppress(OSError), client:
        code, first = _first(client)
        if code == TLS and context is not None:
            client.sendall(b"S")
            with context.wrap_socket(client, server_side=True) as encrypted:
                _carry(behind, encrypted, _first(encrypted)[1])
        else:
            while code in {TLS, GSS}:
                client.sendall(b"N")
                code, first = _first(client)
            _carry(behind, client, first)


def _first(client: socket.socket) -> tuple[int, bytes]:
    """The beginning of what is sent next, and the code in it. Raises OSError when nothing is."""
    first = client.recv(8)
    if len(first) < struct.calcsize("!II"):
        raise ConnectionResetError
    return int(struct.unpack("!II", first)[1]), first


def _carry(behind: Path, client: socket.socket, first: bytes) -> None:
    """Both ways, until one of them has ended."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(str(behind))
        server.sendall(first)
        others = {client: server, server: client}
        while True:
            waiting = isinstance(client, ssl.SSLSocket) and client.pending()
            for each in [client] if waiting else select.select(list(others), [], [])[0]:
                data = each.recv(65536)
                if not data:
                    return
                others[each].sendall(data)
