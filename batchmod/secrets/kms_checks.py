"""Whether a KMS store can be used: what `doctor` asks of it. Changes nothing."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from batchmod.errors import StoreError
from batchmod.secrets.kmscalls import KmsCalls, KmsPlace
from batchmod.secrets.store import Finding
from batchmod.secrets.versions import MAX_VERSIONS, Versions, require_room

T = TypeVar("T")
SKEW: Final = 60.0  # seconds between two clocks that agree
NAMED: Final = 5  # secrets without room: enough to see which


async def diagnosis(calls: KmsCalls, place: KmsPlace) -> tuple[Finding, ...]:
    """Whether the service lists secrets to us, has room for another version of each, and agrees on the time."""
    try:
        skew = (await calls.list(page=1, size=1)).skew
        names = await calls.names()
        held = await side_by_side([calls.versions(name) for name in names])
    except StoreError as error:
        return (Finding(what="reachable", ok=False, text=str(error)),)
    full = sorted(name for name, versions in zip(names, held, strict=True) if not _has_room(versions, name))
    room = f"; no room for another password: {', '.join(full[:NAMED])}{' …' * (len(full) > NAMED)}" if full else ""
    clock = "the service did not tell its time" if skew is None else f"{abs(skew):.0f} s between ours and the service's"
    listed = f"KMS lists secrets and versions; {len(names)} instances at {place.template}"
    return (
        Finding(what="reachable", ok=True, text=listed),
        Finding(what="versions", ok=not full, text=f"KMS keeps {MAX_VERSIONS} a secret{room}"),
        Finding(what="clock", ok=skew is not None and abs(skew) <= SKEW, text=clock),
    )


async def side_by_side(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each returns; the first error, when there is one."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


def _has_room(versions: Versions, name: str) -> bool:
    try:
        require_room(versions, name)
    except StoreError:
        return False
    return True
