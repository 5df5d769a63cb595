"""A secret store in a database of the test's own, as processes of several machines open it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from postgres import Database

from batchmod.model.secret import InstanceKey, Secret
from batchmod.pg.place import Place
from batchmod.secrets.postgres import PostgresStore

KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
CANARY = Secret("Canary_password-1")
CHILD = Path(__file__).with_name("secrets") / "escrow_child.py"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Machine:
    """One with a home, and perhaps an age key in it; and what its operator was told."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.home = home
        self.key = home / ".config" / "batchmod" / "age.key"
        self.said: list[str] = []

    def open(
        self,
        *,
        create: bool = True,
        recipients: tuple[str, ...] = (),
        key: Path | None = None,
        place: Place | None = None,
        may_make_key: bool = True,
    ) -> PostgresStore:
        environ = {"HOME": str(self.home)} | ({"BATCHMOD_AGE_KEY": str(key)} if key else {})
        return PostgresStore.open(
            place or self.database.place,
            environ=environ,
            say=self.said.append,
            create=create,
            recipients=recipients,
            may_make_key=may_make_key,
        )

    async def fill(self) -> None:
        store = self.open()
        await escrow(store)
        await store.close()

    def child(self, *more: int, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILD), self.database.url, *map(str, more)]
        return self.start(command, environ)

    def program(self, code: str) -> subprocess.Popen[str]:
        """A program of the test's own; its argument is the database."""
        return self.start([sys.executable, "-c", code, self.database.url], None)

    def start(self, command: list[str], environ: Mapping[str, str] | None) -> subprocess.Popen[str]:
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], **(environ or {})}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


async def escrow(store: PostgresStore, key: InstanceKey = KEY, *, run: str = "run-1", secret: Secret = CANARY) -> None:
    await store.escrow(key, login=key.instance_id, secret=secret, run_id=run)


async def waiting(database: Database, count: int) -> None:
    """Returns once so many connections wait for a lock."""
    async with asyncio.timeout(30):
        while database.execute(WAITING) != [(count,)]:  # noqa: ASYNC110  PostgreSQL has no event for it
            await asyncio.sleep(0.01)
