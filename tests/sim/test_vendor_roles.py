"""Roles, tokens, policies and accounts: the vendor's STS client gets a token, and its kvstore client may do what that says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sim_support import logs_in
from vendor_clients import VENDORS, Door, Heard, Vendor
from vendor_refusals import complaints_about
from vendor_rows import (
    ACCOUNT,
    OF_AN_INSTANCE,
    ONE,
    OTHER_ACCOUNT,
    OTHER_ROLE,
    OTHERS,
    PLAIN,
    REGION,
    ROLE,
    Refused,
)
from vendor_suite import at, door_of, simulator, wrong
from vendor_table import OPERATIONS
from vendor_tally import Record, book
from vendor_walk import refused_by_all, walk

pytestmark = pytest.mark.oracle
by_client = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
by_signature = pytest.mark.parametrize("old_signature", [False, True], ids=["its own signature", "the old signature"])
DENY_ALL: Mapping[str, Any] = {"Version": "1", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
ONE_ONLY = (
    '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kvstore:*", '
    f'"Resource": "acs:kvstore:{REGION}:{ACCOUNT}:instance/{ONE}"}}]}}'
)


async def answered(vendor: Vendor, operation: str, params: Mapping[str, Any], door: Door) -> dict[str, Any]:
    reply = await vendor.ask(operation, params, door)
    assert not isinstance(reply, Heard), f"{operation}: {reply}"
    return reply


async def assumed(vendor: Vendor, door: Door, role: str = ROLE, **more: Any) -> Door:
    """The same door, opened with a token of the role."""
    params = {"RoleArn": role, "RoleSessionName": "suite@1", **more}
    credentials = (await answered(vendor, "AssumeRole", params, door))["Credentials"]
    return replace(
        door,
        key_id=credentials["AccessKeyId"],
        secret=credentials["AccessKeySecret"],
        token=credentials["SecurityToken"],
    )


@by_client
@by_signature
async def test_a_role_may_do_everything(
    vendor: Vendor, old_signature: bool, tmp_path: Path, record_property: Record
) -> None:
    """With an assumed role's token the whole table answers, and STS says who asks; its password change logs in."""
    way = f"assumed role{', old signature' * old_signature}"
    async with simulator(tmp_path) as sim:
        door = await assumed(vendor, door_of(sim, old_signature=old_signature))
        who = await answered(vendor, "GetCallerIdentity", {}, door)
        await walk(vendor, door, way, record_property)
        change = {"InstanceId": ONE, "NewPassword": "x9=K_new*%&"}
        await answered(vendor, "ModifyInstanceAttribute", change, door)
        assert logs_in(sim.data_plane, ONE, "x9=K_new*%&")
    assert (who["IdentityType"], who["AccountId"]) == ("AssumedRoleUser", ACCOUNT)
    assert who["Arn"] == f"acs:ram::{ACCOUNT}:assumed-role/redis-operator/suite@1"
    assert who["PrincipalId"] == f"{who['RoleId']}:suite@1"
    book(record_property, vendor.name, "GetCallerIdentity", [f"identity, {way}"])


@by_client
@by_signature
async def test_a_token_that_is_over(
    vendor: Vendor, old_signature: bool, tmp_path: Path, record_property: Record
) -> None:
    """A token whose time has passed is told apart from one that is wrong."""
    way = ", old signature" * old_signature
    async with simulator(tmp_path) as sim:
        door = await assumed(vendor, door_of(sim, old_signature=old_signature))
        credential = sim.cloud.keyring.find(door.key_id)
        assert credential is not None
        credential.expires = 0.0  # its time has passed
        other = await assumed(vendor, door_of(sim, old_signature=old_signature))
        for token, code in (
            (door.token, "InvalidSecurityToken.Expired"),
            (other.token, "InvalidSecurityToken.MismatchWithAccessKey"),
            ("CAISgarbage", "InvalidSecurityToken.Malformed"),
            (None, "MissingSecurityToken"),
        ):
            wanted = Refused(code=code, status=400)
            await refused_by_all(vendor, replace(door, token=token), wanted, f"{code}{way}", record_property)


@by_client
async def test_another_account(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """An instance of another account is not there, until its role is assumed; then the own ones are not."""
    about = "DescribeInstanceAttribute"
    [gone, _] = OF_AN_INSTANCE
    async with simulator(tmp_path) as sim:
        mine = door_of(sim)
        theirs = await assumed(vendor, mine, OTHER_ROLE)
        who = await answered(vendor, "GetCallerIdentity", {}, theirs)
        seen = [await vendor.ask(about, {"InstanceId": each}, door) for each, door in ((ONE, mine), (OTHERS, theirs))]
        unseen = [await vendor.ask(about, {"InstanceId": each}, door) for each, door in ((OTHERS, mine), (ONE, theirs))]
        pages = [await answered(vendor, "DescribeInstances", {"RegionId": REGION}, door) for door in (mine, theirs)]
    assert who["AccountId"] == OTHER_ACCOUNT
    assert [at(each, "Instances.DBInstanceAttribute.0.InstanceId") for each in seen if isinstance(each, dict)] == [
        ONE,
        OTHERS,
    ]
    assert [complaints_about(each, gone, vendor) for each in unseen] == [[], []]
    mine_ids, their_ids = ({each["InstanceId"] for each in at(page, "Instances.KVStoreInstance")} for page in pages)
    assert (ONE in mine_ids, OTHERS in their_ids, mine_ids & their_ids) == (True, True, set())
    book(record_property, vendor.name, about, ["another account's", "another account's by its role"])
    book(record_property, vendor.name, "DescribeInstances", ["another account's", "another account's by its role"])
    book(record_property, vendor.name, "GetCallerIdentity", ["another account's role"])


@by_client
async def test_a_policy_denies(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """Whoever may nothing hears of each operation what exactly it was denied; who one is may always be asked."""
    policies = [{"account": ACCOUNT, "principal": "user/simulator", "document": DENY_ALL}]
    found = {}
    async with simulator(tmp_path, policies=policies) as sim:
        for each in OPERATIONS:
            detail = {
                "AuthAction": each.action,
                "AuthPrincipalType": "SubUser",
                "AuthPrincipalOwnerId": ACCOUNT,
                "AuthPrincipalDisplayName": "simulator",
                "NoPermissionType": "ExplicitDeny",
            }
            wanted = Refused(code=each.denied_code, status=403, denied=detail)
            heard = await vendor.ask(each.name, each.good, door_of(sim))
            found[each.name] = complaints_about(heard, wanted, vendor)
    assert [each.split(" {")[0] for each in found.pop("GetCallerIdentity")] == ["was answered"]
    assert wrong(found) == {}
    for name in found:
        book(record_property, vendor.name, name, ["denied by policy"])


@by_client
async def test_a_session_policy_narrows(vendor: Vendor, tmp_path: Path, record_property: Record) -> None:
    """A token for one instance changes that one and no other; what knows no resources is denied whole."""
    denied = Refused(code="Forbidden.RAM", status=403, denied={"NoPermissionType": "ImplicitDeny"})
    name = {"InstanceName": "narrow"}
    async with simulator(tmp_path) as sim:
        door = await assumed(vendor, door_of(sim), Policy=ONE_ONLY)
        await answered(vendor, "ModifyInstanceAttribute", {"InstanceId": ONE, **name}, door)
        await answered(vendor, "DescribeInstances", {"RegionId": REGION, "InstanceIds": ONE}, door)
        found = {
            operation: complaints_about(await vendor.ask(operation, params, door), denied, vendor)
            for operation, params in (
                ("ModifyInstanceAttribute", {"InstanceId": PLAIN, **name}),
                ("DescribeInstances", {"RegionId": REGION, "InstanceIds": f"{ONE},{PLAIN}"}),
                ("DescribeInstanceTDEStatus", {"InstanceId": ONE}),
                ("CheckCloudResourceAuthorized", {"InstanceId": ONE, "RoleArn": ROLE}),
            )
        }
    assert wrong(found) == {}
    for operation in found:
        book(record_property, vendor.name, operation, ["denied by session policy"])
    for operation in ("ModifyInstanceAttribute", "DescribeInstances"):
        book(record_property, vendor.name, operation, ["allowed by session policy"])
