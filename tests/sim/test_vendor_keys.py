"""Who asks, and when: keys, tokens, clocks and quotas, as every operation of every client meets them."""

from dataclasses import replace
from pathlib import Path

import pytest
from vendor_clients import VENDORS, Heard, Vendor
from vendor_refusals import complaints_about
from vendor_rows import Refused
from vendor_suite import door_of, simulator, wrong
from vendor_table import OPERATIONS
from vendor_tally import Record, book
from vendor_walk import refused_by_all, walk

pytestmark = pytest.mark.oracle
TOKEN = "CAIS+invented/token=="
by_client = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
by_signature = pytest.mark.parametrize("old_signature", [False, True], ids=["its own signature", "the old signature"])


@by_client
@by_signature
async def test_a_temporary_key(vendor: Vendor, old_signature: bool, tmp_path: Path, record_property: Record) -> None:
    """With the token every operation answers as with a plain key."""
    async with simulator(tmp_path, session_token=TOKEN) as sim:
        door = replace(door_of(sim, old_signature=old_signature), token=TOKEN)
        await walk(vendor, door, f"token{', old signature' * old_signature}", record_property)


@by_client
@by_signature
async def test_a_key_that_does_not_open(
    vendor: Vendor, old_signature: bool, tmp_path: Path, record_property: Record
) -> None:
    """An unknown key, a wrong secret and a token that nobody gave; the old client knows its own wrong secret."""
    wrong_secret = "SignatureDoesNotMatch" if vendor.tells_all else "InvalidAccessKeySecret"
    way = ", old signature" * old_signature
    async with simulator(tmp_path) as sim:
        door = door_of(sim, old_signature=old_signature)
        for name, wrong_door, code, status in (
            ("unknown key", replace(door, key_id="LTAI5tUnknown"), "InvalidAccessKeyId.NotFound", 404),
            ("wrong secret", replace(door, secret="wrong"), wrong_secret, 400),
            ("token of nobody", replace(door, token=TOKEN), "InvalidSecurityToken.Malformed", 400),
        ):
            wanted = Refused(code=code, status=status)
            await refused_by_all(vendor, wrong_door, wanted, f"{name}{way}", record_property)
        verdicts = {call.code for call in sim.cloud.calls}
    assert verdicts == {"InvalidAccessKeyId.NotFound", "SignatureDoesNotMatch", "InvalidSecurityToken.Malformed"}


@by_client
@pytest.mark.parametrize(
    ("token", "code"), [(None, "MissingSecurityToken"), ("CAISother", "InvalidSecurityToken.MismatchWithAccessKey")]
)
async def test_a_token_that_does_not_open(
    vendor: Vendor, token: str | None, code: str, tmp_path: Path, record_property: Record
) -> None:
    """A temporary key without its token, or with another one."""
    async with simulator(tmp_path, session_token=TOKEN) as sim:
        door = replace(door_of(sim), token=token)
        await refused_by_all(vendor, door, Refused(code=code, status=400), code, record_property)


@by_client
async def test_a_key_that_is_revoked(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """From one call to the next the key is disabled."""
    async with simulator(tmp_path, revoke_key_after=1) as sim:
        assert not isinstance(await vendor.ask("DescribeRegions", {}, door_of(sim)), Heard)
        revoked = Refused(code="InvalidAccessKeyId.Inactive", status=400)
        await refused_by_all(vendor, door_of(sim), revoked, "revoked key", record_property)


@by_client
@pytest.mark.parametrize("minutes", [-16, 16])
async def test_a_clock_that_is_wrong(vendor: Vendor, minutes: int, tmp_path: Path, record_property: Record) -> None:
    """More than a quarter of an hour is refused, whichever way."""
    async with simulator(tmp_path, clock_offset=minutes * 60) as sim:
        expired = Refused(code="InvalidTimeStamp.Expired", status=400)
        await refused_by_all(vendor, door_of(sim), expired, f"clock off by {minutes} minutes", record_property)


@by_client
@pytest.mark.parametrize("minutes", [-14, 14])
async def test_a_clock_that_is_right_enough(
    vendor: Vendor, minutes: int, tmp_path: Path, record_property: Record
) -> None:
    """Less is forgiven."""
    async with simulator(tmp_path, clock_offset=minutes * 60) as sim:
        door = door_of(sim)
        calls = [call for each in OPERATIONS for call in (*each.before, (each.name, each.good))]
        found = {(name, at): await vendor.ask(name, params, door) for at, (name, params) in enumerate(calls)}
    assert [each for each in found.values() if isinstance(each, Heard)] == []
    for name, _ in found:
        book(record_property, vendor.name, name, [f"clock off by {minutes} minutes"])


@by_client
async def test_a_quota_that_is_used_up(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """The second call within a minute is told to wait less than that one, for each operation by itself."""
    quotas = dict.fromkeys(["default", *(each.name for each in OPERATIONS)], "1/60s")
    found = {}
    async with simulator(tmp_path, quotas=quotas, retry_after=True) as sim:
        door = door_of(sim)
        for each in OPERATIONS:
            await vendor.ask(each.name, each.good, door)
            heard = await vendor.ask(each.name, each.good, door)
            assert isinstance(heard, Heard)
            assert vendor.tells_all == (heard.retry_after is not None)
            assert heard.retry_after is None or 0 < heard.retry_after <= 60_000
            wanted = Refused(code="Throttling.User", status=400, retry_after=heard.retry_after)
            found[each.name] = complaints_about(heard, wanted, vendor)
    assert wrong(found) == {}
    for name in found:
        book(record_property, vendor.name, name, ["quota used up"])
