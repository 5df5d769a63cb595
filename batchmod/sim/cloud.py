"""The cloud itself: instances that live through their tasks, and the book of all calls. No HTTP; the clock is a parameter."""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, Protocol

from batchmod.sim.book import REMEMBERED_CALLS, Book, CallRecord
from batchmod.sim.errors import refused
from batchmod.sim.faults import chosen
from batchmod.sim.fleet import Lanes
from batchmod.sim.instances import Change, Instance, Task
from batchmod.sim.keyring import Keyring
from batchmod.sim.ram import Ram
from batchmod.sim.scenario import Scenario
from batchmod.sim.secrets import KmsSecrets


class Plane(Protocol):
    """Where the passwords are really checked."""

    def admit(self, instance: Instance) -> None:
        """The instance's password, and no earlier one, logs in from now on."""

    def dismiss(self, instance: Instance) -> None:
        """Nothing logs in to this instance any more."""


class FakeCloud:
    """Everything that is due by the clock has happened once `advance` returns; every question asks for that first."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        *,
        scenario: Scenario,
        keyring: Keyring,
        clock: Callable[[], float],
        speed: float = 1.0,
        seed: int = 0,
        plane: Plane | None = None,
        remembered: int = REMEMBERED_CALLS,
    ) -> None:
        self.instances = dict(instances)
        self.lanes = Lanes(instances.values())
        self.scenario = scenario
        self.keyring = keyring
        self.ram = Ram(scenario.roles, scenario.policies)
        self.endpoints: dict[str, str] = {}  # host:port by region, where a region has one of its own
        self._secrets: dict[tuple[str, str], KmsSecrets] = {}
        self._book = Book(remembered)
        self._clock = clock
        self._speed = speed
        self._plane = plane
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._populate(seed)

    def _populate(self, seed: int) -> None:
        now = self.now()
        for at, rule in enumerate(self.scenario.busy):
            for instance_id in sorted(chosen(rule.who, self.instances, f"{seed}/busy/{at}")):
                ends = now + rule.seconds / self._speed
                self._hold(self.instances[instance_id], Task(shows=now, ends=ends, status=rule.status, change=None))
        for instance in self.instances.values():
            if self._plane:
                self._plane.admit(instance)
            if instance.vanish_after is not None:
                self.schedule(now + instance.vanish_after / self._speed, partial(self._vanish, instance))

    @property
    def account_id(self) -> str:
        """The main account's."""
        return self.scenario.main_account

    @property
    def regions(self) -> list[str]:
        """Those of the fault file, and whatever others instances are in."""
        return sorted({*self.scenario.regions, *self.lanes.regions})

    def secrets_of(self, account_id: str, region: str) -> KmsSecrets:
        """What KMS keeps for the account there."""
        return self._secrets.setdefault((account_id, region), KmsSecrets())

    def now(self) -> float:
        return self._clock()

    def schedule(self, at: float, happens: Callable[[], None]) -> None:
        """`happens` runs in the first `advance` at or after that time; what is due together, in order of scheduling."""
        heapq.heappush(self._agenda, (at, next(self._order), happens))

    def next_due(self) -> float | None:
        return self._agenda[0][0] if self._agenda else None

    def advance(self) -> None:
        while self._agenda and self._agenda[0][0] <= self._clock():
            heapq.heappop(self._agenda)[2]()

    def find(self, instance_id: str) -> Instance:
        """Raises InvalidInstanceId.NotFound."""
        self.advance()
        if instance_id not in self.instances:
            raise refused("InvalidInstanceId.NotFound")
        return self.instances[instance_id]

    def status(self, instance: Instance) -> str:
        return instance.status_at(self.now())

    def start(self, instance: Instance, change: Change, *, seconds: float, status: str) -> None:
        """A task holds the instance from now on and will have made the change. Raises IncorrectDBInstanceLockMode for a
        locked instance, TaskExists while another task runs, IncorrectDBInstanceState when it is not Normal otherwise.
        """
        self.advance()
        if instance.locked:
            raise refused("IncorrectDBInstanceLockMode")
        if instance.task is not None:
            raise refused("TaskExists")
        if instance.status != "Normal":
            raise refused("IncorrectDBInstanceState")
        shows = self.now() + self.scenario.lag / self._speed
        self._hold(instance, Task(shows=shows, ends=shows + seconds / self._speed, status=status, change=change))
        self.advance()

    def _hold(self, instance: Instance, task: Task) -> None:
        instance.task = task
        self.schedule(task.ends, partial(self._finish, instance, task))

    def _finish(self, instance: Instance, task: Task) -> None:
        if instance.id not in self.instances:
            return
        instance.task = None
        change = task.change
        if change is None:
            return
        instance.tasks_done += 1
        instance.name = change.name or instance.name
        instance.encryption = change.encryption or instance.encryption
        if change.release_protection is not None:
            instance.release_protection = change.release_protection
        if change.password is not None:
            instance.password = change.password
            instance.password_generation += 1
            if self._plane:
                self._plane.admit(instance)

    def _vanish(self, instance: Instance) -> None:
        del self.instances[instance.id]
        self.lanes.remove(instance)
        if self._plane:
            self._plane.dismiss(instance)

    def record(
        self, api: str, instance_id: str | None, *, account: str | None, code: str | None, fault: str | None = None
    ) -> None:
        self._book.write(
            CallRecord(at=self.now(), api=api, account=account, instance=instance_id, code=code, fault=fault)
        )

    @property
    def calls(self) -> deque[CallRecord]:
        return self._book.calls

    @property
    def passwords(self) -> dict[str, str]:
        """The password that is live on each instance now. For tests in this process; never served."""
        self.advance()
        return {each.id: each.password for each in self.instances.values()}

    def state(self) -> dict[str, Any]:
        """The truth, without a password: instances by id, and how often each API was answered how, to whom."""
        self.advance()
        return {
            "instances": {each.id: self._truth(each) for each in self.instances.values()},
            "calls": self._book.counted(),
            "calls_by_account": self._book.counted_by_account(),
        }

    def recent_calls(self) -> list[dict[str, Any]]:
        return self._book.recent()

    def _truth(self, each: Instance) -> dict[str, Any]:
        return {
            "name": each.name,
            "account": each.account,
            "region": each.region,
            "status": self.status(each),
            "release_protection": each.release_protection,
            "tde": each.encryption is not None,
            "tde_key_id": each.encryption.key_id if each.encryption else None,
            "tasks_done": each.tasks_done,
            "password_generation": each.password_generation,
            "distinct_passwords_sent": len(each.passwords_sent),
        }
