"""Reads the live state of every target, in batches and paced, and makes the plan of it. Nothing is changed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.engine.planning import Change, Instance, Observed, rows_of
from batchmod.engine.watcher import BATCH
from batchmod.errors import CallError, UsageError, Verdict
from batchmod.model.events import Kind
from batchmod.model.manifest import AttributesChange, TdeChange
from batchmod.model.plan import Lane, Plan, PlannedRow
from batchmod.model.secret import InstanceKey
from batchmod.model.targets import Target

T = TypeVar("T")
ROW_ERRORS = frozenset({Verdict.REFUSED, Verdict.FORBIDDEN})  # say something about one instance only


class Details(Protocol):
    @property
    def release_protection(self) -> bool | None: ...


class Tde(Protocol):
    @property
    def supported(self) -> bool: ...
    @property
    def enabled(self) -> bool: ...


class Key(Protocol):
    @property
    def key_id(self) -> str | None: ...


class Inventory(Protocol):
    """The reads of one lane; each raises CallError."""

    async def look(self, ids: Sequence[str]) -> Mapping[str, Instance | None]: ...
    async def details(self, instance_id: str) -> Details | None: ...
    async def tde(self, instance_id: str) -> Tde: ...
    async def encryption_key(self, instance_id: str) -> Key: ...


class Planner:
    """Makes plans; `is_current` tells whether an instance's proved password is the chosen one."""

    def __init__(
        self,
        *,
        account_ids: Mapping[str, str],
        inventories: Mapping[Lane, Inventory],
        is_current: Callable[[InstanceKey], Awaitable[bool]],
        changes: tuple[Change, ...],
        address: str | None,
        login: bool,
        attempts: int,
        max_delay: float,
        clock: Clock,
    ) -> None:
        self._account_ids = account_ids
        self._inventories = inventories
        self._is_current = is_current
        self._changes = changes
        self._address = address
        self._login = login
        self._attempts = attempts
        self._max_delay = max_delay
        self._clock = clock

    async def plan(self, targets: Sequence[Target], *, name: str, manifest_digest: str) -> Plan:
        """One row per target and kind, in the order of the targets.

        Raises UsageError when a lane cannot be read, and with every new name that breaks a rule.
        """
        lanes: dict[Lane, list[Target]] = {}
        for target in targets:
            lanes.setdefault(Lane(self._account_ids[target.account], target.region), []).append(target)
        observed: dict[InstanceKey, Observed] = {}
        problems: list[str] = []
        async with asyncio.TaskGroup() as group:
            for lane, members in lanes.items():
                group.create_task(self._lane(lane, members, observed, problems))
        if problems:
            raise UsageError(*problems)
        rows: list[PlannedRow] = []
        for target in targets:
            key = InstanceKey(account_id=self._account_ids[target.account], region=target.region, instance_id=target.id)
            try:
                rows += rows_of(observed[key], self._changes, address=self._address, login=self._login, first=len(rows))
            except UsageError as error:
                problems += error.problems
        if problems:
            raise UsageError(*problems)
        return Plan(name=name, manifest_digest=manifest_digest, rows=tuple(rows))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        return await ask(call, attempts=self._attempts, max_delay=self._max_delay, clock=self._clock)

    async def _lane(
        self, lane: Lane, targets: Sequence[Target], observed: dict[InstanceKey, Observed], problems: list[str]
    ) -> None:
        """Every target of the lane is in `observed`, or there is a problem that says why not."""
        inventory = self._inventories[lane]
        try:
            for start in range(0, len(targets), BATCH):
                batch = {target.id: target for target in targets[start : start + BATCH]}
                seen = await self._ask(partial(inventory.look, tuple(batch)))
                async with asyncio.TaskGroup() as group:
                    found = [
                        group.create_task(self._observe(inventory, lane, target, seen[name]))
                        for name, target in batch.items()
                    ]
                for task in found:
                    one = task.result()
                    if isinstance(one, CallError):
                        raise one
                    observed[_key(lane, one.target)] = one
        except CallError as error:
            problems.append(f"account {targets[0].account}, region {lane.region}: cannot be read: {error}")

    async def _observe(
        self, inventory: Inventory, lane: Lane, target: Target, instance: Instance | None
    ) -> Observed | CallError:
        """One target as it was read, or the error that says that this lane cannot be read."""
        one = Observed(target=target, account_id=lane.account_id, instance=instance)
        if instance is None:
            return one
        for change in self._changes:
            try:
                one = await self._read(inventory, one, change)
            except CallError as error:
                if error.verdict is Verdict.GONE:
                    return replace(one, instance=None)
                if error.verdict not in ROW_ERRORS:
                    return error
                one = replace(one, refused={**one.refused, change.kind: (error.code, error.message)})
        return one

    async def _read(self, inventory: Inventory, one: Observed, change: Change) -> Observed:
        """What this change needs to know beyond what DescribeInstances tells."""
        instance_id = one.target.id
        match change:
            case AttributesChange(release_protection=bool()):
                details = await self._ask(lambda: inventory.details(instance_id))
                if details is None:
                    return replace(one, instance=None)
                return replace(one, release_protection=details.release_protection)
            case TdeChange():
                tde = await self._ask(lambda: inventory.tde(instance_id))
                one = replace(one, tde_supported=tde.supported, tde_enabled=tde.enabled)
                if tde.enabled and change.key_id is not None:
                    used = await self._ask(lambda: inventory.encryption_key(instance_id))
                    one = replace(one, tde_key=used.key_id)
                return one
            case _ if change.kind is Kind.PASSWORD:
                key = _key(Lane(one.account_id, one.target.region), one.target)
                return replace(one, password_is_current=await self._is_current(key))
            case _:
                return one


def _key(lane: Lane, target: Target) -> InstanceKey:
    return InstanceKey(account_id=lane.account_id, region=lane.region, instance_id=target.id)
