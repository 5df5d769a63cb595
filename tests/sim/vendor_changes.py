"""The rows of what changes an instance, its password, its encryption or its tags."""

from collections.abc import Mapping
from typing import Any

from vendor_rows import (
    BUSY,
    CLASSIC,
    INACTIVE,
    LOCKED,
    NO_TDE,
    OF_A_CHANGE,
    ONE,
    PLAIN,
    PREPAID,
    REGION,
    TAGS,
    TDE_ROLE,
    UNKNOWN,
    Operation,
    Refused,
    bad,
    missing,
    refused_for,
)

KEY: Mapping[str, Any] = {
    "InstanceId": ONE,
    "TDEStatus": "Enabled",
    "EncryptionName": "AES-CTR-256",
    "EncryptionKey": "ad463061-992d-4195-8a94-ed63e5ca5678",
    "RoleArn": TDE_ROLE,
}
SECRET = "uW8+nsrp%&=!@#"
SEVERAL = [{"Key": f"t{number}", "Value": "v"} for number in range(21)]
CHANGES = (
    Operation(
        name="ModifyInstanceAttribute",
        good={
            "InstanceId": ONE,
            "InstanceName": "orders-中文*~",
            "NewPassword": SECRET,
            "InstanceReleaseProtection": True,
        },
        refused=(
            *OF_A_CHANGE,
            Refused(
                code="MissingParameter",
                status=400,
                change={"InstanceName": None, "NewPassword": None, "InstanceReleaseProtection": None},
                name="nothing to change",
            ),
            bad("InstanceName", "1st", "InvalidInstanceName.Malformed"),
            bad("InstanceName", "a b", "InvalidInstanceName.Malformed"),
            bad("InstanceName", "a" * 81, "InvalidInstanceName.Malformed", "too long"),
            bad("NewPassword", "Aa1-567", "InvalidPassword.Malformed", "too short"),
            bad("NewPassword", "a1" * 6, "InvalidPassword.Malformed", "of two classes"),
            bad("NewPassword", "Aa1 5678", "InvalidPassword.Malformed", "with a space"),
            bad("NewPassword", "Aa1" * 11, "InvalidPassword.Malformed", "too long"),
            bad("InstanceReleaseProtection", "perhaps"),
            refused_for(PREPAID, "InvalidParameter", 400, "protection of a subscription"),
        ),
        writes=True,
    ),
    Operation(
        name="ModifyInstanceTDE",
        good=KEY,
        refused=(
            *OF_A_CHANGE,
            NO_TDE,
            *missing("TDEStatus"),
            bad("TDEStatus", "Disabled"),
            bad("EncryptionName", "SM4-128"),
            bad("RoleArn", "acs:ram::1:role/other"),
        ),
        writes=True,
    ),
    Operation(
        name="ResetAccountPassword",
        good={"InstanceId": ONE, "AccountName": ONE, "AccountPassword": SECRET},
        refused=(
            UNKNOWN,
            *missing("InstanceId", "AccountName", "AccountPassword"),
            *(
                Refused(code=code, status=status, change={"InstanceId": each, "AccountName": each})
                for each, code, status in (
                    (BUSY, "TaskExists", 400),
                    (INACTIVE, "IncorrectDBInstanceState", 403),
                    (LOCKED, "IncorrectDBInstanceLockMode", 403),
                    (CLASSIC, "InvalidEngineVersion.Format", 400),
                )
            ),
            bad("AccountName", "1", "InvalidAccountName.Format"),
            bad("AccountPassword", "password", "InvalidAccountPassword.Format"),
        ),
        writes=True,
    ),
    Operation(
        name="TagResources",
        good={"RegionId": REGION, "ResourceType": "INSTANCE", "ResourceId": [ONE, PLAIN], "Tag": TAGS},
        refused=(
            *missing("RegionId", "ResourceType", "ResourceId", "Tag"),
            bad("ResourceType", "CLUSTER"),
            bad("ResourceId", [f"r-{number}" for number in range(51)], why="51"),
            bad("Tag", SEVERAL, why="21"),
            Refused(code="InvalidInstanceId.NotFound", status=404, change={"ResourceId": [ONE, "r-none"]}),
        ),
    ),
)
