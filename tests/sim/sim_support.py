"""What several suites of the simulator need: a clock that is moved by hand, a small cloud, requests signed by the vendor's code."""

import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from alibabacloud_openapi_util.client import Client as VendorSigner

from batchmod.sim.cloud import FakeCloud, Plane
from batchmod.sim.instances import fleet_ids, make_fleet
from batchmod.sim.scenario import Scenario
from batchmod.sim.service import Service
from batchmod.sim.wire import Keys, Request

KEYS = Keys(access_key_id="LTAI5tTestKey", access_key_secret="testSecret1")
FIRST_PASSWORD = "Aa1initial"


class Clock:
    """Shows the time that it was set to."""

    def __init__(self, now: float = 1_772_600_767.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make_cloud(
    clock: Clock, scenario: Scenario | None = None, *, count: int = 4, speed: float = 1.0, plane: Plane | None = None
) -> FakeCloud:
    scenario = scenario or Scenario()
    fleet = make_fleet(count, scenario, address="127.0.0.1:6379", new_password=lambda: FIRST_PASSWORD)
    return FakeCloud(fleet, scenario=scenario, clock=clock, speed=speed, plane=plane)


def make_service(clock: Clock, scenario: Scenario | None = None, *, keys: Keys = KEYS, count: int = 4) -> Service:
    return Service(make_cloud(clock, scenario, count=count), keys, ids=fleet_ids(count))


def old_style(
    action: str,
    params: Mapping[str, str],
    *,
    at: float,
    keys: Keys = KEYS,
    method: str = "POST",
    version: str = "2015-01-01",
) -> dict[str, str]:
    """All parameters of a V1 request, signed by the vendor's library."""
    query = {
        "Action": action,
        "Version": version,
        "Format": "JSON",
        "AccessKeyId": keys.access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **params,
    }
    return query | {"Signature": VendorSigner.get_rpcsignature(query, method, keys.access_key_secret)}


def request(query: Mapping[str, str], method: str = "POST") -> Request:
    return Request(method=method, headers=(("host", "sim.test"),), query=tuple(query.items()))


def logs_in(address: str, *words: str) -> bool:
    """Whether AUTH with these words is answered OK; only WRONGPASS counts as a no."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        parts = [word.encode() for word in ("AUTH", *words)]
        connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in parts))
        with connection.makefile("rb") as replies:
            answer = replies.readline()
    assert answer == b"+OK\r\n" or answer.startswith(b"-WRONGPASS"), answer
    return answer == b"+OK\r\n"
