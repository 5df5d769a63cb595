"""A journal of many events: `bench_replay.py make DIR ROWS` writes one, `bench_replay.py read DIR` folds it again.

`read` prints the CPU seconds and the number of rows that it found changed.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Kind, Phase, Proof
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Step
from batchmod.model.runs import Run

RUN = "20260304T050607Z-1a2b"
PHASES = (Phase.ESCROWED, Phase.ARMED, Phase.SETTLING, Phase.PROVED, Phase.CHANGED)  # the life of a password
WRITERS = 256
START = 1_772_600_767.25


def planned(seq: int) -> PlannedRow:
    return PlannedRow(
        seq=seq,
        account="default",
        account_id="1234567890123456",
        region="cn-hangzhou",
        instance_id=f"r-sim{seq:06d}",
        instance_name=f"sim-{seq:06d}",
        login=f"r-sim{seq:06d}",
        kind=Kind.PASSWORD,
        wave=1,
        before={},
        after={},
    )


def life(seq: int) -> Iterator[Step]:
    for number, phase in enumerate(PHASES):
        proof = Proof.SETTLED if phase is Phase.CHANGED else None
        yield Step(seq=seq, phase=phase, at=START + seq * 0.005 + number, generation=1, proof=proof)


async def make(folder: Path, rows: int) -> None:
    run = Run(
        id=RUN, name="bench", manifest_digest="d1", manifest='{"version":1}', directory=str(folder), started_at=START
    )
    todo = count()
    with closing(SqliteJournal.open(folder)) as journal:
        await journal.open_run(run, [planned(seq) for seq in range(rows)])

        async def write() -> None:
            while (seq := next(todo)) < rows:
                for step in life(seq):
                    await journal.step(RUN, step)

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(write())


def read(folder: Path) -> tuple[float, int]:
    used = time.process_time()
    with closing(SqliteJournal.read(folder)) as journal:
        changed = sum(state.phase is Phase.CHANGED for _, state in journal.states(RUN))
    return time.process_time() - used, changed


if __name__ == "__main__":
    if sys.argv[1] == "make":
        Path(sys.argv[2]).mkdir()
        asyncio.run(make(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        cpu, rows = read(Path(sys.argv[2]))
        sys.stdout.write(f"{cpu} {rows}\n")
