"""A secret store in OpenBao or HashiCorp Vault, KV version 2: one document an instance, each move of it one compare-and-set.

The document (secrets/document.py) holds all generations, so what the engine drops of old versions is never needed. Metadata
of the engine is not written: there is no compare-and-set for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.model.stores import OpenBaoSettings
from batchmod.secrets.bao_checks import check_server, diagnosis
from batchmod.secrets.bao_documents import Documents
from batchmod.secrets.bao_login import access_of
from batchmod.secrets.bao_paths import Paths, reference_of
from batchmod.secrets.bao_wire import Bao, Meaning, meaning
from batchmod.secrets.document import Document
from batchmod.secrets.store import Finding, Moves, adoption, at_stage, demotion, promotion

_ROUNDS = 20  # compare-and-sets that may be lost in a row: each one is another's that was won
Rule = Callable[[Sequence[Generation], int], Moves]


class OpenBaoStore:
    """A SecretStore. `open` is the way to one; `close` ends its threads."""

    def __init__(
        self,
        settings: OpenBaoSettings,
        bao: Bao,
        fingerprint: Callable[[Secret], str],
        clock: Callable[[], float],
    ) -> None:
        self._mount = settings.mount
        self._paths = Paths(settings.path)
        self._bao = bao
        self._clock = clock
        self._documents = Documents(bao, settings.mount, self._paths)
        self.fingerprint = fingerprint

    @classmethod
    async def open(
        cls,
        settings: OpenBaoSettings,
        *,
        directory: Path,
        environ: Mapping[str, str],
        fingerprint: Callable[[Secret], str],
        create: bool = True,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Self:
        """The store, logged in to. `directory`: where a relative `ca_file` starts; `now` and `sleep`: between attempts.

        UsageError when address or credentials are missing, the server is not reachable, sealed, or refuses us, or the
        mount is not of KV version 2 or, with `create`, deletes what is written there by itself.
        """
        ca_file = directory / settings.ca_file if settings.ca_file else None
        if ca_file is not None and not ca_file.is_file():
            raise UsageError(f"secrets.ca_file: {ca_file}: there is no such file")
        access = access_of(settings, environ)
        bao = Bao(access, namespace=settings.namespace, ca_file=ca_file, now=now, sleep=sleep)
        try:
            await check_server(bao, settings.mount, create=create)
        except StoreError as error:
            await bao.close()
            raise UsageError(f"secret store: {error}") from None
        except BaseException:
            await bao.close()
            raise
        return cls(settings, bao, fingerprint, clock)

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return (await self._documents.read(key)).document.stages

    async def pending(self, key: InstanceKey) -> Generation | None:
        return at_stage(await self.stages(key), Stage.PENDING)

    async def current(self, key: InstanceKey) -> Generation | None:
        return at_stage(await self.stages(key), Stage.CURRENT)

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        await self._documents.require_kept(key)
        ours: Generation | None = None
        for _ in range(_ROUNDS):
            found = await self._documents.read(key)
            landed = ours and _held(found.document, ours, secret)
            if landed:
                return landed  # only its answer was lost
            wanted = found.document.pending(key, login=login, secret=secret, run_id=run_id, now=self._clock())
            ours = wanted.stages[-1]
            if await self._documents.write(key, wanted, found.version):
                return await self._confirmed(key, ours, secret)
        raise self._overtaken(key)

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        entry = (await self._documents.read(key)).document.find(generation)
        if entry is None:
            raise StoreError(f"{key}: no generation {generation} is stored")
        return entry.secret

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._move(key, generation, promotion)

    async def adopt(self, key: InstanceKey, generation: int) -> Generation:
        return await self._move(key, generation, adoption)

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        return await self._move(key, generation, demotion)

    async def lookup(self, reference: str) -> Secret:
        """The reference is `<path>#<field>` below the store's mount; without a field: `password`."""
        path, name = reference_of(reference)
        answer = await self._documents.at(path)
        fields = answer.data.get("data") if meaning(answer) is Meaning.OK else None
        value = fields.get(name) if isinstance(fields, dict) else None
        if not isinstance(value, str) or not value:
            what = "no secret" if fields is None else f"no text at {name!r}"
            raise UsageError(f"secret {reference!r}: there is {what} in {self._mount}/{path}")
        return Secret(value)

    async def all(self) -> tuple[Generation, ...]:
        found = [one for _, document in await self._documents.all() for one in document.stages]
        return tuple(sorted(found, key=lambda one: (one.key, one.generation)))

    async def insert(self, record: Generation, secret: Secret) -> None:
        await self._documents.require_kept(record.key)
        for _ in range(_ROUNDS):
            found = await self._documents.read(record.key)
            wanted = found.document.inserted(record, secret)
            if wanted is found.document:
                return
            if await self._documents.write(record.key, wanted, found.version):
                await self._confirmed(record.key, record, secret)
                return
        raise self._overtaken(record.key)

    async def diagnose(self) -> tuple[Finding, ...]:
        return await diagnosis(self._bao, self._mount, self._paths, wall=self._clock)

    async def close(self) -> None:
        await self._bao.close()

    async def _move(self, key: InstanceKey, generation: int, rule: Rule) -> Generation:
        """The generation is where the rule wants it; an answer that was lost makes no difference."""
        for _ in range(_ROUNDS):
            found = await self._documents.read(key)
            moves = rule(found.document.stages, generation)
            wanted = found.document.moved(moves, now=self._clock()) if moves else found.document
            if not moves or await self._documents.write(key, wanted, found.version):
                moved = wanted.find(generation)
                assert moved is not None  # every rule refuses one that is not there
                return moved.record
        raise self._overtaken(key)

    async def _confirmed(self, key: InstanceKey, record: Generation, secret: Secret) -> Generation:
        """The server gives the value back; else StoreError, and the generation, never sent, is gone."""
        found = await self._documents.read(key)
        if held := _held(found.document, record, secret):
            return held
        if found.document.find(record.generation) is not None:
            await self._documents.write(key, found.document.without(record.generation), found.version)
        raise StoreError(f"{key}: the store gave back another value than was written")

    def _overtaken(self, key: InstanceKey) -> StoreError:
        return StoreError(f"{self._documents.place(key)}: somebody else writes it all the time")


def _held(document: Document, record: Generation, secret: Secret) -> Generation | None:
    """The record as it is stored, if the generation there is that run's and has that value."""
    there = document.find(record.generation)
    return there.record if there and there.record.run_id == record.run_id and there.secret == secret else None
