"""The suite's own eyes: what a checker cannot see, it does not prove."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from vendor_clients import OLD, SYNC, Heard
from vendor_models import body_class, complaints, from_xml
from vendor_refusals import complaints_about
from vendor_rows import Refused

RIGHT = {
    "RequestId": "5D622714-AEDD-4609-9167-F5DDD3D1EAAA",
    "InstanceNetworkType": "VPC",
    "NetInfoItems": {
        "InstanceNetInfo": [
            {
                "ConnectionString": "r-1.redis.rds.aliyuncs.com",
                "Port": "6379",
                "IPAddress": "10.0.0.1",
                "IPType": "Private",
                "DBInstanceNetType": "2",
                "DirectConnection": 0,
                "IsSlaveProxy": 0,
                "Upgradeable": "True",
                "VPCId": "vpc-1",
                "VSwitchId": "vsw-1",
                "VPCInstanceId": "r-1",
            }
        ]
    },
}


def _complaints(**item: Any) -> list[str]:
    """Complaints about the right reply with these fields of its only item replaced; None: removed."""
    [right] = RIGHT["NetInfoItems"]["InstanceNetInfo"]  # type: ignore[index]  # a literal above
    changed = {name: value for name, value in {**right, **item}.items() if value is not None}
    reply = {**RIGHT, "NetInfoItems": {"InstanceNetInfo": [changed]}}
    return complaints("DescribeDBInstanceNetInfo", reply, may_lack=frozenset({"ExpiredTime"}))


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"IPType": None}, "IPType is missing"),
        ({"IpType": "Private"}, "IpType is not a field of the model"),
        ({"Port": 6379}, "Port is 6379, not <class 'str'>"),
        ({"DirectConnection": True}, "DirectConnection is True, not <class 'int'>"),
        ({"IsSlaveProxy": "0"}, "IsSlaveProxy is '0', not <class 'int'>"),
    ],
)
def test_a_wrong_field_is_seen(item: dict[str, Any], complaint: str) -> None:
    """A field that lacks, is misspelled or has another type is named with its place."""
    assert _complaints() == []
    assert _complaints(**item) == [f"NetInfoItems.InstanceNetInfo.0.{complaint}"]


def test_an_empty_list_is_seen() -> None:
    """A reply without the elements that it is about is no success."""
    found = complaints(
        "DescribeDBInstanceNetInfo", {**RIGHT, "NetInfoItems": {"InstanceNetInfo": []}}, may_lack=frozenset()
    )
    assert found == ["NetInfoItems.InstanceNetInfo is missing"]


def test_xml_is_read_with_the_models_types() -> None:
    """Text becomes the number that the model declares, a repeated element a list; what is no number stays text."""
    root = ET.fromstring(
        "<R><NetInfoItems><InstanceNetInfo><Port>6379</Port><DirectConnection>0</DirectConnection>"
        "<IsSlaveProxy>no</IsSlaveProxy></InstanceNetInfo></NetInfoItems></R>"
    )
    item = {"Port": "6379", "DirectConnection": 0, "IsSlaveProxy": "no"}
    found = from_xml(root, body_class("DescribeDBInstanceNetInfo"))
    assert found == {"NetInfoItems": {"InstanceNetInfo": [item]}}


def test_a_wrong_refusal_is_seen() -> None:
    """Class, code, status, request id and wait are each compared; a reply is no refusal."""
    wanted = Refused(code="Throttling.User", status=400, retry_after=1500)
    right = Heard(
        error="ThrottlingException",
        code="Throttling.User",
        status=400,
        message="Slower.",
        request_id=str(RIGHT["RequestId"]),
        retry_after=1500,
        recommend="https://api.aliyun.com/troubleshoot",
    )
    assert complaints_about(right, wanted, SYNC) == []
    bare = Heard(error="ServerException")
    assert [each.split(":")[0] for each in complaints_about(bare, wanted, SYNC)] == [
        "error", "code", "status", "message", "request id", "retry after", "recommendation",
    ]  # fmt: skip
    assert len(complaints_about(bare, wanted, OLD)) == 4
    assert complaints_about({}, wanted, SYNC) == ["was answered {}"]
