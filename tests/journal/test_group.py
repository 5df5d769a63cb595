"""What turns of the event loop write one after the other is one commit; what nobody waits for holds nothing up."""

import asyncio
from collections.abc import Sequence

from batchmod.journal.group import NONE, Answers, GroupWriter


class Kept:
    """A sink that keeps its batches."""

    failures = (OSError,)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def commit(self, batch: Sequence[int]) -> Answers:
        self.batches.append(list(batch))
        return NONE

    def why(self, error: Exception) -> str:
        return str(error)

    def close(self) -> None: ...


async def test_writes_of_turns_one_after_the_other_are_one_commit() -> None:
    """As many as wait at once, for as long as each turn brings another."""
    sink = Kept()
    writer, loop, begun = GroupWriter(sink, name="test"), asyncio.get_running_loop(), asyncio.Event()
    writes: list[asyncio.Task[None]] = []

    def write() -> None:
        writes.append(loop.create_task(writer.write(len(writes))))
        if len(writes) < 20:
            loop.call_soon(write)
        else:
            begun.set()

    write()
    await begun.wait()
    await asyncio.gather(*writes)
    writer.close()
    assert sink.batches == [list(range(20))]


async def test_notes_do_not_hold_up_who_waits() -> None:
    """A turn that only notes something ends the gathering."""
    sink = Kept()
    writer, loop = GroupWriter(sink, name="test"), asyncio.get_running_loop()
    going = True

    def note() -> None:
        writer.note(-1)
        if going:
            loop.call_soon(note)

    note()
    await writer.write(7)
    going = False
    await writer.write(None)
    writer.close()
    assert 7 in sink.batches[0]
