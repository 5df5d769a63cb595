"""The operations that only read one instance, or none."""

from typing import Any

from batchmod.sim.calls import Call, instance_of
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import refused
from batchmod.sim.instances import service_key
from batchmod.sim.views import described, network

Reply = dict[str, Any]


def describe_attribute(cloud: FakeCloud, call: Call) -> Reply:
    instance = instance_of(cloud, call)
    return {"Instances": {"DBInstanceAttribute": [described(instance, cloud.status(instance))]}}


def describe_tde(cloud: FakeCloud, call: Call) -> Reply:
    instance = instance_of(cloud, call)
    if not instance.support_tde:
        raise refused("InstanceType.NotSupport")
    return {"TDEStatus": "Enabled" if instance.encryption else "Disabled"}


def describe_key(cloud: FakeCloud, call: Call) -> Reply:
    """Only for an instance that was encrypted with a key of the user's own."""
    encryption = instance_of(cloud, call).encryption
    if encryption is None or not encryption.custom:
        raise refused("InstanceType.NotSupport")
    return {
        "Creator": call.account_id,
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


def describe_keys(cloud: FakeCloud, call: Call) -> Reply:
    """The account's keys in use in the instance's region, and one more that is always there."""
    region = instance_of(cloud, call).region
    used = {each.encryption.key_id for each in cloud.lanes.of(call.account_id, region) if each.encryption}
    return {"KeyIds": {"KeyId": sorted(used | {service_key(region)})}}


def authorized(cloud: FakeCloud, call: Call) -> Reply:
    instance_of(cloud, call)
    return {"AuthorizationState": cloud.scenario.authorization_state}


def net_info(cloud: FakeCloud, call: Call) -> Reply:
    instance = instance_of(cloud, call)
    return network(instance, cloud.status(instance))


def regions(cloud: FakeCloud, call: Call) -> Reply:
    """All regions, with the endpoint of each; where they have none of their own, the one that was asked."""
    found = [
        {
            "RegionId": name,
            "RegionEndpoint": cloud.endpoints.get(name, call.host),
            "LocalName": name,
            "ZoneIds": f"{name}-h",
            "ZoneIdList": {"ZoneId": [f"{name}-h"]},
        }
        for name in cloud.regions
    ]
    return {"RegionIds": {"KVStoreRegion": found}}
