"""The fleet that a scenario makes, and the way to the instances of one account and region. No clock, no I/O."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from batchmod.sim.errors import SimError
from batchmod.sim.instances import Instance, default_encryption
from batchmod.sim.scenario import Scenario

BY_ID = attrgetter("id")


def fleet_ids(count: int) -> list[str]:
    return [f"r-sim{number:06d}" for number in range(count)]


def make_fleet(count: int, scenario: Scenario, *, address: str, new_password: Callable[[], str]) -> dict[str, Instance]:
    """The instances by id, in order; raises SimError for an override that no instance matches."""
    ids = fleet_ids(count)
    for pattern, _ in scenario.instances:
        if not any(fnmatchcase(each, pattern) for each in ids):
            raise SimError(f"fault file: instances.{pattern}: matches no instance")
    regions, accounts = scenario.regions, tuple(scenario.accounts)
    fleet = {}
    for number, instance_id in enumerate(ids):
        values: dict[str, Any] = {
            "name": f"sim-{number:06d}",
            "region": regions[number % len(regions)],
            "account": accounts[number // len(regions) % len(accounts)],
            "address": address,
        }
        for pattern, given in scenario.instances:
            if fnmatchcase(instance_id, pattern):
                values |= given
        if not values.pop("missing", False):
            fleet[instance_id] = _instance(instance_id, values, new_password)
    return fleet


def _instance(instance_id: str, values: dict[str, Any], new_password: Callable[[], str]) -> Instance:
    values["encryption"] = default_encryption(instance_id) if values.pop("tde", False) else None
    values.setdefault("password", new_password())
    values.setdefault("zone", f"{values['region']}-h")
    values.setdefault("private_ip", values["address"].rpartition(":")[0])
    if "tags" in values:
        values["tags"] = dict(values["tags"])  # its own: TagResources changes them
    return Instance(id=instance_id, **values)


class Lanes:
    """The instances of each account and region, always in order of id. Made once; instances only ever leave."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._lanes: dict[tuple[str, str | None], list[Instance]] = {}
        for each in sorted(instances, key=BY_ID):
            for region in (each.region, None):
                self._lanes.setdefault((each.account, region), []).append(each)
        self.regions = tuple(sorted({region for _, region in self._lanes if region is not None}))

    def of(self, account_id: str, region: str | None) -> Sequence[Instance]:
        """Those of one region, or of all."""
        return self._lanes.get((account_id, region), [])

    def remove(self, instance: Instance) -> None:
        for region in (instance.region, None):
            lane = self._lanes[instance.account, region]
            del lane[bisect_left(lane, instance.id, key=BY_ID)]
