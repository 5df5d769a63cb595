"""How an instance looks in the replies of each operation. Field names and types are the vendor's."""

from typing import Any

from batchmod.sim.instances import Instance

VPC_ID, VSWITCH_ID = "vpc-sim", "vsw-sim"


def listed(each: Instance, status: str) -> dict[str, Any]:
    """One element of DescribeInstances: no release protection, TDE support or password-free switch here."""
    host, _, port = each.address.rpartition(":")
    return {
        "InstanceId": each.id,
        "InstanceName": each.name,
        "InstanceStatus": status,
        "RegionId": each.region,
        "ZoneId": f"{each.region}-h",
        "InstanceType": "Tair" if each.edition == "Enterprise" else "Redis",
        "EditionType": each.edition,
        "EngineVersion": each.engine_version,
        "InstanceClass": "redis.amber.master.small.multithread",
        "ArchitectureType": "standard",
        "NodeType": "double",
        "ChargeType": each.charge_type,
        "NetworkType": "VPC",
        "VpcId": VPC_ID,
        "VSwitchId": VSWITCH_ID,
        "PrivateIp": host,
        "ConnectionDomain": host,
        "Port": int(port),
        "ConnectionMode": "Standard",
        "UserName": each.id,
        "Capacity": 1024,
        "Bandwidth": 96,
        "Connections": 10000,
        "QPS": 100000,
        "CreateTime": "2024-01-01T00:00:00Z",
        "IsRds": False,
        "PackageType": "standard",
        "HasRenewChangeOrder": False,
        "ResourceGroupId": "rg-sim",
        "ShardCount": 1,
        "Tags": {"Tag": [{"Key": key, "Value": value} for key, value in sorted(each.tags.items())]},
    }


def described(each: Instance, status: str) -> dict[str, Any]:
    """The one element of DescribeInstanceAttribute."""
    return listed(each, status) | {
        "Engine": "Redis",
        "InstanceReleaseProtection": each.release_protection,
        "IsSupportTDE": each.support_tde,
        "IsOrderCompleted": True,
        "VpcAuthMode": "Close" if each.password_free else "Open",
        "MaintainStartTime": "18:00Z",
        "MaintainEndTime": "22:00Z",
        "SecurityIPList": "127.0.0.1",
    }


def network(each: Instance) -> dict[str, Any]:
    """The reply of DescribeDBInstanceNetInfo: one private address."""
    host, _, port = each.address.rpartition(":")
    item = {
        "ConnectionString": host,
        "Port": port,
        "IPAddress": host,
        "IPType": "Private",
        "DBInstanceNetType": "2",
        "DirectConnection": 0,
        "VPCId": VPC_ID,
        "VSwitchId": VSWITCH_ID,
        "VPCInstanceId": each.id,
    }
    return {"InstanceNetworkType": "VPC", "NetInfoItems": {"InstanceNetInfo": [item]}}
