"""A run from its first send to its report: the engine is driven, and what came of it is written down."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from batchmod.app.announcing import run_opened
from batchmod.app.driving import Driving, Known
from batchmod.app.measuring import Measured
from batchmod.app.notifying import NOBODY, Notifying
from batchmod.app.reporting import write_report_files
from batchmod.app.serving import Serving
from batchmod.app.session import again
from batchmod.app.speech import insist
from batchmod.errors import JournalError, ReportError, StoreError
from batchmod.model.events import StoppedBy
from batchmod.model.exits import REPORT, RESUMABLE, exit_code
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.model.stores import EmbeddedSettings
from batchmod.report.jsonline import Level
from batchmod.report.message import Message, message_of


@dataclass(kw_only=True)
class Execution(Driving):
    """One run in this process, from its first send to its report."""

    reports: Path
    notifying: Notifying = NOBODY
    measured: Measured = field(default_factory=Measured)
    serving: Serving | None = None

    def announce(self, *, resumed: bool, known: Known | None = None) -> None:
        """From here on the run is shown. `known`: its rows as they stand, when they need not be read."""
        self.known = known = list(self.session.journal.states(self.run.id)) if known is None else known
        self.measured.begin(known)
        if self.serving is not None:
            self.serving.expect(self, known)
        self.watching.open(run_opened(self.run, self.manifest, known, resumed=resumed), known)

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
        if isinstance(self.manifest.secrets, EmbeddedSettings):  # another store is asked once, at the end
            await self.measured.prove(self.session.store)
        try:
            with self.watching.shown():
                await work()
        except (JournalError, StoreError) as error:
            self.trouble(error)
            self.halt.stop(StoppedBy.STORE)

    async def _finish(self) -> int:
        """The report is on disk and the run's end in the journal, and who is to know of it was told; problems are said."""
        self.signals.finishing = True
        code, message = RESUMABLE, None
        try:
            try:
                code, message = await self._ended()
            except (JournalError, StoreError) as error:
                self.trouble(error)
            with self.signals.hurrying() as hurry:  # the run has ended, and its exit code stays
                if message is not None:
                    await self._notify(message, hurry)
                signalled = self.signals.received > 0
                await self.measured.prove_at_last(self.session.store, signalled=signalled, hurry=hurry)
        finally:
            for trouble in dict.fromkeys(self.troubles):
                insist(f"batchmod: {trouble}", level=Level.ERROR)
        return self.measured.ended(code)

    async def _ended(self) -> tuple[int, Message]:
        """The exit code, and what is told of it; the last words have been said."""
        journal = self.session.journal
        if self.halt.reason is not None:
            await self._mark(Mark(type=MarkType.STOPPED, at=self.clock.wall(), stopped_by=self.halt.reason))
        if paces := self.fleet.paced():
            await self._mark(Mark(type=MarkType.PACED, at=self.clock.wall(), paces=tuple(paces)))
        open_rows = 0 if self.run.closed else journal.open_rows(self.run.id)
        counts = journal.counts(self.run.id)
        known = self._known_run()
        left = open_rows or self._is_left
        code = exit_code(counts, open_rows=left, accounts_failed=bool(known.accounts_failed))
        finished = Mark(type=MarkType.FINISHED, at=self.clock.wall(), exit_code=code)
        self.measured.end(open_rows=open_rows, stopped_by=known.stopped_by)
        rebuild = None
        try:
            paths = await self._write_report(known.after(finished), to_come=[finished])
        except ReportError as error:
            rebuild = again(f"report {known.id}", self.session.state, self.options)
            insist(
                f"batchmod: {error}\nthe journal is complete: `{rebuild}` writes the report again", level=Level.ERROR
            )
            code, paths = REPORT, []
            finished = replace(finished, exit_code=REPORT)
        # Only now: a run that dies before its report is there is unfinished, and resume writes it.
        told = await self._mark(finished)
        if told and not left and not self.run.closed:
            told = await self._mark(Mark(type=MarkType.CLOSED, at=self.clock.wall()))
        if not told and code != REPORT:
            code = RESUMABLE  # for the journal it has not ended
        hint = again(f"resume {known.id}", self.session.state, self.options) if left else None
        if self.serving is not None:
            self.serving.end(known.after(finished))
        self.watching.summary(known.after(finished), counts, paths, resume=hint, open_rows=open_rows)
        ended = known.after(replace(finished, exit_code=code))
        return code, message_of(ended, counts, paths, open_rows, hint, rebuild)

    async def _notify(self, message: Message, hurry: asyncio.Event) -> None:
        """Who is to know of the end has been told, and who could not be stands in the report."""
        said = self.run.notifiers_failed  # in the report that is there
        await self.notifying.tell(message, told=self.run.notified, mark=self._mark, clock=self.clock, hurry=hurry)
        if self.run.notifiers_failed == said or message.fields["exit_code"] == REPORT:
            return
        try:
            await self._write_report(self._known_run())
        except (JournalError, ReportError) as error:
            insist(f"batchmod: {error}\nthe report does not say who could not be notified", level=Level.ERROR)

    async def _write_report(self, run: Run, *, to_come: Sequence[Mark] = ()) -> list[Path]:
        """The files of it. Raises JournalError, and ReportError when they cannot be written."""
        return await self._apart(
            partial(write_report_files, self.session.journal, run, self.manifest, self.reports, to_come=to_come)
        )

    @property
    def _is_left(self) -> bool:
        """Whether the run can be resumed though every row has ended: consumers are to be told, or one of them said no."""
        return not self.run.closed and (self.owes or self.halt.reason is StoppedBy.CHECK)

    def _known_run(self) -> Run:
        """The run as the journal has it, or as this process knows it when the journal could not be told the end."""
        kept = self.session.journal.run(self.run.id)
        return self.run if kept is None or self.troubles else kept
