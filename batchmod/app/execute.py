"""A run from its first send to its report: the engine is driven, and what came of it is written down."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from batchmod.app.context import make_context
from batchmod.app.fleet import Fleet
from batchmod.app.listening import Controls, listening
from batchmod.app.options import Options
from batchmod.app.planned import failure_limit
from batchmod.app.session import Session, again
from batchmod.app.signals import Signals
from batchmod.app.speech import insist
from batchmod.app.watching import Watching
from batchmod.engine.clock import Clock
from batchmod.engine.context import Context
from batchmod.engine.driver import give_up, set_free
from batchmod.engine.halt import Halt
from batchmod.engine.runner import run_all
from batchmod.errors import JournalError, ReportError, StoreError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import StoppedBy
from batchmod.model.exits import REPORT, RESUMABLE, exit_code
from batchmod.model.manifest import Manifest
from batchmod.model.notices import RunOpened
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Mark, MarkType, RowState, Run
from batchmod.report.files import Format, ensure_writable, write_reports
from batchmod.report.jsonlog import Level
from batchmod.report.rows import report_row

Known = list[tuple[PlannedRow, RowState]]


@dataclass(kw_only=True)
class Execution(Driving):
    """One run in this process, from its first send to its report."""

    reports: Path

    def announce(self, *, resumed: bool) -> None:
        """From here on the run is shown."""
        known = list(self.session.journal.states(self.run.id))
        opened = RunOpened(
            run_id=self.run.id,
            name=self.run.name,
            resumed=resumed,
            rows=len(known),
            to_send=sum(state.is_open for _, state in known),
            max_failures=failure_limit(self.manifest, [row for row, _ in known]),
        )
        self.watching.open(opened, known)

    async def take_up(self, *, began: float | None = None) -> None:
        """The journal knows that a process has begun with the run again: until that one ends, it is unfinished.

        `began` is when (now, if it is not said): the age of every password that the process escrows counts from there.
        """
        at = self.clock.wall() if began is None else began
        await self.session.journal.mark(self.run.id, Mark(type=MarkType.RESUMED, at=at))
        self.run = self.session.journal.run(self.run.id) or self.run

    async def apply(self) -> int:
        """The exit code; every row has ended or was left open by a stop, and the report is written.

        Of a run that was closed by a process that died before its report, nothing but the report is left to do.
        """
        await self._guarded(self.drive_doubtful if self.run.closed else self.drive)
        return await self._finish()

    async def close(self) -> int:
        """The exit code of an abandoned run: nothing was sent, what is in doubt was settled as far as looking can.

        The rest is unresolved or not started, and no process will take the run up again; but a signal leaves it open.
        """
        await self._guarded(self.drive_doubtful)
        return await self._finish()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """A journal or store that fails stops the run; what is open stays open."""
        try:
            with self.watching.shown():
                await work()
        except (JournalError, StoreError) as error:
            self.trouble(error)
            self.halt.stop(StoppedBy.STORE)

    async def _drive(self) -> None:
        known = list(self.session.journal.states(self.run.id))
        if any(state.is_open for _, state in known):
            await self._run_all(self._context(known), known)

    async def _drive_doubtful(self) -> None:
        journal = self.session.journal
        known = [(row, state) for row, state in journal.states(self.run.id) if state.is_open]
        context = self._context(known, unlimited=True)
        await self._run_all(context, [(row, state) for row, state in known if state.phase not in NO_DOUBT])
        if self.signals.received or self.signals.stopping or self.troubles:
            return
        for row, state in journal.states(self.run.id):
            await give_up(context, row, state)
        closed = Mark(type=MarkType.CLOSED, at=self.clock.wall())
        await journal.mark(self.run.id, closed)  # only a run that the journal calls closed lets go of its passwords
        self.run = self.run.after(closed)
        for row, state in journal.states(self.run.id):
            await set_free(context, row, state)

    def _context(self, known: Known, *, unlimited: bool = False) -> Context:
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
            unlimited=unlimited,
        )
        for lane, stopped in self.fleet.stopped.items():
            context.accounts.failed(lane.account_id, stopped.error)
        return context

    async def _run_all(self, context: Context, known: Known) -> None:
        watchers = [hands.watcher.run for hands in self.fleet.hands.values()]
        async with listening(self.session.state, self._controls(context)):
            await run_all(context, known, ahead=self.manifest.limits.connections, watchers=watchers)

    def _controls(self, context: Context) -> Controls:
        return Controls(
            limits=self.manifest.limits,
            paces=self.fleet.paces,
            changing=context.changing,
            halt=self.halt,
            signals=self.signals,
            clock=self.clock,
            mark=self._mark,
            notify=self.watching.notify,
        )

    def trouble(self, error: Exception) -> None:
        """Said at the end, once each."""
        self.troubles.append(str(error))

    async def _finish(self) -> int:
        """The report is on disk and the run's end in the journal; problems of either are said."""
        self.signals.finishing = True
        try:
            return await self._ended()
        except (JournalError, StoreError) as error:
            self.trouble(error)
            return RESUMABLE
        finally:
            for trouble in dict.fromkeys(self.troubles):
                insist(f"batchmod: {trouble}", level=Level.ERROR)

    async def _ended(self) -> int:
        journal = self.session.journal
        if self.halt.reason is not None:
            await self._mark(Mark(type=MarkType.STOPPED, at=self.clock.wall(), stopped_by=self.halt.reason))
        open_rows = 0 if self.run.closed else journal.open_rows(self.run.id)
        counts = journal.counts(self.run.id)
        known = self._known_run()
        code = exit_code(counts, open_rows=open_rows, accounts_failed=bool(known.accounts_failed))
        finished = Mark(type=MarkType.FINISHED, at=self.clock.wall(), exit_code=code)
        try:
            paths = write_report_files(journal, known.after(finished), self.manifest, self.reports)
        except ReportError as error:
            rebuild = again(f"report {known.id}", self.session.state, self.options)
            insist(
                f"batchmod: {error}\nthe journal is complete: `{rebuild}` writes the report again", level=Level.ERROR
            )
            code, paths = REPORT, []
            finished = replace(finished, exit_code=REPORT)
        # Only now: a run that dies before its report is there is unfinished, and resume writes it.
        told = await self._mark(finished)
        if told and not open_rows and not self.run.closed:
            told = await self._mark(Mark(type=MarkType.CLOSED, at=self.clock.wall()))
        if not told and code != REPORT:
            code = RESUMABLE  # for the journal it has not ended
        hint = again(f"resume {known.id}", self.session.state, self.options) if open_rows else None
        self.watching.summary(known.after(finished), counts, paths, resume=hint, open_rows=open_rows)
        return code

    def _known_run(self) -> Run:
        """The run as the journal has it, or as this process knows it when the journal could not be told the end."""
        kept = self.session.journal.run(self.run.id)
        return self.run if kept is None or self.troubles else kept

    async def _mark(self, mark: Mark) -> bool:
        """Whether the journal was told; this process knows it in any case."""
        self.run = self.run.after(mark)
        try:
            await self.session.journal.mark(self.run.id, mark)
        except JournalError as error:
            self.trouble(error)
            return False
        return True


def write_report_files(journal: SqliteJournal, run: Run, manifest: Manifest, directory: Path) -> list[Path]:
    """The report files of a run, from the journal alone. Raises ReportError when they cannot be written."""
    ensure_writable(directory)
    return write_reports(
        directory,
        run,
        lambda: (report_row(run, row, state) for row, state in journal.states(run.id)),
        [Format(form) for form in manifest.report.formats],
    )
