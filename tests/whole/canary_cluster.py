"""What the commands of campaigns on many machines leave, say and send: in the database, too."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from canary_support import Canary
from postgres import Database, database_of, serving
from submit_support import until

ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
CHOSEN: dict[str, Any] = {"password": {"env": "CHOSEN"}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}


@asynccontextmanager
async def database(c: Canary) -> AsyncIterator[Database]:
    """Of the block's own; all that is in it at the end is searched, for the passwords in its store as well."""
    with serving() as server, database_of(server) as made:
        yield made
        exported = await c.run("secrets", "export", "--store", made.url)
        for one in json.loads(exported.out):
            c.secrets[f"{one['instance_id']}#{one['generation']} in PostgreSQL"] = one["password"]
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'batchmod'"
        for (table,) in made.execute(tables):
            rows = made.execute(f"SELECT * FROM {table}")
            c.outputs[f"table {table}"] = repr(rows).encode()


def manifest(c: Canary, *changes: dict[str, Any]) -> str:
    return str(c.b.manifest(targets=c.b.targets(3), changes=changes, proof={"password": "accepted"}))


@asynccontextmanager
async def at_work(c: Canary, db: Database, *arguments: str) -> AsyncIterator[None]:
    """A worker is there for as long as the block."""
    process = await c.b.start("worker", "--store", db.url, *arguments)
    ending = asyncio.create_task(c.ended(process, "worker"))
    yield
    process.send_signal(signal.SIGTERM)
    assert (await ending).code == 0


async def submit(c: Canary) -> None:
    """Passwords that are generated, one that is refused, a password in the URL; followed, told, taken up and looked at."""
    async with database(c) as db:
        store = ("--store", db.url)
        await c.run("submit", manifest(c, CHOSEN), "--yes", *store, code=2)
        c.secrets["password of a database"] = "D4tabase+pass=word"
        for url in ("postgresql://me:{}@db/x", "postgresql://db/x?password={}"):
            given = url.format(c.secrets["password of a database"])
            await c.run("runs", "--store", given, code=2)
            c.outputs.pop(f"cmdline of runs --store {given}", None)  # as it was typed
        async with at_work(c, db, "--log-format", "json"):
            await c.run("submit", manifest(c, RENAME, ROTATE), "--yes", "-v", "--follow", *store, code=None)
        await c.run("control", "job", "pause", *store, code=2)
        await c.run("resume", *store)
        for command in (("runs",), ("report", "job", "--format", "json"), ("verify", "job.yaml", "-v")):
            await c.run(*command, *store, code=None)


async def worker(c: Canary) -> None:
    """One that dies in the middle, and one that takes over."""
    async with database(c) as db:
        await c.run("submit", manifest(c, RENAME, ROTATE), "--yes", "--store", db.url)
        process = await c.b.start("worker", "--store", db.url)
        await until(lambda: db.execute("SELECT count(*) FROM step WHERE phase = 'armed'") != [(0,)])
        process.kill()
        await c.ended(process, "worker that is killed")
        async with at_work(c, db):
            await until(lambda: db.execute("SELECT state FROM campaign") == [("ended",)])


async def schedule(c: Canary) -> None:
    """What is kept of a manifest, and what is refused."""
    async with database(c) as db:
        timed = ("--cron", "0 2 * * sat", "--yes", "--store", db.url)
        await c.run("schedule", manifest(c, CHOSEN), *timed, code=2)
        await c.run("schedule", manifest(c, ROTATE), *timed)
        await c.run("schedule", "--list", "--store", db.url)
        await c.run("schedule", "--remove", "job", "--store", db.url)
