"""What the vendor's clients send arrives to the letter: passwords log in to the real Valkey, names are read back."""

from pathlib import Path

import pytest
from sim_support import logs_in
from vendor_clients import VENDORS, Heard, Vendor
from vendor_forms import FORMS
from vendor_rows import BUSY, CLASSIC, FIRST, INACTIVE, ONE
from vendor_suite import at, door_of, simulator
from vendor_tally import Record, book

pytestmark = pytest.mark.oracle
CHANGE = "ModifyInstanceAttribute"
SPECIALS = "!@#$%^&*()_+-="
PASSWORDS = (
    f"Aa1{SPECIALS}",
    *(f"{each}Ab12345{each}" for each in SPECIALS),
    "Aa1%2B%20",
    "Aa345678",
    "Aa1!" * 8,
)
NAMES = (
    "orders",
    "订单-cache",
    "cache*~",
    "a+b%20c",
    "q&a;x'y,z!$()",
    "Zürich#?|^`\\",
    "emoji😀",
    "中" * 80,
    "ab",
)
TAGS = ("pay & ship", " ", "a+b", "100%25", "k=v&w", "*~'()!", "付款 😀", "x/y:z,w")
WAYS: tuple[tuple[Vendor, bool, str], ...] = (
    *((vendor, False, "query") for vendor in VENDORS),
    *((vendor, False, "form") for vendor in FORMS),
    *((vendor, True, "old signature") for vendor in VENDORS[:2]),
    *((vendor, True, "form, old signature") for vendor in FORMS[:2]),
)
ways = pytest.mark.parametrize(
    ("vendor", "old_signature", "way"), WAYS, ids=[f"{vendor.name}, {way}" for vendor, _, way in WAYS]
)


@ways
async def test_a_new_password_logs_in_and_the_old_one_no_more(
    vendor: Vendor, old_signature: bool, way: str, tmp_path: Path, record_property: Record
) -> None:
    """Every special, the shortest and the longest: before the call only the old one logs in, after it only the new one."""
    found = {}
    async with simulator(tmp_path) as sim:
        door = door_of(sim, old_signature=old_signature)
        current = FIRST
        for password in PASSWORDS:
            before = [logs_in(sim.data_plane, ONE, each) for each in (current, password)]
            heard = await vendor.ask(CHANGE, {"InstanceId": ONE, "NewPassword": password}, door)
            after = [logs_in(sim.data_plane, ONE, each) for each in (current, password)]
            found[f"password {password}, {way}"] = (type(heard), before, after)
            current = password
    assert found == dict.fromkeys(found, (dict, [True, False], [False, True]))
    book(record_property, vendor.name, CHANGE, found)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_a_refused_password_changes_nothing(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """Refused for itself, for another task or for the status: what logged in before still does, the new one does not."""
    refused = {
        "InvalidPassword.Malformed": (ONE, "Aa1 refused"),
        "InvalidInstanceName.Malformed": (ONE, "Aa1refused"),
        "TaskExists": (BUSY, "Aa1refused"),
        "IncorrectDBInstanceState": (INACTIVE, "Aa1refused"),
    }
    found = {}
    async with simulator(tmp_path) as sim:
        for code, (instance, password) in refused.items():
            params = {"InstanceId": instance, "NewPassword": password}
            more = {"InstanceName": "1"} if code == "InvalidInstanceName.Malformed" else {}
            heard = await vendor.ask(CHANGE, params | more, door_of(sim))
            assert isinstance(heard, Heard)
            live = sim.cloud.passwords[instance]
            found[code] = (heard.code, *(logs_in(sim.data_plane, instance, each) for each in (live, password)))
        assert sim.cloud.passwords[ONE] == FIRST
    assert found == {code: (code, True, False) for code in refused}
    book(record_property, vendor.name, CHANGE, [f"no login after {code}" for code in found])


@ways
async def test_a_reset_password_logs_in(
    vendor: Vendor, old_signature: bool, way: str, tmp_path: Path, record_property: Record
) -> None:
    """What ResetAccountPassword sets for the default account is what ModifyInstanceAttribute would have set."""
    reset = {"InstanceId": ONE, "AccountName": ONE, "AccountPassword": f"Aa1{SPECIALS}"}
    async with simulator(tmp_path) as sim:
        before = [logs_in(sim.data_plane, ONE, each) for each in (FIRST, f"Aa1{SPECIALS}")]
        heard = await vendor.ask("ResetAccountPassword", reset, door_of(sim, old_signature=old_signature))
        after = [logs_in(sim.data_plane, ONE, each) for each in (FIRST, f"Aa1{SPECIALS}")]
    assert (type(heard), before, after) == (dict, [True, False], [False, True])
    book(record_property, vendor.name, "ResetAccountPassword", [f"login, {way}"])


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_before_there_were_users(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """An instance of an old version is logged in to with one text, id:password, before and after."""
    async with simulator(tmp_path) as sim:
        old, new = f"{CLASSIC}:{FIRST}", f"{CLASSIC}:x9=K_new*%&"
        before = [logs_in(sim.data_plane, each) for each in (old, new)]
        params = {"InstanceId": CLASSIC, "NewPassword": "x9=K_new*%&"}
        assert not isinstance(await vendor.ask(CHANGE, params, door_of(sim)), Heard)
        after = [logs_in(sim.data_plane, each) for each in (old, new)]
    assert (before, after) == ([True, False], [False, True])
    book(record_property, vendor.name, CHANGE, ["password of an old version"])


@ways
async def test_a_name_is_read_back(
    vendor: Vendor, old_signature: bool, way: str, tmp_path: Path, record_property: Record
) -> None:
    """Names of any legal letters come back the same from both questions, and are found by them."""
    found = {}
    async with simulator(tmp_path) as sim:
        door = door_of(sim, old_signature=old_signature)
        for name in NAMES:
            heard = [
                await vendor.ask(CHANGE, {"InstanceId": ONE, "InstanceName": name}, door),
                await vendor.ask("DescribeInstanceAttribute", {"InstanceId": ONE}, door),
                await vendor.ask("DescribeInstances", {"RegionId": door.region, "SearchKey": name}, door),
            ]
            _, one, some = (each if isinstance(each, dict) else pytest.fail(f"{name}: {each}") for each in heard)
            attributes = at(one, "Instances.DBInstanceAttribute")
            listed = at(some, "Instances.KVStoreInstance")
            found[name] = [(each["InstanceId"], each["InstanceName"]) for each in (*attributes, *listed)]
    assert found == {name: [(ONE, name)] * 2 for name in NAMES}
    for operation in (CHANGE, "DescribeInstanceAttribute", "DescribeInstances"):
        book(record_property, vendor.name, operation, [f"name {name}, {way}" for name in NAMES])


@ways
async def test_a_tag_is_matched(
    vendor: Vendor, old_signature: bool, way: str, tmp_path: Path, record_property: Record
) -> None:
    """Values with spaces and separators select the one instance that has them, and no other value does."""
    tagged = {f"r-sim{4 * number:06d}": {"tags": {"team": tag}} for number, tag in enumerate(TAGS)}
    owners = {tag: [f"r-sim{4 * number:06d}"] for number, tag in enumerate(TAGS)}
    found = {}
    async with simulator(tmp_path, instances=tagged) as sim:
        door = door_of(sim, old_signature=old_signature)
        for tag in (*TAGS, *(f"{each}x" for each in TAGS)):
            params = {"RegionId": door.region, "Tag": [{"Key": "team", "Value": tag}, {"Key": "team"}]}
            heard = await vendor.ask("DescribeInstances", params, door)
            assert not isinstance(heard, Heard)
            found[tag] = [each["InstanceId"] for each in at(heard, "Instances.KVStoreInstance")]
    assert found == {tag: owners.get(tag, []) for tag in found}
    book(record_property, vendor.name, "DescribeInstances", [f"tag {tag}, {way}" for tag in found])
