"""The network between one worker and the database: it may be cut, or swallow everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from postgres import Database


class Proxy:
    """Listens on loopback in front of the server's socket. `silent`: nothing comes through, and nobody is told."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self._database.name}"

    def be(self, how: str) -> None:
        """From now on, for the connections that there are and for those to come."""
        self._cut = how == "cut"
        if how == "silent":
            self._open.clear()
        else:
            self._open.set()
        if self._cut:
            for each in self._lines:
                each.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        (folder,) = parse_qs(urlsplit(self._database.url).query)["host"]
        with suppress(OSError):
            behind, server = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
            self._lines |= {writer, server}
            await asyncio.gather(self._pump(reader, server), self._pump(behind, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        finally:
            self._lines.discard(sink)
            sink.close()


@asynccontextmanager
async def proxied(database: Database) -> AsyncIterator[Proxy]:
    """Open at first."""
    proxy = Proxy(database)
    async with await asyncio.start_server(proxy.carry, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            proxy.be("cut")
