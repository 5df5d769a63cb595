"""What must be done every second whatever the event loop is busy with: by a thread with a loop and a connection of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future as Promise
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection

from batchmod.pg.link import FAILURES, connect_async, usable, why
from batchmod.pg.links import Links
from batchmod.pg.place import Place

EVERY: Final = 1.0  # seconds between two beats, and between two signs of life of the event loop
Beat = Callable[[AsyncConnection[Any]], Awaitable[None]]


class Heart:
    """Beats until it is stopped, no beat was answered for `patience` seconds, its connection broke, or the event loop that
    started it gave no sign of life for `hung` seconds.
    """

    def __init__(
        self,
        place: Place,
        beat: Beat,
        *,
        ended: Callable[[str], None],
        now: Callable[[], float],
        patience: float,
        hung: float,
    ) -> None:
        """`beat` and `ended` are called in the thread; `ended` once, with the reason; "" when it was stopped."""
        self._place = place
        self._beat = beat
        self._ended = ended
        self._now = now
        self._patience = patience
        self._hung = hung
        self._lock = threading.Lock()  # between "does it still beat?" and its end
        self._is_over = False
        self._started: Promise[None] = Promise()
        self._over: Promise[None] = Promise()
        self._links = Links()
        self._answered = self._alive = 0.0  # when the last beat that was answered began, and the event loop's last sign

    async def start(self) -> None:
        """It beats. Raises UsageError when the database cannot be reached."""
        self._alive = self._now()
        # A daemon: a process that dies of a bug must not wait for it.
        threading.Thread(target=self._run, name="batchmod-leases", daemon=True).start()
        try:
            await asyncio.shield(asyncio.wrap_future(self._started))
        except asyncio.CancelledError:
            self._started.add_done_callback(lambda started: None if started.exception() else self._stop())
            raise
        self._living = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """It has ended, its connection is closed. A bug that ended it is raised."""
        self._living.cancel()
        self._stop()
        await asyncio.shield(asyncio.wrap_future(self._over))

    async def tell(self, statement: str, values: Sequence[object]) -> None:
        """The database was told between two beats, or could not be."""
        with self._lock:
            if self._is_over:
                return
            told = asyncio.run_coroutine_threadsafe(self._tell(statement, values), self._loop)
        await asyncio.shield(asyncio.wrap_future(told))

    async def _tell(self, statement: str, values: Sequence[object]) -> None:
        with suppress(*FAILURES):
            await self._link.execute(statement.encode(), values)

    async def _live(self) -> None:
        while True:
            self._alive = self._now()
            await asyncio.sleep(EVERY)

    def _stop(self) -> None:
        with self._lock:
            if not self._is_over:
                self._loop.call_soon_threadsafe(self._beating.cancel)

    def _run(self) -> None:
        """The thread."""
        try:
            asyncio.run(self._connected())
        except BaseException as error:  # noqa: BLE001  raised by who waits for it
            (self._over if self._started.done() else self._started).set_exception(error)
        else:
            self._over.set_result(None)

    async def _connected(self) -> None:
        with usable(self._place):
            self._link = await connect_async(self._place)
        self._links.add(self._link)
        self._loop, self._beating = asyncio.get_running_loop(), asyncio.create_task(self._keep())
        self._started.set_result(None)
        await asyncio.wait({self._beating})
        with self._lock:
            self._is_over = True
        self._links.cut()
        await asyncio.sleep(0)  # what was asked for before the end has begun, and fails
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        await self._link.close()
        if not self._beating.cancelled():
            self._beating.result()

    async def _keep(self) -> None:
        trouble = ""
        try:
            trouble = await self._beat_always()
        except FAILURES as error:
            trouble = f"the connection that renews the leases broke: {why(error)}"
        finally:
            self._ended(trouble)

    async def _beat_always(self) -> str:
        """Why it came to an end. Raises one of FAILURES."""
        self._answered = self._now()
        while (left := self._answered + self._patience - self._now()) > 0:
            if self._now() - self._alive >= self._hung:
                return f"this process stood still for {self._hung:g} s"
            began = self._now()
            beat = asyncio.ensure_future(self._beat(self._link))
            try:
                answered, _ = await asyncio.wait({beat}, timeout=left)
            finally:
                if not beat.done():  # a server that answers nothing answers no request to cancel either
                    self._links.cut()
                    await asyncio.wait({beat})
                    beat.exception()  # that it was cut off
            if not answered:
                break
            beat.result()
            self._answered = began
            await asyncio.sleep(EVERY)
        return f"no renewal of the leases was answered for {self._patience:g} s"
