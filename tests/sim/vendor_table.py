"""The table: each operation with its good call, what that gives, and each refusal that is documented of it."""

from vendor_changes import CHANGES, KEY, SEVERAL
from vendor_rows import (
    ACCOUNT,
    NO_TDE,
    OF_AN_INSTANCE,
    ONE,
    PLAIN,
    PREPAID,
    REGION,
    ROLE,
    TAGS,
    TDE_ROLE,
    Operation,
    Refused,
    bad,
    missing,
    refused_for,
)

READS = (
    Operation(
        name="DescribeInstances",
        good={"RegionId": REGION, "Tag": TAGS[1:], "PageSize": 50},
        gives={
            "TotalCount": 1,
            "PageSize": 50,
            "PageNumber": 1,
            "Instances.KVStoreInstance.0.InstanceId": ONE,
            "Instances.KVStoreInstance.0.Tags.Tag": TAGS,
        },
        refused=(
            bad("InstanceIds", ",".join(f"r-{number}" for number in range(31)), "InvalidInstanceIds.Malformed", "31"),
            bad("InstanceIds", f"{ONE},,{PLAIN}", "InvalidInstanceIds.Malformed", "with a gap"),
            bad("PageSize", 51),
            bad("PageNumber", 0),
            bad("Tag", SEVERAL[:6], why="six"),
        ),
    ),
    Operation(
        name="DescribeInstanceAttribute",
        good={"InstanceId": ONE},
        gives={
            f"Instances.DBInstanceAttribute.0.{name}": value
            for name, value in {
                "InstanceId": ONE,
                "InstanceStatus": "Normal",
                "ChargeType": "PostPaid",
                "EngineVersion": "7.0",
                "InstanceReleaseProtection": False,
                "IsSupportTDE": True,
                "IsOrderCompleted": True,
                "VpcAuthMode": "Open",
                "Tags.Tag": TAGS,
            }.items()
        },
        refused=OF_AN_INSTANCE,
    ),
    Operation(
        name="DescribeInstanceTDEStatus",
        good={"InstanceId": ONE},
        gives={"TDEStatus": "Disabled"},
        refused=(*OF_AN_INSTANCE, NO_TDE),
    ),
    Operation(
        name="DescribeEncryptionKey",
        good={"InstanceId": ONE},
        before=(("ModifyInstanceTDE", KEY),),
        gives={
            "EncryptionKey": KEY["EncryptionKey"],
            "EncryptionKeyStatus": "Enabled",
            "EncryptionName": "AES-CTR-256",
            "KeyUsage": "ENCRYPT/DECRYPT",
            "Origin": "Aliyun_KMS",
            "RoleArn": TDE_ROLE,
        },
        refused=(*OF_AN_INSTANCE, NO_TDE, refused_for(PREPAID, "InstanceType.NotSupport", 400, "TDE is off")),
    ),
    Operation(
        name="DescribeEncryptionKeyList",
        good={"InstanceId": ONE},
        before=(("ModifyInstanceTDE", KEY),),
        refused=OF_AN_INSTANCE,
    ),
    Operation(
        name="CheckCloudResourceAuthorized",
        good={"InstanceId": ONE, "RoleArn": TDE_ROLE},
        gives={"AuthorizationState": 1},
        refused=OF_AN_INSTANCE,
    ),
    Operation(
        name="DescribeDBInstanceNetInfo",
        good={"InstanceId": ONE},
        gives={
            "InstanceNetworkType": "VPC",
            "NetInfoItems.InstanceNetInfo.0.IPType": "Private",
            "NetInfoItems.InstanceNetInfo.0.DBInstanceNetType": "2",
        },
        refused=OF_AN_INSTANCE,
    ),
    Operation(
        name="DescribeAccounts",
        good={"InstanceId": ONE},
        gives={"Accounts.Account.0.AccountName": ONE, "Accounts.Account.0.AccountStatus": "Available"},
        may_lack=frozenset({"Parameters"}),  # documented nowhere
        refused=OF_AN_INSTANCE,
    ),
    Operation(
        name="ListTagResources",
        good={"RegionId": REGION, "ResourceType": "INSTANCE", "ResourceId": [ONE], "Tag": TAGS[:1]},
        gives={
            "TagResources.TagResource": [
                {"ResourceId": ONE, "ResourceType": "INSTANCE", "TagKey": each["Key"], "TagValue": each["Value"]}
                for each in TAGS
            ],
            "NextToken": "",
        },
        refused=(
            *missing("RegionId", "ResourceType"),
            Refused(code="MissingParameter", status=400, change={"ResourceId": None, "Tag": None}, name="a choice"),
            bad("ResourceType", "CLUSTER"),
            bad("NextToken", "not one of ours"),
        ),
    ),
    Operation(name="DescribeRegions", gives={"RegionIds.KVStoreRegion.0.RegionId": REGION}),
)
STS = (
    Operation(
        name="AssumeRole",
        good={"RoleArn": ROLE, "RoleSessionName": "suite@1", "DurationSeconds": 1800},
        gives={"AssumedRoleUser.Arn": f"{ROLE}/suite@1"},
        may_lack=frozenset({"SourceIdentity"}),  # none was given
        refused=(
            Refused(code="MissingRoleArn", status=400, change={"RoleArn": None}),
            Refused(code="MissingRoleSessionName", status=400, change={"RoleSessionName": None}),
            bad("RoleArn", "redis-operator", "InvalidParameter.RoleArn"),
            bad("RoleSessionName", "a b", "InvalidParameter.RoleSessionName"),
            bad("DurationSeconds", 899, "InvalidParameter.DurationSeconds"),
            bad("DurationSeconds", 3601, "InvalidParameter.DurationSeconds"),
            bad("Policy", "{", "InvalidParameter.PolicyGrammar"),
            bad("Policy", "{}" + " " * 2048, "InvalidParameter.PolicySize", "too long"),
            Refused(code="EntityNotExist.Role", status=404, change={"RoleArn": f"acs:ram::{ACCOUNT}:role/none"}),
            Refused(code="NoPermission", status=403, change={"RoleArn": f"acs:ram::{ACCOUNT}:role/foreign"}),
        ),
    ),
    Operation(
        name="GetCallerIdentity",
        gives={"AccountId": ACCOUNT},
        may_lack=frozenset({"RoleId", "UserId"}),  # of a user the one, of a role the other
    ),
)
OPERATIONS = (*CHANGES, *READS, *STS)
