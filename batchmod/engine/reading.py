"""One target as it is now: what each change needs to know of it beyond what DescribeInstances tells. Changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from batchmod.engine.accounts import Accounts
from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.engine.judging import ENDED, NO_PLACE, NORMAL_STATUS, Change, Observed
from batchmod.engine.judging import Instance as Judged
from batchmod.engine.selecting import Listed, Page
from batchmod.errors import CallError, NoPlaceError, StoreError, Verdict
from batchmod.model.events import Kind
from batchmod.model.manifest import AttributesChange, TdeChange
from batchmod.model.plan import Lane
from batchmod.model.secret import InstanceKey
from batchmod.model.selectors import Selector
from batchmod.model.targets import Target

T = TypeVar("T")
ROW_ERRORS = frozenset({Verdict.REFUSED, Verdict.FORBIDDEN})  # say something about one instance only


class Instance(Judged, Listed, Protocol):
    """What DescribeInstances says of one instance."""


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

    async def look(self, ids: Sequence[str]) -> Mapping[str, Instance | CallError | None]: ...
    async def page(self, selector: Selector, number: int) -> Page[Instance]: ...
    async def details(self, instance_id: str) -> Details | None: ...
    async def tde(self, instance_id: str) -> Tde: ...
    async def encryption_key(self, instance_id: str) -> Key: ...
    async def address(self, instance_id: str) -> str | None: ...


class Reader:
    """Reads of one lane, asked again until they are answered.

    `is_young` tells why an instance's password is not due yet, `is_current` whether its proved one is the chosen one,
    `lacks_old` why there is no old one to see refused. `addresses`: passwords are proved by a login at each instance's own address. `unlisted` are the
    instances of which the list did not tell it.
    """

    def __init__(
        self,
        inventory: Inventory,
        lane: Lane,
        *,
        changes: tuple[Change, ...],
        is_young: Callable[[InstanceKey], Awaitable[str | None]],
        is_current: Callable[[InstanceKey], Awaitable[bool]],
        lacks_old: Callable[[InstanceKey], Awaitable[str | None]],
        addresses: bool,
        accounts: Accounts,
        attempts: int,
        max_delay: float,
        clock: Clock,
    ) -> None:
        self._inventory = inventory
        self._lane = lane
        self._changes = changes
        self._asks = any(not isinstance(c, AttributesChange) or c.release_protection is not None for c in changes)
        self._is_young = is_young
        self._is_current = is_current
        self._lacks_old = lacks_old
        self._addresses = addresses
        self.unlisted: set[InstanceKey] = set()
        self._accounts = accounts
        self._attempts = attempts
        self._max_delay = max_delay
        self._clock = clock

    async def look(self, ids: Sequence[str]) -> Mapping[str, Instance | CallError | None]:
        """Every id: its instance, None where there is none, or the error that the id alone is refused for."""
        return await self._ask(lambda inventory: inventory.look(ids))

    async def page(self, selector: Selector, number: int) -> Page[Instance]:
        return await self._ask(lambda inventory: inventory.page(selector, number))

    async def observe(self, target: Target, instance: Instance | CallError | None) -> Observed:
        """The target as it is now. Raises CallError when that says that the lane cannot be read."""
        if isinstance(instance, CallError):
            told = (instance.code, instance.message)
            return Observed(
                target=target,
                account_id=self._lane.account_id,
                instance=None,
                refused={c.kind: told for c in self._changes},
            )
        one = Observed(target=target, account_id=self._lane.account_id, instance=instance)
        if instance is None:
            return one
        for change in self._changes:
            try:
                one = await self._read(one, change)
            except NoPlaceError as error:  # of this instance alone: the others go on
                one = replace(one, refused={**one.refused, change.kind: (NO_PLACE, str(error))})
            except CallError as error:
                if error.verdict is Verdict.GONE:
                    return replace(one, instance=None)
                if error.verdict not in ROW_ERRORS or self._accounts.stopped(self._lane.account_id) is not None:
                    raise
                one = replace(one, refused={**one.refused, change.kind: (error.code, error.message)})
        return one

    async def observe_all(self, batch: Iterable[tuple[Target, Instance | CallError | None]]) -> list[Observed]:
        """Each target as `observe` has it, read side by side; raises the first error that says it of the lane."""
        if not self._asks:
            return [await self.observe(target, instance) for target, instance in batch]

        async def one(target: Target, instance: Instance | CallError | None) -> Observed | CallError | StoreError:
            try:
                return await self.observe(target, instance)
            except (CallError, StoreError) as error:
                return error  # out of a group it would come as a group

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(target, instance)) for target, instance in batch]
        found: list[Observed] = []
        for task in tasks:
            result = task.result()
            if not isinstance(result, Observed):
                raise result
            found.append(result)
        return found

    async def _read(self, one: Observed, change: Change) -> Observed:
        instance_id = one.target.id
        match change:
            case AttributesChange(release_protection=bool()):
                details = await self._ask(lambda inventory: inventory.details(instance_id))
                if details is None:
                    return replace(one, instance=None)
                return replace(one, release_protection=details.release_protection)
            case TdeChange():
                tde = await self._ask(lambda inventory: inventory.tde(instance_id))
                one = replace(one, tde_supported=tde.supported, tde_enabled=tde.enabled)
                if tde.enabled and change.key_id is not None:
                    used = await self._ask(lambda inventory: inventory.encryption_key(instance_id))
                    one = replace(one, tde_key=used.key_id)
                return one
            case _ if change.kind is Kind.PASSWORD:
                return await self._password(one)
            case _:
                return one

    async def _password(self, one: Observed) -> Observed:
        lane, instance = self._lane, one.instance
        key = InstanceKey(account_id=lane.account_id, region=lane.region, instance_id=one.target.id)
        young = await self._is_young(key)
        if young is not None:
            return replace(one, young=young)
        if await self._is_current(key):
            return replace(one, password_is_current=True)
        one = replace(one, lacks_old=await self._lacks_old(key))
        if not self._addresses or instance is None or instance.address is not None or instance.status in ENDED:
            return one
        self.unlisted.add(key)
        if instance.status != NORMAL_STATUS:  # one that is being made has none yet
            return one
        return replace(one, address=await self._ask(lambda inventory: inventory.address(key.instance_id)))

    async def _ask(self, call: Callable[[Inventory], Awaitable[T]]) -> T:
        """The answer. Raises CallError, at once when the account was stopped by another lane's call."""
        account_id = self._lane.account_id
        stopped = self._accounts.stopped(account_id)
        if stopped is not None:
            raise stopped
        try:
            answer = await ask(
                lambda: call(self._inventory), attempts=self._attempts, max_delay=self._max_delay, clock=self._clock
            )
        except CallError as error:
            self._accounts.failed(account_id, error)
            raise
        self._accounts.succeeded(account_id)
        return answer
