"""Other ways to ask the same, each walked over every operation: the old signature, a form body, XML."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from vendor_clients import ASYNC, OLD, SYNC, VENDORS, Door, Heard, Vendor, acs_client, old_request
from vendor_forms import FORMS
from vendor_models import body_class, from_xml
from vendor_rows import Operation
from vendor_suite import door_of, simulator
from vendor_table import OPERATIONS
from vendor_tally import Record, book
from vendor_walk import walk

pytestmark = pytest.mark.oracle
by_client = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
TOKEN = "CAIS+invented/token=="


@pytest.mark.parametrize("vendor", [SYNC, ASYNC], ids=lambda vendor: vendor.name)
async def test_the_old_signature_of_the_modern_client(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """With signature_algorithm v2 the modern client signs as the old one does, and is believed."""
    async with simulator(tmp_path) as sim:
        await walk(vendor, door_of(sim, old_signature=True), "old signature", record_property)


@pytest.mark.parametrize("vendor", FORMS, ids=lambda vendor: vendor.name)
async def test_parameters_in_a_form(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """A form body is signed and read like the query."""
    async with simulator(tmp_path) as sim:
        await walk(vendor, door_of(sim), "form", record_property)


@pytest.mark.filterwarnings("ignore:do_action:DeprecationWarning")  # the only public call that does not force JSON
async def test_xml(tmp_path: Path, record_property: Record) -> None:
    """The old client's XML says the same as its JSON, success and refusal, once the model's types are read into it."""
    async with simulator(tmp_path) as sim:
        door = door_of(sim)
        for operation in OPERATIONS:
            for name, params in operation.before:
                assert not isinstance(await OLD.ask(name, params, door), Heard)
            root = await _xml(operation, operation.good, door)
            told = await OLD.ask(operation.name, operation.good, door)
            assert root.tag == f"{operation.name}Response"
            assert isinstance(told, dict)
            read = from_xml(root, body_class(operation.name))
            assert _shape(read | {"RequestId": ""}) == _shape(told | {"RequestId": ""})
            outcomes = ["success, XML"]
            for each in operation.refused_by(adds_region=True):
                root = await _xml(operation, {**operation.good, **each.change}, door)
                fields = {child.tag: child.text for child in root}
                assert (root.tag, fields["Code"], fields["HostId"]) == ("Error", each.code, door.host)
                assert all(fields[name] for name in ("Message", "RequestId", "Recommend"))
                outcomes.append(f"{each.outcome}, XML")
            book(record_property, OLD.name, operation.name, outcomes)


async def _xml(operation: Operation, params: Mapping[str, Any], door: Door) -> ET.Element:
    client = acs_client(door)
    try:
        text = await asyncio.to_thread(client.do_action, old_request(operation.name, params, door, "XML"))
    finally:
        client.session.close()
    return ET.fromstring(text)


def _shape(value: Any, *, secret: bool = False) -> Any:
    """Without what XML cannot say, an empty list, and what is new each time: a role's key pair and token."""
    match value:
        case dict():
            return {
                key: _shape(each, secret=secret or key == "Credentials")
                for key, each in value.items()
                if each not in ([], {})
            }
        case list():
            return [_shape(each) for each in value]
        case _:
            return type(value) if secret else value
