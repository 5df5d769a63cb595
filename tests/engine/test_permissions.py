"""The policy that a plan prints: what the run needs of each account, and nothing more."""

import json
from typing import Any

import pytest

from batchmod.engine.permissions import LONGEST, policy
from batchmod.model.events import Kind, Phase
from batchmod.model.manifest import Manifest
from batchmod.model.plan import Lane, PlannedRow

ACCOUNT = "1234567890123456"
ONE = f"acs:kvstore:cn-hangzhou:{ACCOUNT}:instance/r-1"
ALL = f"acs:kvstore:cn-hangzhou:{ACCOUNT}:instance/*"


def changes(*entries: dict[str, Any]) -> Any:
    return Manifest.model_validate({"version": 1, "name": "job", "targets": ["r-1"], "changes": list(entries)}).changes


def row(kind: Kind = Kind.ATTRIBUTES, *, instance: str = "r-1", verdict: Phase = Phase.PLANNED) -> PlannedRow:
    return PlannedRow(
        seq=0,
        account="prod",
        account_id=ACCOUNT,
        region="cn-hangzhou",
        instance_id=instance,
        instance_name=None,
        login=instance,
        kind=kind,
        wave=1,
        before={},
        after={},
        verdict=verdict,
    )


def allowed(document: Any) -> dict[str, list[str]]:
    return {action: one["Resource"] for one in document["Statement"] for action in one["Action"]}


@pytest.mark.parametrize(
    ("entry", "kind", "actions"),
    [
        ({"attributes": {"name": "n1"}}, Kind.ATTRIBUTES, ["DescribeInstances", "ModifyInstanceAttribute"]),
        (
            {"attributes": {"release_protection": True}},
            Kind.ATTRIBUTES,
            ["DescribeInstances", "DescribeInstanceAttribute", "ModifyInstanceAttribute"],
        ),
        ({"password": {"generate": {}}}, Kind.PASSWORD, ["DescribeInstances", "ModifyInstanceAttribute"]),
        ({"tde": {}}, Kind.TDE, ["DescribeInstances", "DescribeInstanceTDEStatus", "ModifyInstanceTDE"]),
        (
            {"tde": {"key_id": "k1"}},
            Kind.TDE,
            ["DescribeInstances", "DescribeEncryptionKey", "DescribeInstanceTDEStatus", "ModifyInstanceTDE"],
        ),
    ],
)
def test_each_change_needs_its_own_apis(entry: dict[str, Any], kind: Kind, actions: list[str]) -> None:
    """On the instance alone, but for the TDE status, which the service authorises on everything."""
    document = policy([row(kind)], changes(entry), (), ())
    assert document["Version"] == "1"
    found = allowed(document)
    assert list(found) == [f"kvstore:{action}" for action in actions]
    assert all(found[name] == (["*"] if name.endswith("TDEStatus") else [ONE]) for name in found)


def test_encrypting_is_allowed_in_one_direction_only() -> None:
    """With the service's own condition key."""
    (statement,) = (
        one
        for one in policy([row(Kind.TDE)], changes({"tde": {}}), (), ())["Statement"]
        if one["Action"] == ["kvstore:ModifyInstanceTDE"]
    )
    assert statement["Condition"] == {"StringEquals": {"kvstore:TDEStatus": "Enabled"}}


def test_what_is_not_sent_needs_no_permission_to_send() -> None:
    """A plan that changes nothing only reads."""
    document = policy([row(verdict=Phase.UNCHANGED)], changes({"attributes": {"name": "n1"}}), (), ())
    assert allowed(document) == {"kvstore:DescribeInstances": [ONE]}


def test_an_address_that_is_not_listed_is_asked_for_by_name() -> None:
    """DescribeDBInstanceNetInfo on those instances alone, of the whole region where there are too many."""
    entry = changes({"password": {"generate": {}}})
    rows = [row(Kind.PASSWORD), row(Kind.PASSWORD, instance="r-2")]
    api = "kvstore:DescribeDBInstanceNetInfo"
    assert allowed(policy(rows, entry, (), (), {rows[0].key}))[api] == [ONE]
    assert api not in allowed(policy(rows, entry, (), ()))
    many = [row(Kind.PASSWORD, instance=f"r-{number:04d}") for number in range(400)]
    assert allowed(policy(many, entry, (), (), {many[0].key}))[api] == [ALL]


def test_to_list_is_to_read_a_whole_region() -> None:
    """And to change stays with the instances that were selected."""
    lane = Lane(ACCOUNT, "cn-hangzhou")
    document = policy([row()], changes({"attributes": {"name": "n1"}}), {lane}, ())
    assert allowed(document) == {"kvstore:DescribeInstances": [ALL], "kvstore:ModifyInstanceAttribute": [ONE]}


def test_a_way_to_another_account_needs_its_role_only() -> None:
    """No instances: no kvstore statement."""
    arn = f"acs:ram::{ACCOUNT}:role/redis-operator"
    document = policy([], changes({"tde": {}}), (), [arn])
    assert document["Statement"] == [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [arn]}]


def test_a_large_fleet_is_named_by_region() -> None:
    """As soon as the document would be longer than a policy may be."""
    few = [row(instance=f"r-{number:04d}") for number in range(40)]
    many = [row(instance=f"r-{number:04d}") for number in range(400)]
    entry = changes({"attributes": {"name": "n1"}})
    assert len(allowed(policy(few, entry, (), ()))["kvstore:ModifyInstanceAttribute"]) == 40
    assert allowed(policy(many, entry, (), ())) == {
        "kvstore:DescribeInstances": [ALL],
        "kvstore:ModifyInstanceAttribute": [ALL],
    }
    for rows in (few, many):
        assert len(json.dumps(policy(rows, entry, (), ()), separators=(",", ":"))) <= LONGEST
