"""A process that takes a lease, says so, and for each line that it is told looks whether it still has it.

`python lease_child.py URL KEY RUN`; after each look it tries to write a step of the run's first row under its fence.
"""

import asyncio
import sys

from journal_records import a_step

from batchmod.cluster.lease import Leases
from batchmod.errors import JournalError
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import Phase
from batchmod.pg.place import Place


def say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


async def hold(url: str, key: str, run_id: str) -> None:
    place = Place(url=url)
    journal = PostgresJournal.open(place)
    async with Leases(place, holder="child") as leases:
        lease = await leases.take(key)
        assert lease is not None
        view = journal.under(lease.fence)
        say(lease.epoch)
        while sys.stdin.readline():  # the loop stands still meanwhile, so no renewal is made before the look
            say(lease.is_valid())
            try:
                await view.step(run_id, a_step(Phase.ARMED))
                say("written")
            except JournalError as error:
                say(type(error).__name__)
            await leases.lost.wait()
            say("lost", lease.is_valid())


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
