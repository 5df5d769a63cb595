"""The simulator's truth with a memory: what was accepted and for which run, which password was live when, what was sent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchmod.model.events import Kind
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.instances import Change, Instance

THEM = "somebody else"
THEIR_PASSWORD = "Theirs-Passw0rd"
FIRST_PASSWORD = "Aa1initial"


@dataclass(slots=True, kw_only=True)
class Sent:
    """One request to change something that reached the cloud, or the network before it."""

    at: float
    until: float  # when it is too old to land: fifteen minutes after the date that it was signed with
    run: str
    instance: str
    kind: Kind
    value: str  # of the name, the password, the protection, or "tde"
    answered: bool = False  # the client has an answer that can only mean one thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A change that the cloud has accepted: it takes effect at `ends`."""

    run: str
    at: float
    ends: float
    instance: str
    change: Change

    @property
    def kind(self) -> Kind | None:
        """What row it is of; None for a task that changes nothing."""
        if self.change.password is not None:
            return Kind.PASSWORD
        if self.change.encryption is not None:
            return Kind.TDE
        named = self.change.name is not None or self.change.release_protection is not None
        return Kind.ATTRIBUTES if named else None


@dataclass
class Doors:
    """Where passwords are checked: what logs in on each instance, and since when."""

    clock: Callable[[], float]
    history: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def admit(self, instance: Instance) -> None:
        self.history.setdefault(instance.id, []).append((self.clock(), instance.password))

    def dismiss(self, instance: Instance) -> None:
        raise AssertionError(f"{instance.id} vanished: no schedule has that")


class Cloud(FakeCloud):
    """Knows for which run each change was accepted, late landings too. `origin` is set before each request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.origin = THEM
        self.accepted: list[Accepted] = []
        super().__init__(*args, **kwargs)

    def schedule(self, at: float, happens: Callable[[], None]) -> None:
        origin = self.origin

        def as_then() -> None:
            now, self.origin = self.origin, origin
            try:
                happens()
            finally:
                self.origin = now

        super().schedule(at, as_then)

    def start(self, instance: Instance, change: Change, *, seconds: float, status: str) -> None:
        at = self.now()
        super().start(instance, change, seconds=seconds, status=status)
        ends = self.now() if instance.task is None else instance.task.ends
        self.accepted.append(Accepted(run=self.origin, at=at, ends=ends, instance=instance.id, change=change))
