"""How an instance looks in the replies of each operation. Field names and types are those of the vendor's models."""

from typing import Any

from batchmod.sim.instances import Instance

NONE_IN_LIST = frozenset(  # what DescribeInstanceAttribute does not say of an instance
    {
        "ConnectionMode",
        "DestroyTime",
        "EditionType",
        "QuotaCount",
        "ReplacateId",
        "ShardClass",
        "UsedCount",
        "UserName",
        "WorkspaceId",
    }
)


def listed(each: Instance, status: str) -> dict[str, Any]:
    """One element of DescribeInstances: no release protection, TDE support or password-free switch here."""
    return {
        **_placement(each, status),
        "InstanceId": each.id,
        "InstanceName": each.name,
        "InstanceStatus": status,
        "InstanceType": each.instance_type,
        "EditionType": each.edition,
        "EngineVersion": each.engine_version,
        "InstanceClass": each.instance_class,
        "ArchitectureType": each.architecture,
        "NodeType": each.node_type,
        "ChargeType": each.charge_type,
        "CreateTime": each.create_time,
        "EndTime": each.end_time,
        "DestroyTime": "",
        "HasRenewChangeOrder": False,
        "PackageType": "standard",
        "ComputingType": "",
        "CloudType": "",
        "IsRds": False,
        "Config": "{}",
        "UserName": each.id,
        "GlobalInstanceId": "gr-sim" if each.in_global else "",
        "ReplacateId": "",
        "ResourceGroupId": each.resource_group,
        "WorkspaceId": "",
        "Tags": {"Tag": [{"Key": key, "Value": value} for key, value in sorted(each.tags.items())]},
        **_size(each),
    }


def _placement(each: Instance, status: str) -> dict[str, Any]:
    """Where it is, and how it is reached."""
    in_vpc = each.network_type == "VPC"
    return {
        "RegionId": each.region,
        "ZoneId": each.zone,
        "SecondaryZoneId": each.secondary_zone,
        "NetworkType": each.network_type,
        "VpcId": each.vpc_id if in_vpc else "",
        "VSwitchId": each.vswitch_id if in_vpc else "",
        "PrivateIp": each.private_ip,
        "ConnectionDomain": each.host if each.listed_address and each.is_reachable(status) else "",
        "Port": each.port,
        "ConnectionMode": "Standard",
    }


def _size(each: Instance) -> dict[str, Any]:
    return {
        "Capacity": 1024 * each.shard_count,
        "Bandwidth": 96 * each.shard_count,
        "Connections": 10_000 * each.shard_count,
        "QPS": 100_000 * each.shard_count,
        "ShardCount": each.shard_count,
        "ShardClass": each.instance_class,
        "ReplicaCount": 1,
        "SlaveReplicaCount": 0,
        "ReadOnlyCount": "0",
        "SlaveReadOnlyCount": 0,
        "QuotaCount": 0,
        "UsedCount": 0,
    }


def described(each: Instance, status: str) -> dict[str, Any]:
    """The one element of DescribeInstanceAttribute. Two fields have other types than in the list."""
    shared = {name: value for name, value in listed(each, status).items() if name not in NONE_IN_LIST}
    return shared | {
        "HasRenewChangeOrder": "false",
        "ReadOnlyCount": 0,
        "Engine": "Redis",
        "InstanceReleaseProtection": each.release_protection,
        "IsSupportTDE": each.support_tde,
        "IsOrderCompleted": each.order_completed,
        "VpcAuthMode": "Close" if each.password_free else "Open",
        "VpcCloudInstanceId": each.id,
        "MaintainStartTime": "18:00Z",
        "MaintainEndTime": "22:00Z",
        "SecurityIPList": "127.0.0.1",
        "AuditLogRetention": "0",
        "AvailabilityValue": "100.0%",
        "BackupLogStartTime": "",
        "RealInstanceClass": each.instance_class,
        "ReplicaId": "",
        "ReplicationMode": "master-slave",
        "Storage": "",
        "StorageType": "LOCAL_SSD",
        "ZoneType": "doublezone" if each.secondary_zone else "singlezone",
        "AutoSecondaryZone": False,
    }


def network(each: Instance, status: str) -> dict[str, Any]:
    """The reply of DescribeDBInstanceNetInfo: one private address, which of a cluster is the proxy's; before it a
    cluster's direct one. None while the instance is being made.
    """
    directs = (1, 0) if each.architecture == "cluster" else (0,)
    items = [_net_item(each, direct) for direct in directs] if each.is_reachable(status) else []
    return {"InstanceNetworkType": each.network_type, "NetInfoItems": {"InstanceNetInfo": items}}


def _net_item(each: Instance, direct: int) -> dict[str, Any]:
    in_vpc = each.network_type == "VPC"
    return {
        "ConnectionString": each.host,
        "Port": str(each.port),
        "IPAddress": each.private_ip,
        "IPType": "Private" if in_vpc else "Inner",
        "DBInstanceNetType": "2" if in_vpc else "1",
        "DirectConnection": direct,
        "VPCId": each.vpc_id if in_vpc else "",
        "VSwitchId": each.vswitch_id if in_vpc else "",
        "VPCInstanceId": each.id if in_vpc else "",
        "ExpiredTime": "",
        "Upgradeable": "False",
        "IsSlaveProxy": 0,
    }
