"""The whole table, asked in one way of one simulator."""

from vendor_clients import Door, Heard, Vendor
from vendor_models import complaints
from vendor_refusals import complaints_about
from vendor_rows import Refused
from vendor_suite import wrong
from vendor_table import OPERATIONS
from vendor_tally import Record, book


async def walk(vendor: Vendor, door: Door, way: str, record: Record) -> None:
    """Every operation answers the good call with what the model says, and every bad one with its refusal."""
    found: dict[tuple[str, str], list[str]] = {}
    for operation in OPERATIONS:
        for name, params in operation.before:
            assert not isinstance(await vendor.ask(name, params, door), Heard)
        reply = await vendor.ask(operation.name, operation.good, door)
        found[operation.name, "success"] = (
            [f"heard {reply}"]
            if isinstance(reply, Heard)
            else complaints(operation.name, reply, may_lack=operation.may_lack)
        )
        for each in operation.refused_by(adds_region=vendor.adds_region):
            heard = await vendor.ask(operation.name, {**operation.good, **each.change}, door)
            found[operation.name, each.outcome] = complaints_about(heard, each, vendor)
    assert wrong(found) == {}
    for name, outcome in found:
        book(record, vendor.name, name, [f"{outcome}, {way}"])


async def refused_by_all(vendor: Vendor, door: Door, wanted: Refused, outcome: str, record: Record) -> None:
    """Every operation refuses its good call for the same reason."""
    found = {}
    for each in OPERATIONS:
        found[each.name] = complaints_about(await vendor.ask(each.name, each.good, door), wanted, vendor)
    assert wrong(found) == {}
    for name in found:
        book(record, vendor.name, name, [outcome])
