"""A process that escrows and promotes passwords, AT_ONCE at a time, and says so as soon as each is safe, or current.

`escrow_child.py DIRECTORY|URL COUNT [BYTES]`: with BYTES, no file may grow beyond them, as on a full disk. With RIVAL in the
environment nothing is promoted, the run is called so, and the last instance of those at once comes first.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from batchmod.errors import StoreError
from batchmod.model.secret import InstanceKey, Secret
from batchmod.pg.place import Place
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.generate import generate
from batchmod.secrets.postgres import PostgresStore

AT_ONCE = 64


RIVAL = os.environ.get("RIVAL")


def opened(where: str) -> EmbeddedStore | PostgresStore:
    if "://" in where:
        return PostgresStore.open(Place(url=where), environ=os.environ, say=lambda _: None)
    return EmbeddedStore.open(Path(where), environ=os.environ, say=lambda _: None)


def at_once(first: int) -> Iterable[int]:
    numbers = range(first, first + AT_ONCE)
    return reversed(numbers) if RIVAL else numbers


def confine(limit: int | None) -> None:
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


async def main(where: str, count: int, limit: int | None) -> None:
    store = opened(where)
    confine(limit)

    async def escrow(number: int, secret: Secret) -> None:
        key = InstanceKey(account_id="1", region="cn-hangzhou", instance_id=f"r-{number}")
        try:
            await store.escrow(key, login=key.instance_id, secret=secret, run_id=RIVAL or "child")
        except StoreError as error:
            print("error", type(error).__name__, error, flush=True)  # noqa: T201  for the test that started it
        else:
            print("safe", number, secret.reveal(), flush=True)  # noqa: T201  the same
            if not RIVAL:
                await promote(key)

    async def promote(key: InstanceKey) -> None:
        try:
            await store.promote(key, 1)
        except StoreError as error:
            print("error", type(error).__name__, error, flush=True)  # noqa: T201  the same
        else:
            print("current", key.instance_id, flush=True)  # noqa: T201  the same

    for first in range(0, count, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number in at_once(first):
                group.create_task(escrow(number, generate(24)))
    print("commits", store.commits, flush=True)  # noqa: T201  the same
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None))
