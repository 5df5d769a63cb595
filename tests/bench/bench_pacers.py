"""What waiting pacers cost: `python bench_pacers.py PACERS SECONDS` prints the share of a core that they used.

Each has a queue of ten calls behind a quota of 200 in a minute.
"""

import asyncio
import sys
import time

from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.model.values import Rate

QUEUE = 10
API = "ModifyInstanceAttribute"


async def main(pacers: int, seconds: float) -> float:
    lanes = [
        Pacing(
            lambda _: Rate(calls=200, period=60.0),
            slots=asyncio.Semaphore(64),
            halt=Halt(),
            writes=frozenset({API}),
            clock=Clock(),
        )
        for _ in range(pacers)
    ]

    async def work(lane: Pacing) -> None:
        while True:
            await lane.enter(API)
            lane.leave(API)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(lane)) for lane in lanes for _ in range(QUEUE)]
        await asyncio.sleep(1)  # the first grants
        used = time.process_time()
        await asyncio.sleep(seconds)
        used = time.process_time() - used
        for task in tasks:
            task.cancel()
    return used / seconds


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))}\n")
