"""What goes on beside something else ends with it, also when a cancellation is lost."""

import asyncio

import pytest

from batchmod.app import tasks
from batchmod.app.tasks import beside


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    lost: list[str] = []

    async def deaf() -> None:
        for turn in ("first", "second"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost.append(turn)
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with beside(deaf()):
            await asyncio.sleep(0)
    assert lost == ["first", "second"]
