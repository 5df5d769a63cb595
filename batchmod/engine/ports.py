"""What the engine needs of the world, as Protocols. The cloud, the journal and the store satisfy them by shape."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from batchmod.engine.watcher import Sight
from batchmod.model.plan import PlannedRow, Values
from batchmod.model.record import Step
from batchmod.model.runs import Mark
from batchmod.model.secret import Generation, InstanceKey, Secret


class Hands(Protocol):
    """One lane of the cloud. All raise CallError; `send` never after the change was refused by `before`."""

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:
        """The RequestId of the accepted change. `before` is awaited with the grant in hand, before anything is sent."""
        ...

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> Sight | None:
        """The instance as read in `after` seconds or a little later, None when it is gone. Raises HaltedError when the
        wait becomes pointless: one before a send once nothing is sent any more, any other once nothing is waited for.
        """
        ...

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values: ...


class Ledger(Protocol):
    """The journal, in the order in which it is told: durable when what is awaited returns, else JournalError."""

    async def step(self, run_id: str, step: Step) -> None: ...
    def note(self, run_id: str, step: Step) -> None:
        """Not waited for: durable when anything that is awaited later returns."""
        ...

    async def mark(self, run_id: str, mark: Mark) -> None: ...
    async def flush(self) -> None:
        """What was noted is durable."""
        ...


class Vault(Protocol):
    """The secret store: StoreError when it cannot, StoreConflict when a compare-and-set was lost."""

    async def stages(self, key: InstanceKey) -> Sequence[Generation]: ...
    async def pending(self, key: InstanceKey) -> Generation | None: ...
    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation: ...
    async def reveal(self, key: InstanceKey, generation: int) -> Secret: ...
    async def promote(self, key: InstanceKey, generation: int) -> object: ...
    async def demote(self, key: InstanceKey, generation: int) -> object: ...


class Slots(Protocol):
    """Places that rows hold while they are in change or in doubt; `seq` is the row's."""

    @property
    def limit(self) -> int | None:
        """How many there are; None: any number."""
        ...

    def set_limit(self, limit: int | None) -> None:
        """From now on so many; who holds one beyond that keeps it."""
        ...

    @property
    def free(self) -> bool:
        """Whether a place is free now, as far as this process knows."""
        ...

    async def reserve(self, seq: int) -> None:
        """Returns with a place. Raises HaltedError once nobody gets one by waiting."""
        ...

    async def claim(self, seq: int) -> bool:
        """Takes a place if one is free: for what cannot wait."""
        ...

    def give_back(self, seq: int) -> None:
        """The row ended well, or nothing of it can be live: its place is free again."""
        ...

    def spend(self, seq: int) -> None:
        """The row ended failed or unresolved: its place is gone for good."""
        ...

    def close(self) -> None:
        """Nobody gets a place by waiting any more."""
        ...


class Turns(Protocol):
    """One place for each group of instances that stand in for each other."""

    def of(self, row: PlannedRow) -> Slots | None:
        """None for a row that belongs to no group."""
        ...

    def close(self) -> None:
        """Nobody gets a turn by waiting any more."""
        ...


class Prover(Protocol):
    """The login proof."""

    async def preflight(self, row: PlannedRow) -> str | None:
        """None when a route is there and a wrong password is refused, else why the row cannot be proved.

        CallError when the service would not tell the instance's address.
        """
        ...

    async def prove(self, row: PlannedRow, secret: Secret) -> str | None:
        """None when the secret logs in and a wrong one is refused, else why not (yet)."""
        ...

    async def outdated(self, row: PlannedRow, old: Secret) -> str | None:
        """None when the old secret is refused, else why not (yet)."""
        ...


async def nobody(_: PlannedRow, __: int, ___: Secret) -> None:
    """Without consumers nobody is told of a new password."""
