"""Every operation that is served, by name and version: from parameters to the fields of the reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchmod.sim.changes import modify_attribute, modify_tde
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import missing, tde_not_supported
from batchmod.sim.instances import REGIONS, service_key
from batchmod.sim.selection import describe_instances
from batchmod.sim.views import described, network

Reply = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One verified call. `params` may hold a password; `host` is how the client reached us; `as_role`: with a token."""

    api: str
    params: Mapping[str, str] = field(repr=False)
    host: str
    as_role: bool = False

    @property
    def instance_id(self) -> str | None:
        return self.params.get("InstanceId") or None


def _modify_attribute(cloud: FakeCloud, call: Call) -> Reply:
    modify_attribute(cloud, call.params)
    return {}


def _modify_tde(cloud: FakeCloud, call: Call) -> Reply:
    modify_tde(cloud, call.params)
    return {}


def _describe_instances(cloud: FakeCloud, call: Call) -> Reply:
    return describe_instances(cloud, call.params)


def _describe_attribute(cloud: FakeCloud, call: Call) -> Reply:
    instance = cloud.find(call.params["InstanceId"])
    return {"Instances": {"DBInstanceAttribute": [described(instance, cloud.status(instance))]}}


def _describe_tde(cloud: FakeCloud, call: Call) -> Reply:
    instance = cloud.find(call.params["InstanceId"])
    if not instance.support_tde:
        raise tde_not_supported()
    return {"TDEStatus": "Enabled" if instance.encryption else "Disabled"}


def _describe_key(cloud: FakeCloud, call: Call) -> Reply:
    """Only for an instance that was encrypted with a key of the user's own."""
    instance = cloud.find(call.params["InstanceId"])
    encryption = instance.encryption
    if encryption is None or not encryption.custom:
        raise tde_not_supported()
    return {
        "Creator": cloud.account_id,
        "DeleteDate": "",
        "Description": "",
        "EncryptionKey": encryption.key_id,
        "EncryptionKeyStatus": "Enabled",
        "EncryptionName": encryption.algorithm,
        "KeyUsage": "ENCRYPT/DECRYPT",
        "MaterialExpireTime": "",
        "Origin": "Aliyun_KMS",
        "RoleArn": encryption.role_arn,
    }


def _describe_keys(cloud: FakeCloud, call: Call) -> Reply:
    """The keys in use in the instance's region, and one more that is always there."""
    region = cloud.find(call.params["InstanceId"]).region
    used = {each.encryption.key_id for each in cloud.instances.values() if each.encryption and each.region == region}
    return {"KeyIds": {"KeyId": sorted(used | {service_key(region)})}}


def _authorized(cloud: FakeCloud, call: Call) -> Reply:
    cloud.find(call.params["InstanceId"])
    return {"AuthorizationState": cloud.scenario.authorization_state}


def _net_info(cloud: FakeCloud, call: Call) -> Reply:
    return network(cloud.find(call.params["InstanceId"]))


def _regions(cloud: FakeCloud, call: Call) -> Reply:
    names = sorted({*REGIONS, *(each.region for each in cloud.instances.values())})
    regions = [
        {
            "RegionId": name,
            "RegionEndpoint": call.host,
            "LocalName": name,
            "ZoneIds": f"{name}-h",
            "ZoneIdList": {"ZoneId": [f"{name}-h"]},
        }
        for name in names
    ]
    return {"RegionIds": {"KVStoreRegion": regions}}


def _caller(cloud: FakeCloud, call: Call) -> Reply:
    name, kind = (
        ("assumed-role/simulator/session", "AssumedRoleUser") if call.as_role else ("user/simulator", "RAMUser")
    )
    return {
        "AccountId": cloud.account_id,
        "Arn": f"acs:ram::{cloud.account_id}:{name}",
        "UserId": "200000000000000001",
        "PrincipalId": "200000000000000001",
        "IdentityType": kind,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    run: Callable[[FakeCloud, Call], Reply]
    version: str = "2015-01-01"
    of_instance: bool = True  # InstanceId is mandatory


OPERATIONS: Mapping[str, Operation] = {
    "ModifyInstanceAttribute": Operation(run=_modify_attribute),
    "ModifyInstanceTDE": Operation(run=_modify_tde),
    "DescribeInstances": Operation(run=_describe_instances, of_instance=False),
    "DescribeInstanceAttribute": Operation(run=_describe_attribute),
    "DescribeInstanceTDEStatus": Operation(run=_describe_tde),
    "DescribeEncryptionKey": Operation(run=_describe_key),
    "DescribeEncryptionKeyList": Operation(run=_describe_keys),
    "CheckCloudResourceAuthorized": Operation(run=_authorized),
    "DescribeDBInstanceNetInfo": Operation(run=_net_info),
    "DescribeRegions": Operation(run=_regions, of_instance=False),
    "GetCallerIdentity": Operation(run=_caller, version="2015-04-01", of_instance=False),
}
VERSIONS = frozenset(each.version for each in OPERATIONS.values())


def run(cloud: FakeCloud, call: Call) -> Reply:
    """The operation has been carried out; raises a Refusal."""
    operation = OPERATIONS[call.api]
    if operation.of_instance and call.instance_id is None:
        raise missing("InstanceId")
    return operation.run(cloud, call)
