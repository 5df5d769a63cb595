"""The rows of one chunk driven by the single machine's engine, as one of several that work on the run."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batchmod.app.chunk_places import places_of
from batchmod.app.context import is_held
from batchmod.app.driving import Driving, Known
from batchmod.app.hearing import Hearing
from batchmod.app.memory import kept
from batchmod.app.post import Post
from batchmod.app.tasks import beside
from batchmod.app.windows import opening_of
from batchmod.cluster.campaigns import Campaign, Chunk, State
from batchmod.cluster.lease import Lease
from batchmod.cluster.progress import say_more
from batchmod.engine.context import Context
from batchmod.engine.halt import Halt
from batchmod.engine.opening import until_closed
from batchmod.errors import CallError, JournalError, Verdict
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import NO_DOUBT, StoppedBy
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState, Step
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.model.secret import Generation, InstanceKey, Secret
from batchmod.secrets.store import SecretStore

FOR_ALL: Final = frozenset({StoppedBy.MAX_FAILURES, StoppedBy.CHECK})  # what one chunk meets stops the whole run


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """What a worker has to say of a chunk. `refused`: that it could not work on it, for this trouble.

    `reason` is what the run stops for if this chunk is left while others wait for its places.
    """

    state: State
    trouble: str | None = None
    refused: bool = False
    reason: StoppedBy = StoppedBy.STORE


def refusal(trouble: str) -> Concluded:
    """What a worker says that cannot work on the chunk."""
    return Concluded(state=State.READY, trouble=trouble, refused=True)


def stopped_accounts(marks: Iterable[Mark]) -> dict[str, str]:
    """The accounts that were stopped since the run last ended, and why: an operator who resumes it has mended them. Pure."""
    stopped: dict[str, str] = {}
    for mark in marks:
        match mark.type:
            case MarkType.FINISHED:
                stopped.clear()
            case MarkType.ACCOUNT_FAILED:
                stopped.setdefault(mark.account or "", mark.reason or "")
    return stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The journal, as the engine knows it; who works on other lanes of an account hears when it is stopped."""

    journal: PostgresJournal
    after: Callable[[Mark], Awaitable[None]]

    async def step(self, run_id: str, step: Step) -> None:
        await self.journal.step(run_id, step)

    def note(self, run_id: str, step: Step) -> None:
        self.journal.note(run_id, step)

    async def flush(self) -> None:
        await self.journal.flush()

    async def mark(self, run_id: str, mark: Mark) -> None:
        await self.journal.mark(run_id, mark)
        await self.after(mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The secret store, in which a process that was taken for dead moves nothing any more."""

    store: SecretStore
    halt: Halt

    async def stages(self, key: InstanceKey) -> Sequence[Generation]:
        return await self.store.stages(key)

    async def pending(self, key: InstanceKey) -> Generation | None:
        return await self.store.pending(key)

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        return await self.store.reveal(key, generation)

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        self.halt.check_held()
        return await self.store.escrow(key, login=login, secret=secret, run_id=run_id)

    async def promote(self, key: InstanceKey, generation: int) -> object:
        self.halt.check_held()
        return await self.store.promote(key, generation)

    async def demote(self, key: InstanceKey, generation: int) -> object:
        self.halt.check_held()
        return await self.store.demote(key, generation)


@dataclass(kw_only=True)
class Chunking(Driving):
    """The rows of one chunk in this process."""

    post: Post
    chunk: Chunk
    lease: Lease
    campaign: Campaign
    journal: PostgresJournal
    rescue: bool

    async def work(self) -> None:
        """Every row of the chunk has ended, or was left open by a stop, and the journal has it all.

        Of a `rescue` only what held places was worked on, and nobody has waited for one.
        """
        known, self.known = self.known or [], None
        places = await places_of(
            self.journal, self.run, self.manifest, known, chunk=self.chunk, campaign=self.campaign, halt=self.halt
        )
        if self.rescue:
            places.close()
            held = {row.key for row, state in known if is_held(state)}
            known = [(row, state) for row, state in known if row.key in held]
        opening = opening_of(self.manifest, self.journal.recent_seconds, self.clock)
        context = replace(
            self._context(known, opening, places.shares),
            budget=places.failures,
            ledger=Told(journal=self.journal, after=self._marked),
            vault=None if self.session.store is None else Guarded(store=self.session.store, halt=self.halt),
        )
        hearing = self._hearing(context)
        await hearing.catch_up()
        if self.campaign.closing:
            self.halt.stop(StoppedBy.CONTROL)
            known = [(row, state) for row, state in known if state.is_open and state.phase not in NO_DOUBT]
        async with (
            beside(hearing.listen()),
            beside(until_closed(opening, self.halt)),
            beside(self._drained()),
            beside(self._stopped()),
        ):
            with kept():
                await self._run_all(context, known)
        await self._tell_all()
        if paces := self.fleet.paced():
            await self.journal.mark(self.run.id, Mark(type=MarkType.PACED, at=self.clock.wall(), paces=tuple(paces)))

    def concluded(self) -> Concluded:
        """What the chunk is now, and why it could not be worked on to its end."""
        states = [state for _, state in self.journal.states_of(self.run.id, self.chunk.rows)]
        trouble = "; ".join(dict.fromkeys(self.troubles)) or None
        if not any(state.is_open for state in states):
            return Concluded(state=State.DONE, trouble=trouble)
        if self.post.draining.is_set():  # whatever else stops the run, what is open is looked at further elsewhere
            return Concluded(state=State.READY)
        if self.halt.reason is StoppedBy.STORE and trouble is not None:  # else it is another chunk's
            return refusal(trouble)
        if self.rescue and self.halt.reason is None and not any(map(is_held, states)):  # the rest may wait for places
            return Concluded(state=State.READY)
        return Concluded(state=State.LEFT, trouble=trouble, reason=self.halt.reason or self._lasting(trouble))

    def _lasting(self, trouble: str | None) -> StoppedBy:
        """Why rows are open though nothing has stopped the run."""
        closed = self.manifest.rollout.window is not None and trouble is None
        return StoppedBy.WINDOW if closed else StoppedBy.STORE

    def trouble(self, error: Exception) -> None:
        if isinstance(error, JournalError):
            self.post.lose(error)
        super().trouble(error)

    def _doubtful(self, known: Known) -> Iterable[tuple[Run, PlannedRow, RowState]]:
        since = self.clock.wall() - self.manifest.retry.fence
        return self.journal.doubtful_of({row.key for row, _ in known}, since)

    def _hearing(self, context: Context) -> Hearing:
        async def news(_: Campaign) -> None:
            reason = stopped_accounts(self.journal.marks(self.run.id)).get(self.chunk.account)
            if reason is not None:
                error = CallError(Verdict.ACCOUNT_STOP, code="AccountStopped", message=reason)
                context.accounts.failed(self.chunk.account_id, error)

        return Hearing(
            post=self.post,
            run_id=self.run.id,
            fence=self.lease.fence,
            controls=self._controls(context.changing),
            news=news,
        )

    async def _marked(self, mark: Mark) -> None:
        if mark.type is MarkType.ACCOUNT_FAILED:
            async with self.post.connection() as db:
                await say_more(db, self.run.id)

    async def _stopped(self) -> None:
        await self.halt.stopped()
        await self._tell_all()

    async def _tell_all(self) -> None:
        """What stops this chunk for the whole run's sake stops the run."""
        if self.halt.reason in FOR_ALL:
            await self.post.stop(self.run.id, self.halt.reason)

    async def _drained(self) -> None:
        """Once the worker is to end, nothing new is sent, and what is open settles for a while."""
        await self.post.draining.wait()
        self.halt.stop(StoppedBy.SIGNAL)
        await asyncio.sleep(self.post.options.drain)
        self.halt.leave()
