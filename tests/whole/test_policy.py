"""The RAM policy that a plan prints is enough for the run, and nothing in it is too much."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet_support import RENAME, THREE, A, B, answered, every, write_profiles
from whole_support import RETRY, Bench, bench

ROLE = f"acs:ram::{B}:role/redis-operator"
EVERYTHING: list[dict[str, Any]] = [
    {"attributes": {"name": "new-{id}", "release_protection": True}},
    {"password": {"generate": {}}},
    {"tde": {"key_id": "key-1"}},
]
ACCOUNT = "1234567890123456"
ENCRYPTED = {"r-sim000001": {"tde": True}}  # so that its key is asked for
LOOKS: dict[str, Any] = {"proof": {"password": "accepted"}, "retry": {**RETRY, "settle_timeout": "5s"}}


async def printed(b: Bench, manifest: Path) -> dict[str, Any]:
    """The policies that `plan` shows, by account."""
    result = await b.run("plan", str(manifest), "--format", "json")
    assert result.code == 0, result.err
    policies: dict[str, Any] = json.loads(result.out)["policies"]
    return policies


def under(document: Any, *, account: str = ACCOUNT, principal: str = "user/simulator") -> dict[str, Any]:
    return {"policies": [{"account": account, "principal": principal, "document": document}]}


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def outcome(folder: Path, faults: dict[str, Any], targets: Any) -> tuple[int, dict[str, int]]:
    """Exit code and how often the service said Forbidden, of a fresh fleet under a policy."""
    async with bench(made(folder), instances=2, faults={"instances": ENCRYPTED, **faults}) as b:
        manifest = b.manifest(targets=targets, changes=EVERYTHING, **LOOKS)
        result = await b.run("run", str(manifest), "--yes", "--accept-irreversible", "1")
        calls = b.sim.cloud.state()["calls"]
        return result.code, {
            api: counted["Forbidden.RAM"] for api, counted in calls.items() if "Forbidden.RAM" in counted
        }


def without(document: Any) -> Iterator[tuple[str, Any]]:
    """The document less one action, or the last resource of a statement, at a time, and what is missing."""
    for place, statement in enumerate(document["Statement"]):
        for part, values in (("Action", statement["Action"]), ("Resource", statement["Resource"][1:])):
            for value in values:
                less = json.loads(json.dumps(document))
                less["Statement"][place][part].remove(value)
                if not less["Statement"][place][part]:
                    del less["Statement"][place]
                yield f"{place} {part} {value}", less


async def test_the_policy_is_enough_and_the_smallest(tmp_path: Path) -> None:
    """With it nothing is refused; without any one action or resource of it something is."""
    async with bench(tmp_path, instances=2, faults={"instances": ENCRYPTED}) as b:
        policies = await printed(b, b.manifest(targets=b.targets(2), changes=EVERYTHING, **LOOKS))
    assert set(policies) == {"default"}
    targets = b.targets(2)
    assert await outcome(tmp_path / "whole", under(policies["default"]), targets) == (0, {})
    lacking = list(without(policies["default"]))
    assert len(lacking) == 8

    async def lacks(number: int, what: str, document: Any) -> None:
        code, forbidden = await outcome(tmp_path / str(number), under(document), targets)
        assert code != 0, what
        assert forbidden, what

    async with asyncio.TaskGroup() as group:  # each waits for most of its time
        for number, (what, document) in enumerate(lacking):
            group.create_task(lacks(number, what, document))


async def test_the_policy_of_a_selection_is_enough(tmp_path: Path) -> None:
    """To list a region is a permission on all of it; to change stays with the instances."""
    async with bench(tmp_path, instances=2, faults={"instances": ENCRYPTED}) as b:
        (document,) = (await printed(b, b.manifest(targets=every("default"), changes=EVERYTHING, **LOOKS))).values()
    assert await outcome(tmp_path / "whole", under(document), every("default")) == (0, {})
    (changing,) = (one for one in document["Statement"] if one["Action"] == ["kvstore:ModifyInstanceAttribute"])
    assert all(resource.endswith(("r-sim000000", "r-sim000001")) for resource in changing["Resource"])


async def test_an_address_that_is_asked_for_is_in_the_policy(tmp_path: Path) -> None:
    """Of the instances that a login proves and whose address is not listed, and of no other; without it the row fails."""
    faults = {"instances": {"r-sim000001": {"listed_address": False}}}
    work: dict[str, Any] = {"changes": [{"password": {"generate": {}}}], "proof": {"password": "login"}}
    async with bench(tmp_path, instances=2, faults=faults) as b:
        document = (await printed(b, b.manifest(targets=b.targets(2), **work)))["default"]
    (asking,) = (one for one in document["Statement"] if one["Action"] == ["kvstore:DescribeDBInstanceNetInfo"])
    assert asking["Resource"] == [f"acs:kvstore:cn-shanghai:{ACCOUNT}:instance/r-sim000001"]
    less = {**document, "Statement": [one for one in document["Statement"] if one is not asking]}
    for name, allowed, found in (("whole", document, {"changed": 2}), ("less", less, {"changed": 1, "failed": 1})):
        async with bench(made(tmp_path / name), instances=2, faults={**faults, **under(allowed)}) as b:
            await b.run("run", str(b.manifest(targets=b.targets(2), **work)), "--yes")
            assert b.outcomes() == found


async def test_encrypting_is_allowed_with_its_condition_only(tmp_path: Path) -> None:
    """The printed statement carries the service's condition key, and the table shows the document."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[{"tde": {}}])
        (encrypt,) = (
            one
            for one in (await printed(b, manifest))["default"]["Statement"]
            if "kvstore:ModifyInstanceTDE" in one["Action"]
        )
        assert encrypt["Condition"] == {"StringEquals": {"kvstore:TDEStatus": "Enabled"}}
        result = await b.run("plan", str(manifest))
        assert "RAM policy that a run needs in account default" in result.out
        assert "give up for good" in result.out
        assert "recycle bin" in result.out


async def test_the_way_to_a_role_is_in_the_policy(tmp_path: Path) -> None:
    """Of the account that takes it on: that action on that role, and no instance."""
    faults = {**THREE, "roles": [{"account": B, "name": "redis-operator", "trusts": [A]}]}
    accounts = {"a": {"profile": "a"}, "b": {"role_arn": ROLE, "via": "a"}}
    async with bench(tmp_path, instances=6, faults=faults) as b:
        write_profiles(b)
        policies = await printed(b, b.manifest(accounts=accounts, targets=every("b"), changes=[RENAME]))
    assert policies["a"]["Statement"] == [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [ROLE]}]
    rules = [
        {"account": A, "principal": "user/simulator", "document": policies["a"]},
        {"account": B, "principal": "role/redis-operator", "document": policies["b"]},
    ]
    async with bench(made(tmp_path / "again"), instances=6, faults={**faults, "policies": rules}) as b:
        write_profiles(b)
        result = await b.run("run", str(b.manifest(accounts=accounts, targets=every("b"), changes=[RENAME])), "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 2}


async def test_a_permission_that_is_missing_is_told_with_its_row(tmp_path: Path) -> None:
    """Forbidden on one instance fails its row; the other rows are changed."""
    denied = {"Effect": "Deny", "Action": "kvstore:ModifyInstanceAttribute", "Resource": "*instance/r-sim000001"}
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, denied]}
    async with bench(tmp_path, instances=4, faults=under(document)) as b:
        result = await b.run("run", str(b.manifest(targets=b.targets(4), changes=[RENAME])), "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 3, "failed": 1}
        row = b.report()["rows"][1]
        assert (row["outcome"], row["error_code"]) == ("failed", "Forbidden.RAM")


async def test_an_instance_that_may_not_be_read_poisons_no_batch(tmp_path: Path) -> None:
    """One of thirty-five: its row fails, the others are planned and changed, and few reads are needed for that."""
    denied = {"Effect": "Deny", "Action": "kvstore:DescribeInstances", "Resource": "*instance/r-sim000017"}
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, denied]}
    async with bench(tmp_path, instances=35, faults={**under(document), "regions": ["cn-hangzhou"]}) as b:
        targets = [f"r-sim{n:06d}" for n in range(35)]
        planned = await b.run("plan", str(b.manifest(targets=targets, changes=[RENAME])), "--format", "json")
        assert sum(answered(b, "DescribeInstances").values()) <= 12
        counts = json.loads(planned.out)["counts"]
        assert (counts["planned"], counts["failed"]) == (34, 1)
        result = await b.run("run", str(b.manifest(targets=targets, changes=[RENAME])), "--yes")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 34, "failed": 1}
