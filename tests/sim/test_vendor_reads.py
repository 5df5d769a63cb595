"""Filters, pages and endpoints, in the spelling and by the types of each client."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vendor_clients import VENDORS, Heard, Vendor
from vendor_rows import BUSY, OTHERS, REGION
from vendor_suite import at, door_of, simulator
from vendor_tally import Record, book

pytestmark = pytest.mark.oracle
by_client = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
SPECIAL = "r-sim000016"
FILTERS: dict[str, tuple[Any, str, Any]] = {  # parameter: the value, and what makes the one instance have it
    "ChargeType": ("PrePaid", "charge_type", "PrePaid"),
    "EngineVersion": ("6.0", "engine_version", "6.0"),
    "NetworkType": ("CLASSIC", "network_type", "CLASSIC"),
    "InstanceType": ("Redis", "edition", "Community"),
    "EditionType": ("Community", "edition", "Community"),
    "ArchitectureType": ("rwsplit", "architecture", "rwsplit"),
    "InstanceClass": ("redis.master.large", "instance_class", "redis.master.large"),
    "NodeType": ("readone", "node_type", "readone"),
    "ZoneId": (f"{REGION}-k", "zone", f"{REGION}-k"),
    "VpcId": ("vpc-own", "vpc_id", "vpc-own"),
    "VSwitchId": ("vsw-own", "vswitch_id", "vsw-own"),
    "PrivateIp": ("10.9.8.7", "private_ip", "10.9.8.7"),
    "ResourceGroupId": ("rg-own", "resource_group", "rg-own"),
    "InstanceStatus": ("Flushing", "status", "Flushing"),
    "SearchKey": ("own-中", "name", "my-own-中文"),
    "Expired": ("true", "expired", True),
    "GlobalInstance": (True, "global", True),
    "Tag": ([{"Key": "team", "Value": "pay *~"}, {"Key": "env"}], "tags", {"team": "pay *~", "env": "x"}),
    "InstanceIds": (f"{SPECIAL},{OTHERS},r-none", "name", "sim-000016"),
}


async def ids(vendor: Vendor, params: dict[str, Any], door: Any) -> list[str] | Heard:
    reply = await vendor.ask("DescribeInstances", params, door)
    return (
        reply if isinstance(reply, Heard) else [each["InstanceId"] for each in at(reply, "Instances.KVStoreInstance")]
    )


@by_client
@pytest.mark.parametrize("alone", [True, False], ids=["each alone", "all together"])
async def test_filters(vendor: Vendor, alone: bool, tmp_path: Path, record_property: Record) -> None:
    """Every filter of DescribeInstances finds the one instance that has the value, alone and with all others."""
    vpc = {"VpcId", "VSwitchId", "InstanceIds"}  # not of an instance in a classic network; and its name is another
    values = {its: made for name, (_, its, made) in FILTERS.items() if name not in vpc}
    special = {"": values, "in a VPC": {its: FILTERS[name][2] for name in vpc for its in (FILTERS[name][1],)}}
    found: dict[str, Any] = {}
    for kind, attributes in special.items():
        async with simulator(tmp_path, instances={SPECIAL: attributes}, busy=[]) as sim:
            params = {name: value for name, (value, *_) in FILTERS.items() if (name in vpc) == (kind != "")}
            asked = [{name: value} for name, value in params.items()] if alone else [params]
            for each in asked:
                found[f"{kind} {'+'.join(each)}"] = await ids(vendor, {"RegionId": REGION, **each}, door_of(sim))
    assert found == {name: [SPECIAL] for name in found}
    book(record_property, vendor.name, "DescribeInstances", [f"filter{name}" for name in found])


@by_client
async def test_pages(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """Pages of three make up the whole list, each instance once; past the end there is nothing."""
    async with simulator(tmp_path) as sim:
        whole = await ids(vendor, {"RegionId": REGION, "PageSize": 50}, door_of(sim))
        pages = [
            await ids(vendor, {"RegionId": REGION, "PageSize": 3, "PageNumber": number}, door_of(sim))
            for number in range(1, 6)
        ]
    assert isinstance(whole, list)
    assert [len(page) for page in pages if isinstance(page, list)] == [3, 3, 3, 1, 0]
    assert [each for page in pages if isinstance(page, list) for each in page] == whole
    book(record_property, vendor.name, "DescribeInstances", ["pages", "a page past the end"])


@by_client
async def test_tags_are_listed_to_the_end(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """What TagResources has given, ListTagResources lists in pages by NextToken until there is none."""
    of_all = {"RegionId": REGION, "ResourceType": "INSTANCE"}
    tags = [{"Key": f"k {number} 中*", "Value": f"v+{number}&="} for number in range(20)]
    instances = [f"r-sim{4 * number:06d}" for number in range(4)]
    async with simulator(tmp_path) as sim:
        door = door_of(sim)
        await vendor.ask("TagResources", {**of_all, "ResourceId": instances, "Tag": tags}, door)
        rows, token, pages = [], "", 0
        while pages == 0 or token:
            params = {**of_all, "ResourceId": instances, **({"NextToken": token} if token else {})}
            reply = await vendor.ask("ListTagResources", params, door)
            assert not isinstance(reply, Heard)
            rows += at(reply, "TagResources.TagResource")
            token, pages = reply["NextToken"], pages + 1
    given = {(each, tag["Key"], tag["Value"]) for each in instances for tag in tags}
    listed = [(row["ResourceId"], row["TagKey"], row["TagValue"]) for row in rows]
    assert len(listed) == len(set(listed))
    assert given <= set(listed)
    assert pages == 2
    book(record_property, vendor.name, "ListTagResources", ["pages"])
    book(record_property, vendor.name, "TagResources", ["many tags, read back"])


@by_client
async def test_endpoints_by_region(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """The endpoint that DescribeRegions names for a region shows that region's instances and no other's."""
    about = {"InstanceId": BUSY}
    async with simulator(tmp_path, regional_endpoints=True) as sim:
        door = door_of(sim)
        reply = await vendor.ask("DescribeRegions", {}, door)
        assert not isinstance(reply, Heard)
        regions = {each["RegionId"]: each["RegionEndpoint"] for each in at(reply, "RegionIds.KVStoreRegion")}
        found, codes = {}, {}
        for region, host in regions.items():
            there = replace(door, endpoint=f"http://{host}", region=region)
            found[region] = await ids(vendor, {"RegionId": region, "PageSize": 50}, there)
            heard = await vendor.ask("DescribeInstanceTDEStatus", about, there)
            codes[region] = heard.code if isinstance(heard, Heard) else "OK"
        everywhere = {
            each.id: each.region for each in sim.cloud.instances.values() if each.account == sim.cloud.account_id
        }
    assert set(regions) == {REGION, "cn-shanghai"}
    assert found == {region: sorted(each for each, its in everywhere.items() if its == region) for region in regions}
    assert codes == {REGION: "OK", "cn-shanghai": "InvalidInstanceId.NotFound"}
    for operation in ("DescribeRegions", "DescribeInstances", "DescribeInstanceTDEStatus"):
        book(record_property, vendor.name, operation, ["endpoints by region"])
