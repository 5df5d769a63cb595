"""The documents of a KV engine, version 2: read with their version, written with check-and-set, found below a folder."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from batchmod.errors import NoPlaceError, StoreError
from batchmod.model.secret import InstanceKey
from batchmod.secrets.bao_checks import EXPIRING
from batchmod.secrets.bao_paths import Paths
from batchmod.secrets.bao_wire import Answer, Bao, Meaning, meaning
from batchmod.secrets.document import OURS, Document, parsed

T = TypeVar("T")
_AT_ONCE = 8  # documents read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document and the version that it was read at; 0 when there is none."""

    document: Document = field(default_factory=Document)
    version: int = 0


class Documents:
    """Of the instances that a path template names below a mount."""

    def __init__(self, bao: Bao, mount: str, paths: Paths) -> None:
        self._bao, self._mount, self._paths = bao, mount, paths
        self._kept: set[InstanceKey] = set()  # whose metadata was seen to keep what is written
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def read(self, key: InstanceKey) -> Found:
        """NoPlaceError when the document is not ours, or its latest version was deleted."""
        answer = await self.at(self._paths.of(key))
        metadata = answer.data.get("metadata") or {}
        version = int(metadata.get("version") or 0)
        if meaning(answer) is Meaning.ABSENT and version:
            raise NoPlaceError(
                f"{self.place(key)}: version {version} was deleted or destroyed: bring it back with `undelete`,"
                " or write the last good version again with `rollback`"
            )
        if meaning(answer) is Meaning.ABSENT:
            return Found()
        try:
            _, document = parsed(answer.data.get("data") or {}, key)
        except NoPlaceError as error:
            raise NoPlaceError(f"{self.place(key)}: {error}") from None
        return Found(document=document, version=version)

    async def write(self, key: InstanceKey, document: Document, version: int) -> bool:
        """Whether the document took the place of that version; not when another write was quicker, perhaps our own."""
        path, fields = self._paths.of(key), document.fields(key)
        answer = await self._bao.ask(
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                path, fields, cas=version, mount_point=self._mount
            ),
            self.place(key),
        )
        if meaning(answer) is Meaning.ABSENT:
            raise StoreError(f"{self.place(key)}: cannot be written: there is no such engine any more")
        return meaning(answer) is Meaning.OK

    async def require_kept(self, key: InstanceKey) -> None:
        """What is written for this instance stays. NoPlaceError when its metadata has the engine delete it after a time."""
        if key in self._kept:
            return
        path = self._paths.of(key)
        what = f"{self._mount}/metadata/{path}"
        answer = await self._bao.ask(
            lambda client: client.secrets.kv.v2.read_secret_metadata(path, mount_point=self._mount), what
        )
        if answer.data.get("delete_version_after", "0s") != "0s":
            raise NoPlaceError(f"{what}: {EXPIRING}")
        self._kept.add(key)

    async def all(self) -> list[tuple[InstanceKey, Document]]:
        """Those below the folder that all instances share; what is no instance's is left out."""
        places = [""]
        for depth in range(self._paths.depth):
            listed = await asyncio.gather(*(self._bounded(partial(self._list, place)) for place in places))
            wanted = partial(self._paths.may_be, depth=depth)
            places = [
                place + name for place, names in zip(places, listed, strict=True) for name in names if wanted(name)
            ]
        found = await asyncio.gather(*(self._bounded(partial(self._ours, place)) for place in places))
        return [each for each in found if each is not None]

    async def at(self, path: str) -> Answer:
        """The latest version at a path: OK or ABSENT."""
        return await self._bao.ask(
            lambda client: client.secrets.kv.v2.read_secret_version(
                path, mount_point=self._mount, raise_on_deleted_version=False
            ),
            f"{self._mount}/data/{path}",
        )

    def place(self, key: InstanceKey) -> str:
        """Of the instance's document, for messages."""
        return f"{self._mount}/data/{self._paths.of(key)}"

    async def _list(self, place: str) -> list[str]:
        path = self._paths.fixed + place
        answer = await self._bao.ask(
            lambda client: client.secrets.kv.v2.list_secrets(path, mount_point=self._mount),
            f"{self._mount}/metadata/{path}",
        )
        names = answer.data.get("keys", [])
        return [each for each in names if isinstance(each, str)]

    async def _ours(self, place: str) -> tuple[InstanceKey, Document] | None:
        """The document there, when it is an instance's own."""
        path = self._paths.fixed + place
        answer = await self.at(path)
        fields = answer.data.get("data") if meaning(answer) is Meaning.OK else None
        if not isinstance(fields, dict) or OURS not in fields:
            return None
        try:
            key, document = parsed(fields)
        except NoPlaceError as error:
            raise NoPlaceError(f"{self._mount}/data/{path}: {error}") from None
        return (key, document) if self._paths.of(key) == path else None

    async def _bounded(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._places:
            return await work()
