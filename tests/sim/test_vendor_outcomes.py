"""Every operation x client x outcome: the vendor's own software finds in each answer what it looks for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vendor_clients import VENDORS, Heard, Vendor
from vendor_models import complaints
from vendor_refusals import LOSSES, complaints_about, refusals
from vendor_rows import Operation
from vendor_suite import at, door_of, simulator, wrong
from vendor_table import OPERATIONS
from vendor_tally import Record, book

pytestmark = pytest.mark.oracle
by_client = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@by_client
@by_operation
async def test_every_outcome(vendor: Vendor, operation: Operation, tmp_path: Path, record_property: Record) -> None:
    """Success with every documented field, each refusal with all that the client can tell of it, each lost reply as lost."""
    wanted = refusals(operation, vendor)
    played = [each for each in wanted if not each.natural]
    natural = [each for each in wanted if each.natural]
    script = {"api": operation.name, "play": [*(each.play for each in played), *(each.play for each in LOSSES)]}
    found: dict[str, list[str]] = {}
    async with simulator(tmp_path, scripts=[script]) as sim:
        door = door_of(sim)
        for name, params in operation.before:
            assert not isinstance(await vendor.ask(name, params, door), Heard)
        for each in played:
            heard = await vendor.ask(operation.name, operation.good, door)
            found[each.outcome] = complaints_about(heard, each, vendor)
        for lost in LOSSES:
            heard = await vendor.ask(operation.name, operation.good, replace(door, read_seconds=lost.patience))
            found[lost.name] = lost.complaints(heard, vendor)
        found["success"] = _complaints(operation, await vendor.ask(operation.name, operation.good, door))
        for each in natural:
            heard = await vendor.ask(operation.name, {**operation.good, **each.change}, door)
            found[each.outcome] = complaints_about(heard, each, vendor)
        asked = sum(sim.cloud.state()["calls"][operation.name].values())
    assert wrong(found) == {}
    assert asked == len(found), "the client repeated a call by itself"
    book(record_property, vendor.name, operation.name, found)


def _complaints(operation: Operation, reply: dict[str, Any] | Heard) -> list[str]:
    """What is wrong with the reply to the good call."""
    if isinstance(reply, Heard):
        return [f"heard {reply}"]
    values = {path: (at(reply, path), value) for path, value in operation.gives.items()}
    return [
        *complaints(operation.name, reply, may_lack=operation.may_lack),
        *(f"{path} is {was!r}, not {should!r}" for path, (was, should) in values.items() if was != should),
    ]
