"""A run from its first send to its report: the engine is put together, driven, and what it did is written down."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from batchmod.app.exits import REPORT, exit_code
from batchmod.app.fleet import Fleet
from batchmod.app.options import Options
from batchmod.app.planned import failure_limit
from batchmod.app.proofs import LOGINS, LoginProver, maker_of, password_change
from batchmod.app.session import Session, say
from batchmod.app.watching import Watching
from batchmod.engine.accounts import Accounts
from batchmod.engine.budget import Budget
from batchmod.engine.clock import Clock
from batchmod.engine.context import SPENDS, Context, Limits
from batchmod.engine.driver import give_up
from batchmod.engine.halt import Halt
from batchmod.engine.leftovers import leftovers_of
from batchmod.engine.pacing import Pacer
from batchmod.engine.runner import run_all
from batchmod.errors import JournalError, ReportError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import NO_DOUBT, TERMINAL, Kind, Phase, Proof, StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.notices import RunStopping
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Mark, MarkType, RowState, Run
from batchmod.model.secret import InstanceKey, Secret
from batchmod.report.files import Format, ensure_writable, write_reports
from batchmod.report.rows import report_row

Known = list[tuple[PlannedRow, RowState]]


@dataclass(kw_only=True)
class Execution:
    """One run in this process. `run` grows with what happens to it, whether or not the journal can still be told."""

    session: Session
    fleet: Fleet
    run: Run
    manifest: Manifest
    options: Options
    reports: Path
    halt: Halt
    watching: Watching
    clock: Clock
    chosen: Secret | None
    troubles: list[str] = field(default_factory=list)

    async def apply(self) -> int:
        """The exit code; every row has ended or was left open by a stop, and the report is written."""
        known = list(self.session.journal.states(self.run.id))
        if any(state.is_open for _, state in known):
            context = self._context(known)
            watchers = [hands.watcher.run for hands in self.fleet.hands.values()]
            with on_signals(self.halt, self.options.drain), self.watching.shown():
                await run_all(context, known, ahead=self.manifest.limits.connections, watchers=watchers)
        return await self.finish()

    async def finish(self) -> int:
        """The run's end is in the journal and its report on disk; problems of either are said."""
        journal = self.session.journal
        if self.halt.reason is not None:
            await self.mark(Mark(type=MarkType.STOPPED, at=self.clock.wall(), stopped_by=self.halt.reason))
        open_rows = 0 if self.run.closed else journal.open_rows(self.run.id)
        counts = journal.counts(self.run.id)
        code = exit_code(counts, open_rows=open_rows, accounts_failed=bool(self._known_run().accounts_failed))
        await self.mark(Mark(type=MarkType.FINISHED, at=self.clock.wall(), exit_code=code))
        if not open_rows and not self.run.closed:
            await self.mark(Mark(type=MarkType.CLOSED, at=self.clock.wall()))
        for trouble in dict.fromkeys(self.troubles):
            say(f"batchmod: {trouble}")
        try:
            paths = write_report_files(journal, self._known_run(), self.manifest, self.reports)
        except ReportError as error:
            say(f"batchmod: {error}\nthe journal is complete: batchmod report {self.run.id} writes the report again")
            return REPORT
        self.watching.summary(self._known_run(), counts, paths, open_rows)
        return code

    async def close(self) -> None:
        """Nothing was sent; what is in doubt was settled as far as looking can, the rest is unresolved or not started,
        and no process will take the run up again.
        """
        context = self._context([])
        known = list(self.session.journal.states(self.run.id))
        watchers = [hands.watcher.run for hands in self.fleet.hands.values()]
        with on_signals(self.halt, self.options.drain), self.watching.shown():
            doubtful = [(row, state) for row, state in known if state.phase not in NO_DOUBT]
            await run_all(context, doubtful, ahead=self.manifest.limits.connections, watchers=watchers)
        for row, state in self.session.journal.states(self.run.id):
            await give_up(context, row, state)
        await self.mark(Mark(type=MarkType.CLOSED, at=self.clock.wall()))

    def _known_run(self) -> Run:
        """The run as the journal has it, or as this process knows it when the journal could not be told the end."""
        kept = self.session.journal.run(self.run.id)
        return self.run if kept is None or self.troubles else kept

    async def mark(self, mark: Mark) -> None:
        self.run = self.run.after(mark)
        try:
            await self.session.journal.mark(self.run.id, mark)
        except JournalError as error:
            self.troubles.append(str(error))

    def _context(self, known: Known) -> Context:
        manifest, journal, halt = self.manifest, self.session.journal, self.halt
        retry = manifest.retry
        spent = sum(row.will_send and state.phase in SPENDS for row, state in known)
        budget = Budget(
            failure_limit(manifest, [row for row, _ in known]) if known else None,
            spent=spent,
            exhausted=lambda: halt.stop(StoppedBy.MAX_FAILURES),
        )
        changing = Budget(manifest.limits.changing)
        halt.on_stop(lambda _: budget.close())
        halt.on_stop(lambda _: changing.close())
        halt.on_stop(lambda reason: self.watching.notify(RunStopping(stopped_by=reason)))
        if halt.reason is not None:
            budget.close()
            changing.close()
        return Context(
            run_id=self.run.id,
            hands=self.fleet.hands,
            ledger=journal,
            vault=self.session.store,
            prover=self._prover(),
            new_password=maker_of(password_change(manifest), self.chosen),
            level=manifest.proof.password,
            limits=Limits(
                attempts=retry.attempts,
                max_delay=retry.max_delay,
                busy_timeout=retry.busy_timeout,
                settle_timeout=retry.settle_timeout,
                settle_quiet=retry.settle_quiet,
                fence=retry.fence,
            ),
            budget=budget,
            changing=changing,
            accounts=Accounts(),
            leftovers=leftovers_of(journal.doubtful(), this_run=self.run.id),
            halt=halt,
            clock=self.clock,
            notify=self.watching.notify,
            ended=ended_in(journal),
            trouble=lambda error: self.troubles.append(str(error)),
        )

    def _prover(self) -> LoginProver | None:
        proof = self.manifest.proof
        if proof.password is not Proof.LOGIN or password_change(self.manifest) is None:
            return None
        pacer = Pacer(proof.rate, clock=self.clock, wait=lambda seconds: self.halt.sleep(seconds, sending=False))
        return LoginProver(pacer=pacer, timeout=proof.timeout, slots=asyncio.Semaphore(LOGINS))


def write_report_files(journal: SqliteJournal, run: Run, manifest: Manifest, directory: Path) -> list[Path]:
    """The report files of a run, from the journal alone. Raises ReportError when they cannot be written."""
    ensure_writable(directory)
    return write_reports(
        directory,
        run,
        lambda: (report_row(run, row, state) for row, state in journal.states(run.id)),
        [Format(form) for form in manifest.report.formats],
    )


def ended_in(journal: SqliteJournal) -> Callable[[str, InstanceKey], bool]:
    """Tells whether a run's password row of an instance is known to have ended without anything of it being live."""
    cache: dict[str, dict[InstanceKey, bool]] = {}

    def ended(run_id: str, key: InstanceKey) -> bool:
        if run_id not in cache:
            run = journal.run(run_id)
            cache[run_id] = {
                row.key: _is_over(run, state)
                for row, state in (journal.states(run_id) if run is not None else ())
                if run is not None and row.kind is Kind.PASSWORD
            }
        return cache[run_id].get(key, False)

    return ended


def _is_over(run: Run, state: RowState) -> bool:
    if state.phase in TERMINAL:
        return state.phase is not Phase.UNRESOLVED
    return run.closed and state.attempts == 0


@contextmanager
def on_signals(halt: Halt, drain: float) -> Iterator[None]:
    """The first signal stops the run, which may settle for `drain` seconds; the second cancels this task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received = 0

    def receive() -> None:
        nonlocal received
        received += 1
        if received == 1:
            say(
                f"stopping: nothing new is sent; what is open settles for at most {drain:.0f} s (again to leave at once)"
            )
            halt.stop(StoppedBy.SIGNAL)
            loop.call_later(drain, halt.leave)
        elif task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
