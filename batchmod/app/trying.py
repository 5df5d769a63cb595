"""Stored passwords are tried, many instances side by side: who of them logs in, and what follows from that."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from batchmod.app.examining import Examination, Stored
from batchmod.app.proofs import LOGINS, logins_of
from batchmod.app.speech import say
from batchmod.engine.clock import Clock
from batchmod.engine.judging import NO_ADDRESS
from batchmod.engine.reconciling import CANNOT_TELL, Conclusion, Stages, Tried, in_order, untried
from batchmod.engine.turnstile import Pacer
from batchmod.errors import StoreError
from batchmod.model.events import Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Stage
from batchmod.secrets.dialogue import Account, Answer, form_of
from batchmod.secrets.login import Logins
from batchmod.secrets.store import SecretStore

SAID_EVERY = 10.0  # seconds between two lines of progress

Conclude = Callable[[PlannedRow, Stages], Awaitable[Conclusion]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """One row of the fleet with what came of it; times are seconds since the epoch, None where nothing was tried."""

    row: PlannedRow
    conclusion: Conclusion
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Logins with stored passwords, paced as those of a run."""

    logins: Logins
    store: SecretStore

    @classmethod
    def of(cls, examination: Examination, store: SecretStore) -> "Trials":
        proof = examination.loaded.manifest.proof
        pacer = Pacer(proof.rate, clock=examination.clock, wait=asyncio.sleep)
        return cls(logins=logins_of(proof, pacer), store=store)

    async def tried(self, row: PlannedRow, stages: Stages, *, first: Stage) -> Tried:
        """Who logs in; nobody is sought beyond the first. A random wrong password is refused before, or nobody can tell."""
        if row.address is None:
            return Tried(reason=NO_ADDRESS)
        controlled: set[str] = set()  # logins whose wrong passwords are refused
        for one in in_order(stages, first=first):
            account = Account(address=row.address, login=one.login, form=form_of(row.engine_version))
            if one.login not in controlled and (reason := await self.logins.control(account)):
                return Tried(reason=reason)
            controlled.add(one.login)
            result = await self.logins.attempt(account, await self.store.reveal(one.key, one.generation))
            match result.answer:
                case Answer.YES:
                    return Tried(live=one)
                case Answer.CANNOT_TELL:
                    return Tried(reason=result.reason)
        return Tried()


async def conclude_all(stored: Stored, conclude: Conclude, clock: Clock) -> list[Concluded]:
    """Each row, in order, with what is known without a login or else what `conclude` says of it.

    A store that fails for an instance leaves that one untold.
    """
    concluded: dict[int, Concluded] = {}
    left, said_at = iter(stored.rows), clock.now()

    async def work() -> None:
        nonlocal said_at
        for row in left:
            concluded[row.seq] = await _concluded(row, stored.of(row), conclude, clock)
            if clock.now() - said_at >= SAID_EVERY:
                said_at = clock.now()
                say(f"{len(concluded)} of {len(stored.rows)} instances")

    async with asyncio.TaskGroup() as group:
        for _ in range(LOGINS):
            group.create_task(work())
    return [concluded[row.seq] for row in stored.rows]


async def _concluded(row: PlannedRow, stages: Stages, conclude: Conclude, clock: Clock) -> Concluded:
    known = untried(row, stages)
    if known is not None:
        return Concluded(row=row, conclusion=known)
    began = clock.wall()
    try:
        conclusion = await conclude(row, stages)
    except StoreError as error:
        conclusion = Conclusion(phase=Phase.UNRESOLVED, code=CANNOT_TELL, detail=str(error))
    return Concluded(row=row, conclusion=conclusion, began=began, ended=clock.wall())
