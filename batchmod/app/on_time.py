"""The time of a schedule has come: a campaign begins on this worker, or somebody hears why not."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from batchmod.app.jobs import ManifestJob
from batchmod.app.notifying import notifying
from batchmod.app.options import Options
from batchmod.app.post import bug_of
from batchmod.app.resubmit import resumed
from batchmod.app.run import WHY
from batchmod.app.schedule import KEPT, loaded_again
from batchmod.app.session import again, to_resume, unfinished_runs
from batchmod.app.speech import insist
from batchmod.app.storing import reading
from batchmod.app.submit import submitted_of
from batchmod.cluster.timetable import LATE, Due, Schedule, begun, due_of, failed, schedules
from batchmod.engine.clock import Clock
from batchmod.errors import BatchmodError, PolicyError, UsageError
from batchmod.model.events import BY_HAND
from batchmod.model.runs import Mark, Run
from batchmod.pg.link import FAILURES, linked, why
from batchmod.pg.place import Place
from batchmod.report.jsonline import Level
from batchmod.report.layout import duration
from batchmod.report.message import not_begun_message

T = TypeVar("T")


async def begin_scheduled(name: str, place: Place, environ: Mapping[str, str]) -> None:
    """The time of a manifest has come: a run of it is with the workers, or why there is none is kept with it, and it is
    tried again later, or whom the manifest names under `notify` is told. Once, however often it is tried.

    Raises UsageError when the database is away: then nothing of this is so, and it is to be tried again.
    """
    async with linked(place) as db:
        due, found = await due_of(db, name), await schedules(db, name)
    if due is None or not found:
        return  # it has begun, or was removed meanwhile
    begin = _Begin(kept=found[0], due=due, place=place, environ=environ)
    try:
        run_id = await _in_a_loop_of_its_own(begin.begun)
    except PolicyError as error:
        await begin.failed(str(error), again=False)
    except BatchmodError as error:
        await begin.failed(str(error))
    except FAILURES as error:
        await begin.failed(why(error))
    except Exception as error:
        await begin.failed(bug_of(error))
        raise
    else:
        async with linked(place) as db:
            await begun(db, due, run_id)


async def _in_a_loop_of_its_own(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """A large plan takes seconds, in which the worker has to renew its leases."""
    return await asyncio.to_thread(lambda: asyncio.run(work()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begin:
    """One time of a schedule, tried by this worker."""

    kept: Schedule
    due: Due
    place: Place
    environ: Mapping[str, str]

    async def begun(self) -> str | None:
        """The run that was begun or taken up; None when there was nothing to do. Raises BatchmodError when there is none."""
        if self.due.late > LATE:
            last = f": {self.kept.last_error}" if self.due.troubles else ""
            raise PolicyError(f"no worker could begin it within {duration(LATE)}{last}")
        kept, options = self.kept, self._options
        with reading(options) as journal:
            unfinished, mine = unfinished_runs(journal, kept.name), journal.run(self.due.run_id)
        if unfinished:
            return await self._taken_up(unfinished[-1])
        if mine is not None:
            return mine.id
        job = ManifestJob(loaded=loaded_again(kept), options=options)
        submitted = await submitted_of(
            job, self.due.run_id, options, also=lambda db: begun(db, self.due, self.due.run_id)
        )
        return submitted.run.id if submitted.run is not None else None

    async def failed(self, error: str, *, again: bool = True) -> None:
        """Why nothing began is said and kept; when it is not tried again, those whom the manifest names are told."""
        later = self.due.again_in if again else None
        then = f"tried again in {later:.0f} s" if later is not None else "not tried again before the next time"
        for line in (*error.splitlines(), then):
            insist(f"schedule {self.kept.name}: {line}", level=Level.WARNING)
        async with linked(self.place) as db:
            was_due = await failed(db, self.due, error, later=later)
        if was_due and later is None:
            await _in_a_loop_of_its_own(self._told)

    @property
    def _options(self) -> Options:
        given: Mapping[str, Any] = {name: self.kept.options.get(name) for name in KEPT}
        return Options(environ=self.environ, store=self.place.url, yes=True, quiet=True, may_make_key=False, **given)

    async def _taken_up(self, run: Run) -> str:
        options, is_mine = self._options, run.id == self.due.run_id
        if is_mine and run.finished_at is not None:
            return run.id  # somebody has given it to the workers meanwhile, and it was stopped
        if run.stopped_by in BY_HAND:
            assert run.stopped_by is not None
            command = to_resume(run, Path(), options)
            raise PolicyError(f"run {run.id} {WHY[run.stopped_by]}: only `{command}` continues it")
        if not await resumed(run, options, also=lambda db: begun(db, self.due, run.id)) and not is_mine:
            command = again(f"resume {run.id} --follow", Path(), options)
            raise PolicyError(f"nothing was begun: workers are still at run {run.id}: `{command}` shows it")
        return run.id

    async def _told(self) -> None:
        try:
            loaded = loaded_again(self.kept)
            told = notifying(loaded.manifest, self.environ, loaded.directory)
        except UsageError as problem:
            insist(f"schedule {self.kept.name}: nobody was told: {problem}", level=Level.WARNING)
            return
        shows = again("schedule --list", Path(), self._options)
        message = not_begun_message(self.kept.name, self.due.at.timestamp(), shows)
        await told.tell(message, told=None, mark=_unmarked, clock=Clock(), hurry=asyncio.Event())


async def _unmarked(_: Mark) -> bool:
    """There is no run whose journal could hold it."""
    return True
