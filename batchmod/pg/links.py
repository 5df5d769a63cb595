"""Connections that can be cut off from any thread, whoever waits on them."""

import os
import socket
from contextlib import suppress
from threading import Lock
from typing import Any, Final
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection, Connection

Link = Connection[Any] | AsyncConnection[Any]


class Links:
    """Those that were added and are still there."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._links: WeakSet[Link] = WeakSet()

    def add(self, link: Link) -> None:
        with self._lock:
            self._links.add(link)

    def cut(self) -> None:
        """Who waits for the database hears that the connection is broken, even where the server stands still."""
        with self._lock:
            links = list(self._links)
        for link in links:
            with suppress(psycopg.Error, OSError):  # it is closed already
                _shut(link)


def _shut(link: Link) -> None:
    """Its number is another file's once it was closed: what was taken is ours only if it is open afterwards, too."""
    with socket.socket(fileno=os.dup(link.fileno())) as line:
        if not link.closed:
            line.shutdown(socket.SHUT_RDWR)


ALL: Final = Links()
"""Every connection of this process."""
