"""The HTTP skin and the data plane: real sockets on loopback, a real Valkey."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from login_support import Authority
from sim_support import logs_in, old_style

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import SimError
from batchmod.sim.server import Running, SimOptions, running
from batchmod.sim.wire import Keys

ONE, TWO = "r-sim000000", "r-sim000001"
OLD, NEW = "uW8+nsrp", "x9=K_new%&"
Start = Callable[[str], AbstractAsyncContextManager["Sim"]]


class Sim:
    """A running simulator and a signed way to it."""

    def __init__(self, sim: Running, session: aiohttp.ClientSession) -> None:
        self.running = sim
        self.session = session

    async def send(
        self, action: str, *, form: bool = False, keys: Keys | None = None, url: str | None = None, **params: str
    ) -> aiohttp.ClientResponse:
        """To the main endpoint with the main account's key, unless others are given."""
        main = Keys(access_key_id=self.running.access_key_id, access_key_secret=self.running.access_key_secret)
        signed = old_style(action, params, at=self.running.cloud.now(), keys=keys or main)
        if form:
            return await self.session.post(url or self.running.endpoint, data=signed)
        return await self.session.post(url or self.running.endpoint, params=signed)

    async def ask(self, action: str, **params: str) -> dict[str, Any]:
        async with await self.send(action, form=False, keys=None, url=None, **params) as response:
            fields: dict[str, Any] = await response.json()
            return fields

    def logs_in(self, *words: str) -> bool:
        return logs_in(self.running.data_plane, *words)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A simulator of four instances at speed 20 that follows the given fault file."""

    @asynccontextmanager
    async def started(faults: str) -> AsyncIterator[Sim]:
        path = tmp_path / "faults.yaml"
        path.write_text(faults, encoding="utf-8")
        options = SimOptions(instances=4, faults=path, speed=20)
        async with running(options) as sim, aiohttp.ClientSession() as session:
            yield Sim(sim, session)

    return started


async def next_thing(cloud: FakeCloud) -> None:
    """Returns when what is due next in the cloud has happened, by the simulator's own clockwork."""
    due = cloud.next_due()
    if due is None:
        return
    happened = asyncio.Event()
    cloud.schedule(due, happened.set)
    async with asyncio.timeout(5):
        await happened.wait()


async def test_a_password_really_changes(start: Start) -> None:
    """Until the task ends the old password logs in and the new does not; then, unasked, the other way round."""
    faults = f"instances: {{{ONE}: {{password: '{OLD}'}}}}\ndurations: {{password: 6}}"
    async with start(faults) as sim:
        assert (sim.logs_in(ONE, OLD), sim.logs_in(ONE, NEW), sim.logs_in(TWO, OLD)) == (True, False, False)
        assert (await sim.ask("ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)).keys() == {"RequestId"}
        assert (sim.logs_in(ONE, OLD), sim.logs_in(ONE, NEW)) == (True, False)
        await next_thing(sim.running.cloud)
        assert (sim.logs_in(ONE, OLD), sim.logs_in(ONE, NEW), sim.logs_in(TWO, NEW)) == (False, True, False)
        assert sim.running.cloud.passwords[ONE] == NEW


async def test_before_six_a_login_is_one_text(start: Start) -> None:
    """An old instance knows id:password only, and its change leaves other logins alone."""
    faults = f"""instances:
      {ONE}: {{engine_version: "5.0", password: '{OLD}'}}
      {TWO}: {{engine_version: "4.0", password: '{OLD}'}}"""
    async with start(faults) as sim:
        assert (sim.logs_in(f"{ONE}:{OLD}"), sim.logs_in(ONE, OLD), sim.logs_in(OLD)) == (True, False, False)
        await sim.ask("ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)
        await next_thing(sim.running.cloud)
        assert (sim.logs_in(f"{ONE}:{OLD}"), sim.logs_in(f"{ONE}:{NEW}")) == (False, True)
        assert sim.logs_in(f"{TWO}:{OLD}")


async def test_password_free_takes_any_password(start: Start) -> None:
    """A wrong password logs in to a password-free instance, before and after a change, and to no other."""
    async with start(f"instances: {{{ONE}: {{password_free: true}}}}") as sim:
        assert (sim.logs_in(ONE, "anything"), sim.logs_in(TWO, "anything")) == (True, False)
        seen = [await sim.ask("DescribeInstanceAttribute", InstanceId=each) for each in (ONE, TWO)]
        assert [each["Instances"]["DBInstanceAttribute"][0]["VpcAuthMode"] for each in seen] == ["Close", "Open"]
        await sim.ask("ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)
        await next_thing(sim.running.cloud)
        assert sim.logs_in(ONE, "anything")


async def test_without_a_password_nothing_is_allowed(start: Start) -> None:
    """A fresh connection may do nothing, and a login opens no data and no administration."""
    async with start(f"instances: {{{ONE}: {{password: '{OLD}'}}}}") as sim:
        host, port = sim.running.data_plane.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        heard = []
        for line in ("PING", f"AUTH {ONE} {OLD}", "PING", "GET key", "ACL LIST", "CLIENT KILL TYPE normal"):
            writer.write(f"{line}\r\n".encode())
            heard.append((await reader.readline()).split()[0])
        writer.close()
        await writer.wait_closed()
        assert heard == [b"-NOAUTH", b"+OK", b"+PONG", b"-NOPERM", b"-NOPERM", b"-NOPERM"]


async def test_a_vanished_instance_has_no_login(start: Start) -> None:
    """What the service does not know any more cannot be logged in to."""
    async with start(f"instances: {{{ONE}: {{password: '{OLD}', vanish_after: 1}}}}") as sim:
        assert sim.logs_in(ONE, OLD)
        await next_thing(sim.running.cloud)
        assert (await sim.ask("DescribeInstanceAttribute", InstanceId=ONE))["Code"] == "InvalidInstanceId.NotFound"
        assert not sim.logs_in(ONE, OLD)


async def test_a_reset_password_really_logs_in(start: Start) -> None:
    """ResetAccountPassword changes what Valkey accepts, before 6.0 in the old form."""
    faults = f"""instances:
      {ONE}: {{password: '{OLD}'}}
      {TWO}: {{engine_version: "4.0", password: '{OLD}'}}"""
    async with start(faults) as sim:
        for each in (ONE, TWO):
            answer = await sim.send("ResetAccountPassword", InstanceId=each, AccountName=each, AccountPassword=NEW)
            assert answer.status == 200
            await next_thing(sim.running.cloud)
        assert (sim.logs_in(ONE, OLD), sim.logs_in(ONE, NEW)) == (False, True)
        assert (sim.logs_in(f"{TWO}:{OLD}"), sim.logs_in(f"{TWO}:{NEW}")) == (False, True)


ACCOUNTS = 'accounts: {"1234567890123456": {}, "2222333344445555": {}}'


async def test_every_account_has_a_key_that_can_be_revoked(start: Start) -> None:
    """The first is the main one's; a revoked key is inactive, the other still served."""
    async with start(ACCOUNTS) as sim:
        main, other = sim.running.accounts.values()
        assert (main.access_key_id, main.access_key_secret) == (
            sim.running.access_key_id,
            sim.running.access_key_secret,
        )
        listed = await (await sim.send("DescribeInstances", keys=other)).json()
        assert [each["InstanceId"] for each in listed["Instances"]["KVStoreInstance"]] == ["r-sim000002", "r-sim000003"]
        sim.running.revoke("2222333344445555")
        refused = await (await sim.send("DescribeRegions", keys=other)).json()
        assert refused["Code"] == "InvalidAccessKeyId.Inactive"
        assert (await sim.send("DescribeRegions", keys=main)).status == 200
        with pytest.raises(SimError, match="no account 1"):
            sim.running.revoke("1")


async def test_no_repr_of_a_running_simulator_holds_a_secret(start: Start) -> None:
    """Nor does its truth."""
    async with start(ACCOUNTS) as sim:
        text = repr(sim.running) + repr(sim.running.cloud.state())
        assert not any(keys.access_key_secret in text for keys in sim.running.accounts.values())


async def test_every_region_has_its_port(start: Start) -> None:
    """There only its own instances are seen; DescribeRegions names each port, wherever it is asked."""
    async with start("regional_endpoints: true\ninstances: {r-sim000003: {region: eu-west-1}}") as sim:
        urls = sim.running.endpoints
        assert sorted(urls) == ["cn-hangzhou", "cn-shanghai", "eu-west-1"]
        assert len({sim.running.endpoint, *urls.values()}) == 4
        for asked in (None, urls["eu-west-1"]):
            found = (await (await sim.send("DescribeRegions", url=asked)).json())["RegionIds"]["KVStoreRegion"]
            assert {each["RegionId"]: f"http://{each['RegionEndpoint']}" for each in found} == urls
        seen = {region: await (await sim.send("DescribeInstances", url=url)).json() for region, url in urls.items()}
        assert {region: each["TotalCount"] for region, each in seen.items()} == {
            "cn-hangzhou": 2,
            "cn-shanghai": 1,
            "eu-west-1": 1,
        }
        assert (await sim.ask("DescribeInstances"))["TotalCount"] == 4
        stranger = await sim.send("DescribeInstanceAttribute", url=urls["eu-west-1"], InstanceId=ONE)
        assert (await stranger.json())["Code"] == "InvalidInstanceId.NotFound"


async def test_without_ports_of_their_own_regions_share_the_one(start: Start) -> None:
    """DescribeRegions names the endpoint that was asked."""
    async with start("{}") as sim:
        found = (await sim.ask("DescribeRegions"))["RegionIds"]["KVStoreRegion"]
        assert {f"http://{each['RegionEndpoint']}" for each in found} == {sim.running.endpoint}
        assert (sim.running.endpoints, len(sim.running.accounts)) == ({}, 1)


async def test_query_and_form_are_one(start: Start) -> None:
    """A form body serves as well as the query, passwords with every special character included."""
    async with start("lag: 0\ndurations: {password: 0}") as sim:
        nasty = "aA1!@#$%^&*()_+-="
        for form in (False, True):
            response = await sim.send("ModifyInstanceAttribute", form=form, InstanceId=ONE, NewPassword=nasty)
            assert response.status == 200, await response.text()
            assert sim.running.cloud.passwords[ONE] == nasty


async def test_xml_on_request(start: Start) -> None:
    """Format=XML answers results and errors as the vendor's XML, lists as repeated elements."""
    async with start("{}") as sim:
        response = await sim.send("DescribeInstances", Format="XML")
        assert response.headers["Content-Type"] == "text/xml;charset=utf-8"
        root = ET.fromstring(await response.text())
        assert root.tag == "DescribeInstancesResponse"
        assert len(root.findall("Instances/KVStoreInstance")) == 4
        assert root.findtext("Instances/KVStoreInstance/Tags/Tag/Key") == "env"
        root = ET.fromstring(await (await sim.send("DescribeInstanceAttribute", Format="XML", InstanceId="r-x")).text())
        assert (root.tag, root.findtext("Code")) == ("Error", "InvalidInstanceId.NotFound")


async def test_the_clock_of_the_cloud_is_shown(start: Start) -> None:
    """The Date header follows the scripted offset, and so does the check of signatures."""
    async with start("clock_offset: 3600") as sim:
        response = await sim.send("DescribeRegions")
        assert response.status == 200
        shown = parsedate_to_datetime(response.headers["Date"]).timestamp()
        assert abs(shown - time.time() - 3600) < 60
        local = old_style("DescribeRegions", {}, at=time.time())
        async with sim.session.post(sim.running.endpoint, params=local) as refused:
            assert (await refused.json())["Code"] == "InvalidTimeStamp.Expired"


async def test_retry_after_is_a_header(start: Start) -> None:
    """A throttled reply says in milliseconds how long to wait, when the fault file says so."""
    async with start("retry_after: true\nquotas: {DescribeRegions: 1/60s}") as sim:
        assert "x-acs-retry-after" not in (await sim.send("DescribeRegions")).headers
        assert 0 < int((await sim.send("DescribeRegions")).headers["x-acs-retry-after"]) <= 3000


@pytest.mark.parametrize(
    "fault", ["reset_before", "reset_after", "{fault: hang, seconds: 0.01}", "{fault: late, seconds: 60}"]
)
async def test_a_reset_is_a_reset(start: Start, fault: str) -> None:
    """The client gets no byte of an answer; the next call on a new connection is answered."""
    async with start(f"scripts: [{{play: [{fault}]}}]") as sim:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await sim.send("DescribeRegions")
        assert (await sim.send("DescribeRegions")).status == 200


async def test_a_truncated_answer_ends_early(start: Start) -> None:
    """Status 200, a part of the body, then the end: the client notices."""
    async with start("scripts: [{play: [truncated]}]") as sim:
        response = await sim.send("DescribeRegions")
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_garbled_answer_is_no_json(start: Start) -> None:
    """Status 200 and a complete body that cannot be parsed."""
    async with start("scripts: [{play: [garbled]}]") as sim:
        response = await sim.send("DescribeRegions")
        text = await response.text()
        assert (response.status, text[0]) == (200, "{")
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


@pytest.mark.parametrize(
    ("fault", "status", "kind"), [("html_502", 502, "text/html"), ("http_500", 500, "application/json")]
)
async def test_gateways_and_services_fail_differently(start: Start, fault: str, status: int, kind: str) -> None:
    """A 502 is somebody's HTML page, a 500 is the vendor's envelope."""
    async with start(f"scripts: [{{play: [{fault}]}}]") as sim:
        response = await sim.send("DescribeRegions")
        assert (response.status, response.content_type) == (status, kind)


async def test_a_slow_answer_is_a_whole_one(start: Start) -> None:
    """The answer comes after its time, and not before."""
    async with start("scripts: [{play: [{fault: slow, seconds: 0.05}]}]") as sim:
        began = asyncio.get_running_loop().time()
        assert (await sim.send("DescribeRegions")).status == 200
        assert asyncio.get_running_loop().time() - began >= 0.05


async def test_the_truth_is_served_without_a_password(start: Start) -> None:
    """/_sim/state and /_sim/calls show what happened; no password that ever was is in them."""
    async with start(f"instances: {{{ONE}: {{password: '{OLD}'}}}}\nlag: 0\ndurations: {{password: 0}}") as sim:
        await sim.ask("ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)
        state = await (await sim.session.get(f"{sim.running.endpoint}/_sim/state")).text()
        calls = await (await sim.session.get(f"{sim.running.endpoint}/_sim/calls")).text()
        assert json.loads(state)["instances"][ONE]["password_generation"] == 1
        assert json.loads(state)["calls"] == {"ModifyInstanceAttribute": {"OK": 1}}
        assert json.loads(calls)[0] | {"at": 0} == {
            "at": 0,
            "api": "ModifyInstanceAttribute",
            "account": "1234567890123456",
            "instance": ONE,
            "code": "OK",
            "fault": None,
        }
        assert not any(secret in state + calls for secret in (OLD, NEW, sim.running.access_key_secret))


async def test_what_hangs_does_not_hold_the_end(start: Start) -> None:
    """A simulator with a hanging call stops at once."""
    faults = "scripts: [{play: [{fault: hang, seconds: 600}]}]"
    arrived = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group, start(faults) as sim:

        async def hanging() -> None:
            with pytest.raises(aiohttp.ClientError):
                await sim.send("DescribeRegions")

        sim.running.cloud.schedule(0, arrived.set)  # comes true with the first call
        group.create_task(hanging())
        await arrived.wait()


@pytest.mark.parametrize(
    "options",
    [
        SimOptions(speed=0),
        SimOptions(speed=float("nan")),
        SimOptions(instances=-1),
        SimOptions(port=70000),
        SimOptions(faults=Path("/nowhere/faults.yaml")),
    ],
)
async def test_options_out_of_range_are_refused(options: SimOptions) -> None:
    """Nothing is started for options that make no sense."""
    with pytest.raises(SimError):
        async with running(options):
            pass


async def test_a_taken_port_is_a_clear_complaint(start: Start) -> None:
    """A port that somebody else has is named."""
    async with start("{}") as sim:
        port = int(sim.running.endpoint.rpartition(":")[2])
        with pytest.raises(SimError, match=f"port {port}: "):
            async with running(SimOptions(port=port)):
                pass


async def test_one_cloud_behind_a_plain_and_a_tls_port(tmp_path: Path) -> None:
    """The port speaks TLS with the given certificate and nothing else; without one there is no such port."""
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    async with (
        running(SimOptions(instances=1, tls=authority.door("127.0.0.1"))) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
    ):
        assert sim.tls_endpoint is not None
        async with await Sim(sim, session).send("DescribeRegions", url=sim.tls_endpoint) as response:
            assert response.status == 200
        assert sim.cloud.state()["calls"] == {"DescribeRegions": {"OK": 1}}
        with pytest.raises(aiohttp.ClientError):
            await session.get(sim.tls_endpoint.replace("https", "http"))
    async with running(SimOptions(instances=1)) as sim:
        assert sim.tls_endpoint is None


async def test_what_is_due_happens_in_its_order(start: Start) -> None:
    """However late the timer was set before: what is due sooner is not kept waiting by what is due later."""
    async with start("durations: {attributes: 4}") as sim:
        cloud = sim.running.cloud
        cloud.schedule(cloud.now() + 3600, lambda: None)
        await sim.ask("DescribeRegions")  # the timer is set
        await sim.ask("ModifyInstanceAttribute", InstanceId=ONE, InstanceName="sooner")
        await next_thing(cloud)
        assert cloud.instances[ONE].name == "sooner"


async def test_there_are_three_paths(start: Start) -> None:
    """Anything else is not found, and the truth cannot be written."""
    async with start("{}") as sim:
        for method, path in (("GET", "/other"), ("POST", "/_sim/state"), ("POST", "/_sim/calls")):
            async with sim.session.request(method, sim.running.endpoint + path) as response:
                assert response.status == 404
