"""The back end of every benchmark: one simulator in a process of its own, which obeys JSON lines on stdin.

Says where it serves in its first line on stdout, then answers each order with one line. Ends with its stdin.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import bench_certificate

from batchmod.sim.scenario import Quota
from batchmod.sim.server import Running, SimOptions, running

REMEMBERED = 2_000_000  # calls: every one of a round
LONGEST_LINE = 1 << 20
MOMENT = 0.02  # seconds for what is due to happen


async def obeyed(sim: Running, order: dict[str, Any]) -> Any:
    """The answer to one order."""
    match order["do"]:
        case "mark":  # a round begins: nothing runs any more, and the book is empty
            while due := sim.cloud.next_due():
                wait = due - sim.cloud.now()
                await asyncio.sleep(max(wait, 0.0) + MOMENT)
            sim.cloud.calls.clear()
            return time.process_time()
        case "usage":
            return time.process_time()
        case "book":
            return [(each.at, each.api, each.code) for each in sim.cloud.calls]
        case "quota":
            sim.quotas.change(order["api"], Quota(calls=order["calls"], seconds=order["seconds"]))
            return time.time()
        case "fleet":
            return [(each.id, each.region) for each in sim.cloud.instances.values()]
        case unknown:
            raise ValueError(unknown)


async def main(folder: Path, instances: int, speed: float) -> None:
    context, trusted = bench_certificate.make(folder)
    options = SimOptions(
        instances=instances, faults=folder / "faults.yaml", speed=speed, tls=context, remembered=REMEMBERED
    )
    orders = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with running(options) as sim:
        say(sim.announcement() | {"began": sim.cloud.now(), "tls_endpoint": sim.tls_endpoint, "ca": str(trusted)})
        while line := await orders.readline():
            say(await obeyed(sim, json.loads(line)))


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
