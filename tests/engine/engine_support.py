"""A driver with a scripted world: what the service answers is a list, the journal and the store are real."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from batchmod.engine.accounts import Accounts
from batchmod.engine.ages import never_young
from batchmod.engine.budget import Budget
from batchmod.engine.clock import Clock
from batchmod.engine.context import Context, Limits
from batchmod.engine.driver import drive
from batchmod.engine.halt import Halt
from batchmod.engine.leftovers import leftovers_of
from batchmod.engine.watcher import Sight
from batchmod.errors import CallError, Verdict
from batchmod.journal.memory import MemoryJournal
from batchmod.model.events import BY_LOGIN, Kind, Phase, Proof
from batchmod.model.plan import Lane, PlannedRow, Values
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.model.secret import InstanceKey, Secret
from batchmod.secrets.embedded import EmbeddedStore

LIMITS = Limits(attempts=3, max_delay=0.01, busy_timeout=5, settle_timeout=5, settle_quiet=0.5, fence=0.0)
LOST = CallError(Verdict.LOST, code="ReadTimeout", message="")
BUSY = CallError(Verdict.WAIT, code="TaskExists", message="", request_id="busy")
REFUSED = CallError(Verdict.REFUSED, code="Some.Refusal", message="no")
THROTTLED = CallError(Verdict.SLOW_DOWN, code="Throttling.User", message="")
NOT_SENT = CallError(Verdict.NOT_SENT, code="ConnectFailed", message="")
STOPPED = CallError(Verdict.ACCOUNT_STOP, code="SignatureDoesNotMatch", message="", request_id="of another")
OK = "accepted"

Reply = CallError | str


@dataclass(frozen=True)
class Seen:
    status: str = "Normal"


@dataclass
class World:
    """What the service answers, in order; the last answer stays. `sent` is what reached it."""

    replies: list[Reply] = field(default_factory=lambda: [OK])
    statuses: list[str | CallError | None] = field(default_factory=lambda: ["Normal"])
    values: list[Values] = field(default_factory=lambda: [{"name": "new"}])
    logins: list[str | None] = field(default_factory=lambda: [None])  # None: proved, else why not
    preflight_says: str | CallError | None = None
    old_logins: list[str | None] = field(default_factory=lambda: [None])  # None: refused, else why not
    old: list[str] = field(default_factory=list)  # the passwords that had to be refused
    sent: list[str | None] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    before_send: Callable[[], None] = lambda: None
    before_look: Callable[[], None] = lambda: None
    halt: Halt = field(default_factory=Halt)

    @staticmethod
    def _next(script: list[Any]) -> Any:
        return script.pop(0) if len(script) > 1 else script[0]

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:
        self.before_send()
        await before()
        self.sent.append(secret.reveal() if secret else None)
        self.sent_at.append(time.monotonic())
        reply: Reply = self._next(self.replies)
        if isinstance(reply, CallError):
            raise reply
        return f"{row.instance_id}-{reply}"

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> Seen | None:  # noqa: ARG002  all are alike
        await self.halt.sleep(after, sending=sending)
        self.before_look()
        status: str | CallError | None = self._next(self.statuses)
        if isinstance(status, CallError):
            raise status
        return None if status is None else Seen(status)

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values:  # noqa: ARG002  all are alike
        values: Values = self._next(self.values)
        return values

    async def preflight(self, row: PlannedRow) -> str | None:  # noqa: ARG002  all are alike
        if isinstance(self.preflight_says, CallError):
            raise self.preflight_says
        return self.preflight_says

    async def prove(self, row: PlannedRow, secret: Secret) -> str | None:  # noqa: ARG002  all are alike
        reason: str | None = self._next(self.logins)
        return reason

    async def outdated(self, row: PlannedRow, old: Secret) -> str | None:  # noqa: ARG002  all are alike
        self.old.append(old.reveal())
        reason: str | None = self._next(self.old_logins)
        return reason


def row(kind: Kind = Kind.ATTRIBUTES, *, instance: str = "r-1", seq: int = 0) -> PlannedRow:
    before: Mapping[Kind, Values] = {Kind.ATTRIBUTES: {"name": "old"}, Kind.TDE: {"status": "Disabled"}}
    after: Mapping[Kind, Values] = {Kind.ATTRIBUTES: {"name": "new"}, Kind.TDE: {"status": "Enabled"}}
    return PlannedRow(
        seq=seq,
        account="default",
        account_id="1",
        region="cn-hangzhou",
        instance_id=instance,
        instance_name="old",
        login=instance,
        kind=kind,
        wave=1,
        before=before.get(kind, {}),
        after=after.get(kind, {}),
        address="127.0.0.1:1",
    )


def a_run(run_id: str) -> Run:
    return Run(id=run_id, name="job", manifest_digest="", manifest="{}", directory="/", started_at=0.0)


@dataclass
class Desk:
    """One state directory: journal and store outlive the runs that are driven over them."""

    store: EmbeddedStore
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def at(cls, folder: Path) -> "Desk":
        return cls(
            EmbeddedStore.open(folder, environ={"BATCHMOD_AGE_KEY": str(folder / "age.key")}, say=lambda _: None)
        )

    async def begin(self, run_id: str, rows: Sequence[PlannedRow]) -> None:
        await self.journal.open_run(a_run(run_id), rows)

    def context(
        self,
        world: World,
        run_id: str,
        *,
        level: Proof = Proof.LOGIN,
        limits: Limits = LIMITS,
        budget: Budget | None = None,
        halt: Halt | None = None,
        troubles: list[Exception] | None = None,
        is_young: Callable[[InstanceKey], Awaitable[str | None]] = never_young,
        observed_at: float = inf,
    ) -> Context:
        def ended(other: str, key: object) -> bool:
            states = self.journal.states(other) if self.journal.run(other) else ()
            return any(known.key == key and not state.is_open for known, state in states)

        unfinished = {run.id for run in self.journal.unfinished()}
        world.halt = halt = halt or Halt()
        return Context(
            run_id=run_id,
            hands={Lane("1", "cn-hangzhou"): world},
            ledger=self.journal,
            vault=self.store,
            prover=world if level in BY_LOGIN else None,
            new_password=lambda: Secret(f"Passw0rd-{run_id}"),
            level=level,
            limits=limits,
            budget=budget or Budget(None),
            changing=Budget(None),
            accounts=Accounts(),
            leftovers=leftovers_of(
                self.journal.doubtful(self.clock.wall() - limits.fence), this_run=run_id, unfinished=unfinished
            ),
            halt=halt,
            clock=self.clock,
            notify=lambda _: None,
            ended=ended,
            trouble=(troubles if troubles is not None else []).append,
            is_young=is_young,
            observed_at=observed_at,
        )

    async def go(
        self, world: World, one: PlannedRow | None = None, *, run_id: str = "a", new: bool = True, **settings: Any
    ) -> RowState:
        """The state of one row after it was driven as the only one of a run."""
        one = one or row()
        if new:
            await self.begin(run_id, [one])
        state = next(state for known, state in self.journal.states(run_id) if known.seq == one.seq)
        after = await drive(self.context(world, run_id, **settings), one, state, parked=lambda: None)
        kept = next(state for known, state in self.journal.states(run_id) if known.seq == one.seq)
        assert kept == after or after.is_open  # an interrupted row stands in the phase that it is resumed in
        return after

    async def stages(self, one: PlannedRow) -> list[tuple[str, str]]:
        """(stage, password) of each generation."""
        return [
            (each.stage.value, (await self.store.reveal(one.key, each.generation)).reveal())
            for each in await self.store.stages(one.key)
        ]


def phases(desk: Desk, run_id: str = "a") -> list[Phase]:
    return [state.phase for _, state in desk.journal.states(run_id)]
