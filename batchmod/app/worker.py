"""`worker`: works on campaigns until it is told to end, whatever becomes of the database meanwhile."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from batchmod.app.chunk import rescue, work
from batchmod.app.conduct import conduct
from batchmod.app.ending import Ending
from batchmod.app.holding import new_run_id
from batchmod.app.on_time import begin_scheduled
from batchmod.app.options import Options
from batchmod.app.post import GRACE, HandedOverError, Post, apart
from batchmod.app.speech import say
from batchmod.app.storing import shared_place
from batchmod.app.tasks import beside, first
from batchmod.cluster import due, jobs
from batchmod.cluster.lease import Leases
from batchmod.cluster.refusals import worker_key
from batchmod.cluster.schedules import keep_time
from batchmod.cluster.timetable import come
from batchmod.errors import BatchmodError
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.exits import BUG, DONE
from batchmod.pg.link import FAILURES, why
from batchmod.pg.links import ALL
from batchmod.pg.migrating import prepare
from batchmod.pg.place import Place

AGAIN: Final = (1.0, 10.0)  # seconds until a database that is away is looked for again, doubled up to the second
AWAY: Final = (*FAILURES, *due.FAILURES, BatchmodError)
"""What a session ends with when the database is away: the next one says whether it is back."""


async def worker(options: Options, *, lanes: int, on_bug: Callable[[BaseException], None]) -> int:
    """The exit code, once it was told to end and what it was at is settled or left to others.

    `on_bug` is told of an exception that nobody foresaw. Raises UsageError when the database cannot be used at all.
    """
    place = shared_place(options)
    prepare(place)
    jobs.quiet()
    asyncio.get_running_loop().set_exception_handler(_unheard)
    ending = Ending(drain=options.drain)
    working = Working(
        options=replace(options, may_make_key=False), place=place, lanes=lanes, on_bug=on_bug, ending=ending
    )
    with ending.on_signals():
        await working.until_told()
    return BUG if working.bugs else DONE


@dataclass(kw_only=True)
class Working:
    """One worker process: one registration with the database after another."""

    options: Options
    place: Place
    lanes: int
    on_bug: Callable[[BaseException], None]
    ending: Ending
    bugs: int = 0
    is_away: bool = False  # the database, and that was said
    is_unswept: bool = False  # the same of what is due

    @property
    def draining(self) -> asyncio.Event:
        return self.ending.draining

    async def until_told(self) -> None:
        pause = AGAIN[0]
        while not self.draining.is_set():
            try:
                async with self._post() as post:
                    began = time.monotonic()
                    await self._serve(post)
                    pause = pause if time.monotonic() - began < AGAIN[1] else AGAIN[0]
            except AWAY as error:
                self._tell_away(why(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.draining.wait()
            pause = min(AGAIN[1], 2 * pause)

    @asynccontextmanager
    async def _post(self) -> AsyncIterator[Post]:
        """A new registration: whoever took us for dead was right, until now."""
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        journal = await apart(partial(PostgresJournal.open, self.place))
        try:
            async with (
                jobs.connected(self.place) as connections,
                Leases(self.place, holder=holder, cut=ALL.cut) as leases,
            ):
                yield Post(
                    options=self.options,
                    place=self.place,
                    journal=journal,
                    leases=leases,
                    holder=holder,
                    connections=connections,
                    draining=self.draining,
                )
        finally:
            await apart(journal.close, patience=GRACE)

    async def _serve(self, post: Post) -> None:
        """Returns when the worker was told to end and is done, or the registration is lost."""
        tasks = {
            due.CHUNK: partial(self._guarded, partial(work, post)),
            due.RESCUE: partial(self._guarded, partial(rescue, post)),
            due.CONDUCT: partial(self._guarded, partial(conduct, post)),
            due.TIME: partial(self._guarded, partial(_come, post)),
            due.BEGIN: partial(self._guarded, partial(_begin, post)),
        }
        app, endpoint = jobs.app_of(post.connections, tasks, post.rest), self.options.endpoint
        at_once = {due.LANES: self.lanes, due.RESCUES: self.lanes, due.RUNS: jobs.RUNS_AT_ONCE}
        workers = [jobs.worker_of(app, queue, count, endpoint=endpoint) for queue, count in at_once.items()]
        there = await post.leases.take(worker_key(endpoint, post.holder))
        workers.append(jobs.worker_of(jobs.sweeping(post.connections, tell=self._unswept), due.SWEEPS, 1))
        for each in workers:
            each.told = partial(self._stopped, post)
        post.leases.workers = lambda: [each.worker_id for each in workers if each.worker_id is not None]
        self.is_away = self.is_unswept = False
        say(f"works on {self.place}: {self.lanes} lanes at once")
        async with beside(post.cut_off()), beside(self._leave(post)), beside(self._hear(post)):
            running = [asyncio.create_task(each.run()) for each in workers]
            async with beside(keep_time(post.connections, app.tasks[due.TIME])):
                await first(*running, post.lost, post.leases.lost, self.draining)
            self._stopped(post)
            for each in workers:
                each.stop()
            if there is not None and not post.lost.is_set():  # nothing new is taken up
                await there.release()
            ended = await asyncio.gather(*running, return_exceptions=True)
            if post.lost.is_set():
                self._tell_away(post.trouble)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, AWAY):
                self._bug(error)

    async def _leave(self, post: Post) -> None:
        """Jobs end at once when the worker has to: procrastinate would wait for them, whoever cancels it."""
        await self.ending.leaving.wait()
        post.lost.set()

    async def _hear(self, post: Post) -> None:
        """That it is lost is said at once, also when the worker was to end anyway."""
        await post.lost.wait()
        self._tell_away(post.trouble)

    def _stopped(self, post: Post) -> None:
        """Whatever ends a registration before its time ends all that goes by it."""
        if not self.draining.is_set():
            post.lost.set()

    async def _guarded(self, job: Callable[..., Awaitable[None]], **given: Any) -> None:
        """What nobody foresaw is told, and left to an operator."""
        try:
            await job(**given)
        except (HandedOverError, *AWAY):
            raise  # the job is gone, and what was to be done gets another one
        except Exception as error:
            self._bug(error)
            raise

    def _tell_away(self, trouble: str) -> None:
        """Once, until it is back."""
        if not self.is_away and not self.ending.leaving.is_set():
            others = (
                "what is open is left to other workers"
                if self.draining.is_set()
                else "looked for again until it is back"
            )
            say(f"{self.place}: {trouble}; {others}")
        self.is_away = True

    def _unswept(self, error: BaseException) -> None:
        """Once, until it is back."""
        if not self.is_unswept and not self.is_away:
            say(f"{self.place}: what is due was not looked for: {why(error)}")
        self.is_unswept = True

    def _bug(self, error: BaseException) -> None:
        self.bugs += 1
        self.on_bug(error)


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a task raised that nobody waited for any more: procrastinate shields its own, which a lost registration cuts off."""
    if not isinstance(context.get("exception"), AWAY):
        loop.default_exception_handler(context)


async def _come(post: Post, name: str, timestamp: int) -> None:
    """A campaign is to begin by the clock, and has a job that does it, if this was its time."""
    async with post.connection() as db:
        if await come(db, name, timestamp, new_run_id(time.time())):
            await due.enqueue_due(post.connections.manager, db)


async def _begin(post: Post, name: str) -> None:
    await begin_scheduled(name, post.place, post.options.environ)
