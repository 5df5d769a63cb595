"""Large fleets: what a page costs, and that pages agree with each other."""

import time
from collections.abc import ItemsView

import pytest
from sim_support import Clock, ask, make_cloud

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.faultfile import parse

SPREAD = """
regions: [cn-hangzhou, cn-beijing, eu-west-1, us-west-1]
accounts: {"1234567890123456": {}, "2222333344445555": {}, "3333444455556666": {}}
"""
LANE = {"RegionId": "cn-hangzhou", "PageSize": "50"}


class Watched(dict[str, str]):
    """Tags that count how often they are looked at: one by one by a filter, all of them by a view."""

    def __init__(self) -> None:
        super().__init__(env="prod")
        self.asked = self.shown = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)

    def items(self) -> ItemsView[str, str]:  # type: ignore[override]  # what a dict returns has no public name
        self.shown += 1
        return super().items()


@pytest.fixture(scope="module")
def cloud() -> FakeCloud:
    """12,000 instances, a thousand in each of twelve lanes."""
    return make_cloud(Clock(), parse(SPREAD, "faults"), count=12_000)


def ids(cloud: FakeCloud, **params: str) -> list[str]:
    found = ask(cloud, "DescribeInstances", **LANE | params)["Instances"]["KVStoreInstance"]
    return [each["InstanceId"] for each in found]


def test_a_page_looks_at_its_lane_and_shows_itself(cloud: FakeCloud) -> None:
    """Other accounts and regions are not touched, and no view is made of what is on another page."""
    watched = {each.id: Watched() for each in cloud.instances.values()}
    for instance_id, tags in watched.items():
        cloud.instances[instance_id].tags = tags
    reply = ask(cloud, "DescribeInstances", **LANE, PageNumber="3", **{"Tag.1.Key": "env", "Tag.1.Value": "prod"})
    assert (reply["TotalCount"], len(reply["Instances"]["KVStoreInstance"])) == (1000, 50)
    assert sum(each.asked for each in watched.values()) == 1000
    assert sum(each.shown for each in watched.values()) == 50


def test_a_page_of_a_large_fleet_is_quick(cloud: FakeCloud) -> None:
    """The best of five takes less than 50 µs for each of the thousand instances that a filter passes over."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        assert ids(cloud, InstanceStatus="Changing", VpcId="vpc-sim", SearchKey="sim") == []
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.05


def test_pages_are_a_lane_once_in_order(cloud: FakeCloud) -> None:
    """Twenty pages of fifty, by id."""
    found = [each for page in range(1, 21) for each in ids(cloud, PageNumber=str(page))]
    assert (len(found), found) == (1000, sorted(set(found)))
    assert ids(cloud, PageNumber="21") == []


def test_what_is_released_leaves_the_pages() -> None:
    """And nothing else moves."""
    clock = Clock(0)
    cloud = make_cloud(clock, parse(f"{SPREAD}\ninstances: {{r-sim000012: {{vanish_after: 5}}}}", "faults"), count=48)
    before = ids(cloud)
    clock.now = 5.0
    assert ids(cloud) == [each for each in before if each != "r-sim000012"]
    assert len(before) == 4
