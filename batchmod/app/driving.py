"""A run's rows driven to their ends, wave after wave. What became of it is written down elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf
from pathlib import Path
from typing import TypeVar

from batchmod.app.announcing import wave_opened
from batchmod.app.consumers import Consumers
from batchmod.app.context import Shares, budget_of_wave, is_spent_before, make_context, own_shares
from batchmod.app.fleet import Fleet
from batchmod.app.listening import Controls, listening
from batchmod.app.memory import kept
from batchmod.app.options import Options
from batchmod.app.session import Session
from batchmod.app.signals import Signals
from batchmod.app.tasks import beside
from batchmod.app.telling import Telling
from batchmod.app.watching import Watching
from batchmod.app.waves import Gate
from batchmod.app.windows import opening_of, tell_next, tell_too_short
from batchmod.engine.clock import Clock
from batchmod.engine.context import Context
from batchmod.engine.driver import give_up, set_free
from batchmod.engine.halt import Halt
from batchmod.engine.opening import Opening, until_closed
from batchmod.engine.ports import Slots, nobody
from batchmod.engine.rollout import wave_count
from batchmod.engine.runner import run_all
from batchmod.errors import JournalError
from batchmod.model.events import NO_DOUBT, StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.model.secret import Secret

T = TypeVar("T")
Known = list[tuple[PlannedRow, RowState]]
DriveWave = Callable[[Known, int], Awaitable[None]]  # all rows as they stand, and the wave whose rows are driven


@dataclass(kw_only=True)
class Driving:
    """One run in this process. `run` grows with what happens to it, whether or not the journal can still be told.

    `observed_at` is when the plan read what the rows say.
    """

    session: Session
    fleet: Fleet
    run: Run
    manifest: Manifest
    options: Options
    halt: Halt
    signals: Signals
    watching: Watching
    clock: Clock
    chosen: Secret | None = None
    observed_at: float = inf
    known: Known | None = None  # all rows as they stand before anything is driven; None: as the journal has them
    troubles: list[str] = field(default_factory=list)
    owes: bool = False  # every row may have ended, but a consumer was not told of the last of them

    async def drive(self) -> None:
        """Wave after wave, until all rows have ended or something stops the run."""
        known = await self._states() if self.known is None else self.known
        self.known = None
        waves = sorted({row.wave or 1 for row, state in known if state.is_open})
        if not waves:
            await self._tell(inf)
            return
        opening = opening_of(self.manifest, self.session.journal.recent_seconds, self.clock)
        tell_too_short(self.manifest, opening, {row.kind for row, state in known if state.is_open}, self.clock.wall())
        async with self._wave_driver(known, opening) as drive_wave, beside(until_closed(opening, self.halt)):
            with kept():
                await self._drive_waves(drive_wave, opening, known, waves)
        if self.halt.reason is StoppedBy.WINDOW:
            tell_next(self.manifest, self.clock.wall())

    @asynccontextmanager
    async def _wave_driver(self, known: Known, opening: Opening) -> AsyncIterator[DriveWave]:
        """What drives one wave, for as long as the block; `control` is listened to meanwhile."""
        context = self._context(known, opening, own_shares(self.manifest, known))
        async with listening(self.session.state, self._controls(context.changing)):
            yield partial(self._drive_wave, context)

    async def _drive_waves(self, drive_wave: DriveWave, opening: Opening, known: Known, waves: Sequence[int]) -> None:
        for wave in waves:
            if wave > self.run.opened and is_spent_before(self.manifest, self.run, known, wave):
                self.halt.stop(StoppedBy.MAX_FAILURES)
            if not await self._tell(wave) or not await self._gate(known, opening).passed(wave):
                return
            await drive_wave(known, wave)
            to_come = sum(state.is_open and (row.wave or 1) > wave for row, state in known)
            if self.session.journal.open_rows(self.run.id) > to_come:
                if opening.refused:
                    self.halt.stop(StoppedBy.WINDOW)
                return
            if to_come:
                known = await self._states()
        await self._tell(inf)

    async def _tell(self, before: float) -> bool:
        """Whether the consumers know of all waves before this one; if not, `resume` has something to do."""
        if self.consumers is not None:
            telling = Telling(
                consumers=self.consumers,
                known=lambda: self.run,
                states=lambda: self.session.journal.states(self.run.id),
                mark=self._told,
                halt=self.halt,
                signals=self.signals,
                clock=self.clock,
            )
            self.owes = True  # until it is known to be otherwise
            self.owes = not await telling.told(before)
        return not self.owes

    @cached_property
    def consumers(self) -> Consumers | None:
        """None when nobody is to be told of anything."""
        if self.session.store is None or not self.manifest.consumers:
            return None
        return Consumers(
            manifest=self.manifest,
            directory=Path(self.run.directory),
            environ=self.options.environ,
            run_id=self.run.id,
            store=self.session.store,
            halt=self.halt,
            notify=self.watching.notify,
        )

    async def _drive_wave(self, context: Context, known: Known, wave: int) -> None:
        """The rows of the wave have ended, or were left open by a stop. `known`: all rows, as they stand before it."""
        budget = budget_of_wave(self.manifest, self.run, known, self.halt, wave)
        mine = {row.key for row, state in known if state.is_open and (row.wave or 1) == wave}
        opened = wave_opened(self.manifest, known, wave, limit=budget.limit, spent=budget.spent)
        if opened is not None:
            self.watching.notify(opened)
        await self._run_all(replace(context, budget=budget), [one for one in known if one[0].key in mine])

    async def drive_doubtful(self) -> None:
        """What is in doubt is settled as far as looking can, the rest has its last word, and the run is closed."""
        journal = self.session.journal
        known = await self._apart(lambda: [one for one in journal.states(self.run.id) if one[1].is_open])
        context = self._context(known, Opening(), own_shares(self.manifest, known))
        await self._settle_doubtful(context, known)
        if not self.run.closed:
            await self._tell(inf)
        if self.signals.received or self.signals.stopping or self.troubles:
            return
        for row, state in journal.states(self.run.id):
            await give_up(context, row, state)
        closed = Mark(type=MarkType.CLOSED, at=self.clock.wall())
        await journal.mark(self.run.id, closed)  # only a run that the journal calls closed lets go of its passwords
        self.run = self.run.after(closed)
        for row, state in journal.states(self.run.id):
            await set_free(context, row, state)

    async def _apart(self, work: Callable[[], T]) -> T:
        """What it comes to; where others are worked for in this process, they do not wait for it."""
        return work()

    async def _states(self) -> Known:
        """All rows as the journal has them."""
        return await self._apart(lambda: list(self.session.journal.states(self.run.id)))

    async def _settle_doubtful(self, context: Context, known: Known) -> None:
        """What is in doubt of these rows has been looked at for as long as that may help."""
        async with listening(self.session.state, self._controls(context.changing)):
            await self._run_all(context, [(row, state) for row, state in known if state.phase not in NO_DOUBT])

    def _gate(self, known: Known, opening: Opening) -> Gate:
        return Gate(
            manifest=self.manifest,
            directory=Path(self.run.directory),
            halt=self.halt,
            opening=opening,
            clock=self.clock,
            known=lambda: self.run,
            mark=self._told,
            notify=self.watching.notify,
            environ=self.options.environ,
            waves=wave_count(row for row, _ in known),
        )

    async def _mark(self, mark: Mark) -> bool:
        """Whether the journal was told; this process knows it in any case."""
        self.run = self.run.after(mark)
        try:
            await self.session.journal.mark(self.run.id, mark)
        except JournalError as error:
            self.trouble(error)
            return False
        return True

    async def _told(self, mark: Mark) -> None:
        """The journal knows it. Raises JournalError, else."""
        await self.session.journal.mark(self.run.id, mark)
        self.run = self.run.after(mark)

    def _context(self, known: Known, opening: Opening, shares: Shares) -> Context:
        context = make_context(
            session=self.session,
            hands={**self.fleet.hands, **self.fleet.stopped},
            run=self.run,
            manifest=self.manifest,
            known=known,
            halt=self.halt,
            clock=self.clock,
            chosen=self.chosen,
            notify=self.watching.notify,
            trouble=self.trouble,
            shares=shares,
            doubtful=self._doubtful(known),
            opening=opening,
            observed_at=self.observed_at,
            tell=nobody if self.consumers is None else self.consumers.tell,
        )
        for lane, stopped in self.fleet.stopped.items():
            context.accounts.failed(lane.account_id, stopped.error)
        return context

    def _doubtful(self, _: Known) -> Iterable[tuple[Run, PlannedRow, RowState]]:
        """The rows of all runs of which something may land where these are driven."""
        return self.session.journal.doubtful(self.clock.wall() - self.manifest.retry.fence)

    async def _run_all(self, context: Context, known: Known) -> None:
        watchers = [hands.watcher.run for hands in self.fleet.hands.values()]
        await run_all(context, known, ahead=self.manifest.limits.connections, watchers=watchers)

    def _controls(self, changing: Slots) -> Controls:
        return Controls(
            limits=self.manifest.limits,
            paces=self.fleet.paces,
            changing=changing,
            halt=self.halt,
            signals=self.signals,
            clock=self.clock,
            mark=self._mark,
            notify=self.watching.notify,
        )

    def trouble(self, error: Exception) -> None:
        """Said at the end, once each."""
        self.troubles.append(str(error))
