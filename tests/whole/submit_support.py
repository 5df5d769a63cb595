"""Commands with `--store`, and a database that a test has to itself."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postgres import Database
from whole_support import Bench, Result, bench

RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}


@dataclass(frozen=True)
class Cluster:
    """A bench, and a database that its commands are given."""

    b: Bench
    database: Database

    async def run(
        self, command: str, *arguments: str, code: int = 0, environ: Mapping[str, str | None] | None = None
    ) -> Result:
        """The command with `--store`, which ended so."""
        result = await self.b.run(command, *arguments, "--store", self.database.url, environ=environ)
        assert result.code == code, (result.code, result.err)
        return result

    async def start(self, command: str, *arguments: str) -> asyncio.subprocess.Process:
        return await self.b.start(command, *arguments, "--store", self.database.url)

    def manifest(self, count: int = 4, **sections: Any) -> str:
        return str(self.b.manifest(**{"targets": self.b.targets(count), "changes": [RENAME], **sections}))

    async def submitted(self, *arguments: str, **sections: Any) -> str:
        """The id of a run that was given to workers."""
        return (await self.run("submit", self.manifest(**sections), "--yes", *arguments)).out.strip()

    def one(self, query: str, *values: object) -> Any:
        """The only value that the query finds."""
        ((found,),) = self.database.execute(query, *values)
        return found


@asynccontextmanager
async def cluster(folder: Path, database: Database, **given: Any) -> AsyncIterator[Cluster]:
    async with bench(folder, **{"instances": 8, **given}) as b:
        yield Cluster(b, database)


@asynccontextmanager
async def worker(c: Cluster, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that works for as long as the block, and then ends in good order."""
    process = await c.start("worker", *arguments)
    said = asyncio.create_task(process.communicate())
    try:
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            _, err = await said
        assert process.returncode == 0, err.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await said


async def ends(process: asyncio.subprocess.Process, code: int) -> Result:
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    assert process.returncode == code, err.decode()
    return Result(code, out.decode(), err.decode())


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns once it is so; what is in another process has no event for it."""
    async with asyncio.timeout(60):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.05)


async def says(process: asyncio.subprocess.Process, text: str) -> str:
    """What it said on stderr, up to the line with the text."""
    assert process.stderr is not None
    heard = ""
    async with asyncio.timeout(60):
        while text not in heard:
            line = await process.stderr.readline()
            assert line, heard
            heard += line.decode()
    return heard
