"""What several suites of the simulator need: a clock that is moved by hand, a small cloud, requests signed by the vendor's code."""

import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from alibabacloud_openapi_util.client import Client as VendorSigner

from batchmod.sim.calls import Call
from batchmod.sim.cloud import FakeCloud, Plane
from batchmod.sim.faultfile import parse
from batchmod.sim.fleet import fleet_ids, make_fleet
from batchmod.sim.keyring import USER, Keyring
from batchmod.sim.operations import run
from batchmod.sim.ram import Principal
from batchmod.sim.scenario import Scenario
from batchmod.sim.service import Answer, Service
from batchmod.sim.wire import Keys, Request

KEYS = Keys(access_key_id="LTAI5tTestKey", access_key_secret="testSecret1")
FIRST_PASSWORD = "Aa1initial"
ONE, TWO, THREE, FOUR = (f"r-sim00000{number}" for number in range(4))
STS = ("AssumeRole", "GetCallerIdentity")


class Clock:
    """Shows the time that it was set to."""

    def __init__(self, now: float = 1_772_600_767.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def keys_of(account_id: str) -> Keys:
    """The key of an account that is not the main one."""
    return Keys(access_key_id=f"LTAI5tOf{account_id}", access_key_secret=f"secretOf{account_id}")


def make_cloud(
    clock: Clock,
    scenario: Scenario | None = None,
    *,
    keys: Keys = KEYS,
    count: int = 4,
    speed: float = 1.0,
    plane: Plane | None = None,
) -> FakeCloud:
    scenario = scenario or Scenario()
    fleet = make_fleet(count, scenario, address="127.0.0.1:6379", new_password=lambda: FIRST_PASSWORD)
    users = {account: keys if account == scenario.main_account else keys_of(account) for account in scenario.accounts}
    keyring = Keyring(users, clock=clock, limits=scenario.key_limits)
    return FakeCloud(fleet, scenario=scenario, keyring=keyring, clock=clock, speed=speed, plane=plane)


def make_service(clock: Clock, scenario: Scenario | None = None, *, keys: Keys = KEYS, count: int = 4) -> Service:
    return Service(make_cloud(clock, scenario, keys=keys, count=count), ids=fleet_ids(count))


def ask(cloud: FakeCloud, api: str, *, region: str | None = None, **params: str) -> dict[str, Any]:
    """The reply to the main account's user, straight from the operation; raises its Refusal."""
    caller = Principal(account_id=cloud.account_id, name=USER)
    return run(cloud, Call(api=api, params=params, principal=caller, host="h", region=region))


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


class Caller:
    """Calls a service of its own at the hour of its own clock, by default with the main account's key."""

    def __init__(self, faults: str = "", *, count: int = 4) -> None:
        self.clock = Clock()
        self.service: Service = make_service(self.clock, parse(faults, "faults"), count=count)
        self.cloud = self.service.cloud

    def send(self, action: str, params: Mapping[str, str], *, keys: Keys = KEYS, at: str | None = None) -> Answer:
        """`keys` with their token, if they have one; `at`: the region whose endpoint is called."""
        token = {"SecurityToken": keys.session_token} if keys.session_token else {}
        version = "2015-04-01" if action in STS else "2015-01-01"
        signed = old_style(action, {**token, **params}, at=self.clock.now, keys=keys, version=version)
        return self.service.handle(request(signed), at)

    def __call__(
        self, action: str, instance_id: str | None = None, *, keys: Keys = KEYS, at: str | None = None, **params: str
    ) -> Answer:
        named = {"InstanceId": instance_id} if instance_id else {}
        return self.send(action, named | params, keys=keys, at=at)

    def code(self, action: str, instance_id: str | None = None, *, keys: Keys = KEYS, **params: str) -> str:
        return str(self(action, instance_id, keys=keys, **params).fields.get("Code", "OK"))

    def rename(self, instance_id: str = ONE, *, keys: Keys = KEYS) -> str:
        return self.code("ModifyInstanceAttribute", instance_id, keys=keys, InstanceName="renamed")

    def ids(self, *, keys: Keys = KEYS, at: str | None = None, **params: str) -> list[str]:
        """What DescribeInstances lists."""
        fields = self("DescribeInstances", keys=keys, at=at, **params).fields
        return [each["InstanceId"] for each in fields["Instances"]["KVStoreInstance"]]

    def assume(self, arn: str, *, keys: Keys = KEYS, **params: str) -> Keys:
        """The temporary keys of a session called `tester`."""
        given = self("AssumeRole", keys=keys, RoleArn=arn, RoleSessionName="tester", **params).fields["Credentials"]
        return Keys(
            access_key_id=given["AccessKeyId"],
            access_key_secret=given["AccessKeySecret"],
            session_token=given["SecurityToken"],
        )


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
