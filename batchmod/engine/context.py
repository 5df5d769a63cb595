"""What every step of a row shares: the world as Protocols, the limits, and the one way to write down a step."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from batchmod.engine.accounts import Accounts
from batchmod.engine.ages import never_young
from batchmod.engine.clock import Clock
from batchmod.engine.groups import Groups
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.leftovers import Leftovers
from batchmod.engine.machine import step
from batchmod.engine.opening import Opening
from batchmod.engine.ports import Hands, Ledger, Prover, Slots, Turns, Vault, nobody
from batchmod.engine.usual import Usual
from batchmod.engine.walk import Learnt, Walk
from batchmod.engine.watcher import Sight
from batchmod.errors import CallError
from batchmod.model.events import NO_DOUBT, TERMINAL, Phase, Proof
from batchmod.model.notices import AccountStopped, Notice, RowMoved
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType
from batchmod.model.secret import InstanceKey, Secret

SPENDS = frozenset({Phase.FAILED, Phase.UNRESOLVED})  # outcomes that cost a slot of the failure budget
NO_SLOT = "stays open: no slot of rollout.max_failures was free"
WAITED_FOR = frozenset({Phase.ARMED, Phase.REARMED})  # durable before anything else happens to the row
UNHANDS = frozenset(TERMINAL | {Phase.WAITING})  # nothing of the row is in change or in doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The manifest's `retry`, in seconds but for `attempts`."""

    attempts: int
    max_delay: float
    busy_timeout: float
    settle_timeout: float
    settle_quiet: float
    fence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run's parts. Nothing here changes but what budget, accounts and halt keep for themselves."""

    run_id: str
    hands: Mapping[Lane, Hands]
    ledger: Ledger
    vault: Vault | None  # None when no password is changed
    prover: Prover | None  # for the login proof
    new_password: Callable[[], Secret]
    level: Proof  # asked of a password
    limits: Limits
    budget: Slots
    changing: Slots
    accounts: Accounts
    leftovers: Leftovers
    halt: Halt
    clock: Clock
    notify: Callable[[Notice], None]
    ended: Callable[[str, InstanceKey], bool]  # the journal knows that run's password row as ended
    trouble: Callable[[Exception], None]  # told of a journal or store that failed
    groups: Turns = field(default_factory=Groups)
    opening: Opening = field(default_factory=Opening)
    usual: Usual = field(default_factory=Usual)
    observed_at: float = inf  # when the plan read what the rows say; inf: just now
    is_young: Callable[[InstanceKey], Awaitable[str | None]] = never_young  # why a password is not due yet
    tell: Callable[[PlannedRow, int, Secret], Awaitable[str | None]] = nobody  # that this generation is current; what
    # went wrong with that

    @property
    def store(self) -> Vault:
        """The secret store; asked for by what changes a password only."""
        assert self.vault is not None
        return self.vault

    async def take(self, walk: Walk, learnt: Learnt) -> None:
        """The journal knows the step that follows from what was learnt, and the walk stands in its phase.

        Only that an attempt goes out has to be durable first: a process that dies before the journal has the rest finds
        the row in doubt, or before what it did not send. What is told later is kept later, so whatever follows from a
        step, of this row or another, is never kept without it. Raises HaltedError, with the row left in its phase, when it
        would end badly without a slot of the budget left.
        """
        phase = step(walk.state.phase, learnt.seen)
        if phase in SPENDS and not walk.holds_slot:
            if not await self.budget.claim(walk.row.seq):
                self._stays_open(walk, learnt)
                raise HaltedError
            walk.holds_slot = True
        record = Step(walk.row.seq, phase, self.clock.wall(), *learnt[1:])  # what was learnt, as a Step has it
        if phase in WAITED_FOR:
            await self.ledger.step(self.run_id, record)
        else:
            self.ledger.note(self.run_id, record)
        walk.state = walk.state.after(record)
        if phase in UNHANDS:
            self._release(walk, phase)
        if phase is Phase.CHANGED:
            self._remember(walk)
        self.notify(RowMoved(walk.row, walk.state))

    def _stays_open(self, walk: Walk, learnt: Learnt) -> None:
        """The journal knows why the row has no last word yet."""
        detail = "; ".join(text for text in (learnt.detail, NO_SLOT) if text)
        record = Step(
            seq=walk.row.seq,
            phase=walk.state.phase,
            at=self.clock.wall(),
            code=learnt.code,
            message=learnt.message,
            detail=detail,
        )
        self.ledger.note(self.run_id, record)
        walk.state = walk.state.after(record)

    def put_down(self, walk: Walk) -> None:
        """A row that is left open holds nothing, unless it is in change or in doubt."""
        if walk.state.phase in NO_DOUBT:
            self._release(walk, Phase.WAITING)

    def _remember(self, walk: Walk) -> None:
        """How long the change took, if it was not interrupted."""
        took = walk.state.took
        if took is not None and not walk.resumed:
            self.opening.ended(walk.row.kind, took)

    def _release(self, walk: Walk, phase: Phase) -> None:
        if walk.holds_slot:
            walk.holds_slot = False
            if phase in SPENDS:
                self.budget.spend(walk.row.seq)
            else:
                self.budget.give_back(walk.row.seq)
        if walk.holds_change:
            walk.holds_change = False
            self.changing.give_back(walk.row.seq)
        turn = self.groups.of(walk.row)
        if turn is not None and walk.holds_turn:
            walk.holds_turn = False
            turn.give_back(walk.row.seq)

    async def account_failed(self, walk: Walk, error: CallError) -> None:
        """Notes an error of the walk's account; the journal knows when it stops the account."""
        row = walk.row
        if self.accounts.failed(row.account_id, error):
            reason = str(error)
            self.notify(AccountStopped(account=row.account, reason=reason))
            mark = Mark(type=MarkType.ACCOUNT_FAILED, at=self.clock.wall(), account=row.account, reason=reason)
            await self.ledger.mark(self.run_id, mark)

    async def look_later(self, walk: Walk, seconds: float, *, sending: bool) -> Sight | None:
        """The instance as it is after a wait that holds nothing: another one may start.

        Raises HaltedError when the wait is pointless, and CallError.
        """
        walk.parked()
        return await self.hands[walk.row.lane].look(walk.row.instance_id, after=seconds, sending=sending)

    def fenced(self, walk: Walk) -> bool:
        """An attempt of the row may still land: a signed request stays valid for 15 minutes."""
        armed = walk.state.last_armed
        return armed is not None and self.clock.wall() < armed + self.limits.fence
