"""The secret store in Alibaba Cloud KMS: a generic secret an instance, a version a generation. versions.py decides.

Whatever is written is a compare-and-set: a version's id is the next number, which the service refuses with another value,
and a label is moved from where it was seen. After a lost reply, or a refusal that another run may have caused, the secret is
read and all is decided anew.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from batchmod.errors import CallError, StoreConflict, StoreError, UsageError, Verdict
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.kms_checks import diagnosis, side_by_side
from batchmod.secrets.kmscalls import MISSING, Call, KmsCalls, KmsPlace
from batchmod.secrets.kmsvalue import Value, meant, read_reference
from batchmod.secrets.store import Finding
from batchmod.secrets.versions import (
    CURRENT,
    PENDING,
    PREVIOUS,
    Move,
    Moves,
    Version,
    Versions,
    adopted,
    candidate,
    demoted,
    leftovers,
    moved,
    next_number,
    number_at,
    promoted,
    require_room,
    staged,
    version_id,
)

T = TypeVar("T")
ROUNDS: Final = 6  # times that a secret is read and decided about anew
ANEW: Final = frozenset({Verdict.LOST, Verdict.REFUSED})


def _nonce() -> str:
    return secrets.token_hex(8)


class KmsStore:
    """A SecretStore. `call` raises CallError alone, has waited out a quota, and has asked again where that is harmless;
    `explain` says what to do about it.
    """

    def __init__(
        self,
        call: Call,
        place: KmsPlace,
        *,
        fingerprint: Callable[[Secret], str],
        explain: Callable[[CallError], str] = str,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = _nonce,
    ) -> None:
        self._calls = KmsCalls(call, place, explain)
        self._place = place
        self._fingerprint = fingerprint
        self._explain = explain
        self._clock = clock
        self._nonce = nonce
        self._known: dict[tuple[str, int], Generation] = {}  # a version never changes, but for its stage

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return await self._generations(self._name(key))

    async def pending(self, key: InstanceKey) -> Generation | None:
        return await self._at(key, Stage.PENDING)

    async def current(self, key: InstanceKey) -> Generation | None:
        return await self._at(key, Stage.CURRENT)

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        name, now = self._name(key), self._clock()
        value = Value(
            key=key, login=login, secret=secret, run_id=run_id, created_at=now, updated_at=now, nonce=self._nonce()
        )
        number = await self._put_pending(name, value)
        await self._compare(name, number, value)
        return self._learnt(name, number, value, Stage.PENDING)

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        return (await self._calls.value(self._name(key), generation)).secret

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._restage(key, generation, promoted, Stage.CURRENT)

    async def adopt(self, key: InstanceKey, generation: int) -> Generation:
        return await self._restage(key, generation, adopted, Stage.CURRENT)

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._restage(key, generation, demoted, Stage.CANDIDATE)

    async def lookup(self, reference: str) -> Secret:
        """Of a KMS secret's current version: `name` or `name#field`."""
        name, part = read_reference(reference)
        try:
            text = await self._calls.text(name, {})
        except CallError as error:
            if error.code == MISSING:
                raise UsageError(f"no such KMS secret: {name}") from error
            raise self._calls.failed("GetSecretValue", error) from error
        return meant(text, part, reference)

    async def all(self) -> tuple[Generation, ...]:
        found = await side_by_side([self._generations(name) for name in await self._calls.names()])
        return tuple(sorted((each for one in found for each in one), key=lambda each: (each.key, each.generation)))

    async def insert(self, record: Generation, secret: Secret) -> None:
        value = Value(
            key=record.key,
            login=record.login,
            secret=secret,
            run_id=record.run_id,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )
        name, number = self._name(record.key), record.generation
        await self._anew(partial(self._insert, name, record, value))
        await self._compare(name, number, value)
        self._learnt(name, number, value, record.stage)

    async def check(self) -> None:
        """The service lists secrets to us. StoreError, else."""
        await self._calls.list(page=1, size=1)

    async def diagnose(self) -> tuple[Finding, ...]:
        return await diagnosis(self._calls, self._place)

    async def close(self) -> None:
        """Nothing is open: the connections are the caller's."""

    def fingerprint(self, secret: Secret) -> str:
        return self._fingerprint(secret)

    def _name(self, key: InstanceKey) -> str:
        return self._place.name(key)

    async def _at(self, key: InstanceKey, stage: Stage) -> Generation | None:
        name = self._name(key)
        number = number_at(await self._calls.versions(name), stage)
        return None if number is None else await self._generation(name, number, stage)

    async def _generations(self, name: str) -> tuple[Generation, ...]:
        found = staged(await self._calls.versions(name))
        return tuple([await self._generation(name, number, stage) for number, stage in found.items()])

    async def _generation(self, name: str, number: int, stage: Stage) -> Generation:
        known = self._known.get((name, number))
        if known is None:
            return self._learnt(name, number, await self._calls.value(name, number), stage)
        return replace(known, stage=stage)

    def _learnt(self, name: str, number: int, value: Value, stage: Stage) -> Generation:
        self._known[name, number] = found = value.generation(number, stage)
        return found

    async def _put_pending(self, name: str, value: Value) -> int:
        """The number of the version that holds the value and is pending. StoreConflict when another one is."""
        sent: set[int] = set()

        async def attempt() -> int:
            versions = await self._tidied(name, value.key)
            pending = number_at(versions, Stage.PENDING)
            if pending is not None:
                if pending in sent and await self._calls.value(name, pending) == value:
                    return pending  # it had arrived although its reply was lost
                holder = (await self._generation(name, pending, Stage.PENDING)).run_id
                raise StoreConflict(
                    f"{value.key}: generation {pending} is pending, held by run {holder}", holder=holder
                )
            require_room(versions, name)
            number = next_number(versions)
            sent.add(number)
            await self._calls.put(name, number, value, PENDING)
            return number

        return await self._anew(attempt)

    async def _tidied(self, name: str, key: InstanceKey) -> tuple[Version, ...]:
        """The versions of a secret that is there, without what a promotion that was cut short has left."""
        versions = await self._calls.versions(name)
        if not versions:
            await self._calls.create(name, key)
            versions = await self._calls.versions(name)
        rest = leftovers(versions)
        await self._calls.move(name, rest)
        return moved(versions, rest)

    async def _restage(
        self, key: InstanceKey, number: int, plan: Callable[[Versions, int], Moves], stage: Stage
    ) -> Generation:
        name = self._name(key)

        async def attempt() -> None:
            versions = await self._calls.versions(name)
            try:
                moves = plan(versions, number)
            except StoreConflict as conflict:
                pending = number_at(versions, Stage.PENDING)
                holder = await self._generation(name, pending, Stage.PENDING) if pending is not None else None
                raise StoreConflict(f"{key}: {conflict}", holder=holder.run_id if holder else None) from conflict
            await self._calls.move(name, moves)

        await self._anew(attempt)
        return await self._generation(name, number, stage)

    async def _insert(self, name: str, record: Generation, value: Value) -> None:
        """A single stage is given last: cut short, an import is a protected candidate, and the next one goes on."""
        number, stage = record.generation, record.stage
        versions = await self._tidied(name, record.key)
        known = staged(versions).get(number)
        if known is not None:
            stored = await self._calls.value(name, number)
            if stored.secret != value.secret:
                raise StoreConflict(f"{record.key}: generation {number} is stored with another value")
            if known is stage:
                return
            if known is not Stage.CANDIDATE or stored != value:
                raise StoreConflict(f"{record.key}: generation {number} is stored as {known.value}")
        if stage is not Stage.CANDIDATE and (taken := number_at(versions, stage)) is not None:
            raise StoreConflict(f"{record.key}: generation {taken} is {stage.value} already")
        label = PENDING if stage is Stage.PENDING else candidate(number)
        if known is None:
            require_room(versions, name)
            await self._calls.put(name, number, value, label)
            versions = await self._calls.versions(name)
        if stage in {Stage.CURRENT, Stage.PREVIOUS}:
            wanted = CURRENT if stage is Stage.CURRENT else PREVIOUS
            source = next((each.id for each in versions if wanted in each.labels), None)
            to = version_id(number)
            await self._calls.move(name, (Move(label=wanted, to=to, source=source), Move(label=label, source=to)))

    async def _anew(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What the attempt returns, when it is decided once more after what was lost or refused. StoreError, in the end."""
        for left in reversed(range(ROUNDS)):
            try:
                return await attempt()
            except CallError as error:
                if error.verdict not in ANEW or not left:
                    raise self._calls.failed("a change", error) from error
        raise AssertionError("unreachable")

    async def _compare(self, name: str, number: int, value: Value) -> None:
        """The service gives the value back. Else StoreError; what was pending was never sent, and is not so any more."""
        if await self._calls.value(name, number) == value:
            return
        try:
            await self._calls.move(name, (Move(label=PENDING, source=version_id(number)),))
        except CallError as error:
            raise self._calls.failed("UpdateSecretVersionStage", error) from error
        raise StoreError(f"{name}: KMS gave back another value than was written")
