"""`reconcile`: after the journal was lost, the store says again what is live, as far as logins can tell."""

from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from batchmod.app.confirm import said_yes
from batchmod.app.examined import finish
from batchmod.app.examining import Examination, Stored
from batchmod.app.holding import Claim
from batchmod.app.options import Options
from batchmod.app.session import to_resume, unfinished_runs
from batchmod.app.speech import insist, interactive
from batchmod.app.trying import Trials, conclude_all
from batchmod.engine.clock import Clock
from batchmod.engine.reconciling import CANNOT_TELL, MOVED, Conclusion, Stages, reconciled
from batchmod.errors import StoreConflict, UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.model.events import Phase
from batchmod.model.exits import DONE, UNRESOLVED
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Generation, Stage
from batchmod.model.settings import Retry
from batchmod.report.layout import duration

UNREAD = frozenset({Phase.FAILED, Phase.NOT_STARTED})  # verdicts of rows of which nothing could be looked up
NAMED = 3  # runs whose ids are said


async def reconcile(path: Path, options: Options, claim: Claim) -> int:
    """The exit code. What logs in is current; nothing is overwritten, deleted or sent to the control plane."""
    clock = Clock()
    began = clock.wall()
    examination = Examination.of("reconcile", path, options, claim.run_id, clock)
    async with examination.store(create=False) as store:  # a store that is not there yet has nothing to tell
        stored = await examination.read(store)
    if not stored.stages and any(row.verdict in UNREAD for row in stored.rows):
        return finish(examination, stored, await conclude_all(stored, _nothing, clock), began=began)
    if not stored.stages:
        insist(f"nothing to reconcile: of {len(stored.rows)} instances no password is stored")
        return UNRESOLVED if stored.failed else DONE
    _refuse(examination, stored)
    _confirm(examination, stored)
    place = StateDir(path=examination.state)
    place.prepare()
    with nullcontext() if claim.held else place.hold(run_id=claim.run_id, now=clock.wall()):
        async with examination.store(create=True) as store:
            lands_for = _lands_for(examination.loaded.manifest.retry)
            moving = Moving(trials=Trials.of(examination, store), clock=clock, lands_for=lands_for)
            concluded = await conclude_all(stored, moving.conclude, clock)
    return finish(examination, stored, concluded, began=began)


async def _nothing(_: PlannedRow, stages: Stages) -> Conclusion:
    """Never asked: of an instance of which nothing is stored all is known."""
    raise AssertionError(stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """What follows from the logins is done in the store, where it is still as it was when they were made."""

    trials: Trials
    clock: Clock
    lands_for: float  # seconds

    async def conclude(self, row: PlannedRow, stages: Stages) -> Conclusion:
        tried = await self.trials.tried(row, stages, first=Stage.PENDING)
        now = self.clock.wall()
        conclusion = reconciled(stages, tried, status=row.status, now=now, lands_for=self.lands_for)
        live, candidate = conclusion.current, conclusion.candidate
        if live is None and candidate is None:
            return conclusion
        try:
            if await self.trials.store.stages(row.key) != stages:
                return _meanwhile(conclusion)
            if live is not None:
                await self._make_current(live)
            if candidate is not None:
                await self.trials.store.demote(candidate.key, candidate.generation)
        except StoreConflict:
            return _meanwhile(conclusion)
        return conclusion

    async def _make_current(self, live: Generation) -> None:
        move = self.trials.store.promote if live.stage is Stage.PENDING else self.trials.store.adopt
        await move(live.key, live.generation)


def _meanwhile(conclusion: Conclusion) -> Conclusion:
    return Conclusion(phase=Phase.UNRESOLVED, code=CANNOT_TELL, detail=MOVED, about=conclusion.about)


def _lands_for(retry: Retry) -> float:
    """Seconds after a password was stored in which it may land: sent as late as a busy instance lets it be, and then the
    fence. What a run that was resumed sent later than that nobody knows: whoever says yes does.
    """
    return retry.busy_timeout + retry.settle_timeout + retry.fence


def _refuse(examination: Examination, stored: Stored) -> None:
    """The journal does not know the run that a pending password waits for, or none is unfinished. Else UsageError."""
    name, state = examination.loaded.manifest.name, examination.state
    with closing(SqliteJournal.read(state)) as journal:
        unfinished = {run.id: run for run in unfinished_runs(journal)}
        waiting = {one.run_id for one in _pending(stored)}
        meant = waiting & unfinished.keys()
        if all(journal.run(run_id) is not None for run_id in waiting):  # then the journal was not lost
            meant |= {run.id for run in unfinished.values() if run.name == name}
    if meant:
        run = unfinished[min(meant)]
        command = to_resume(run, state, examination.options)
        raise UsageError(
            f"run {run.id} of {run.name} is unfinished, and the journal knows it: `{command}` continues it"
        )


def _pending(stored: Stored) -> list[Generation]:
    return [one for stages in stored.stages.values() for one in stages if one.stage is Stage.PENDING]


def _confirm(examination: Examination, stored: Stored) -> None:
    """Returns when it was agreed that no run is at work; raises UsageError, else."""
    if examination.options.yes:
        return
    if not interactive():
        raise UsageError("no terminal to confirm on: see that no run is at work on these instances, then say --yes")
    pending = _pending(stored)
    runs = sorted({one.run_id for one in pending})
    of = f", of run {', '.join(runs[:NAMED])}{' and others' if len(runs) > NAMED else ''}" if runs else ""
    fence = duration(examination.loaded.manifest.retry.fence)
    insist(f"{len(stored.stages)} instances have stored passwords; {len(pending)} of those are pending{of}")
    insist("Each is tried by login, and the live one made current. That is right only when no run is at work on these")
    insist(f"instances, here or on another machine, and none has sent anything for {fence}.")
    if not said_yes("Is it so?"):
        raise UsageError("not confirmed: nothing was done")
