"""The harness of the vendor suite: a simulator for one test, the door to it, and a look into what came back."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from vendor_clients import Door
from vendor_rows import COUNT, FLEET

from batchmod.sim.server import Running, SimOptions, running

Outcome = TypeVar("Outcome")


@asynccontextmanager
async def simulator(folder: Path, **more: Any) -> AsyncIterator[Running]:
    """The suite's fleet, with `more` in its fault file."""
    faults = folder / "faults.json"
    faults.write_text(json.dumps({**FLEET, **more}), encoding="utf-8")
    async with running(SimOptions(instances=COUNT, faults=faults)) as started:
        yield started


def door_of(sim: Running, *, old_signature: bool = False) -> Door:
    return Door(
        endpoint=sim.endpoint,
        key_id=sim.access_key_id,
        secret=sim.access_key_secret,
        old_signature=old_signature,
    )


def at(reply: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; a number is a place in a list."""
    value: Any = reply
    for part in path.split("."):
        value = value[int(part)] if part.isdecimal() else value.get(part)
    return value


def wrong(found: Mapping[Outcome, Sequence[str]]) -> dict[Outcome, Sequence[str]]:
    """The outcomes about which there are complaints."""
    return {outcome: complaints for outcome, complaints in found.items() if complaints}
