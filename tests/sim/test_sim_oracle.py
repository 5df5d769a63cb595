"""The vendor's own clients, unmodified, against the simulator: they must find nothing to complain about."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_r_kvstore20150101 import models
from alibabacloud_r_kvstore20150101.client import Client
from alibabacloud_tea_openapi.client import Client as GenericClient
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from aliyunsdkr_kvstore.request.v20150101.DescribeInstanceAttributeRequest import DescribeInstanceAttributeRequest
from aliyunsdkr_kvstore.request.v20150101.DescribeInstancesRequest import DescribeInstancesRequest
from aliyunsdkr_kvstore.request.v20150101.ModifyInstanceAttributeRequest import ModifyInstanceAttributeRequest
from aliyunsdkr_kvstore.request.v20150101.ModifyInstanceTDERequest import ModifyInstanceTDERequest
from darabonba.exceptions import DaraException
from darabonba.runtime import RuntimeOptions
from sim_support import logs_in

from batchmod.sim.server import Running, SimOptions, running

pytestmark = pytest.mark.oracle
ONE, TWO, PLAIN = "r-sim000000", "r-sim000001", "r-sim000002"
OLD, NEW = "uW8+nsrp", "x9=K_new*%&"
FAULTS = f"""
lag: 0
durations: {{attributes: 0, password: 0, tde: 0}}
instances:
  {ONE}: {{password: "{OLD}", tags: {{env: prod, team: pay}}}}
  {PLAIN}: {{edition: Community, support_tde: false}}
scripts:
  - {{api: DescribeRegions, play: [{{fault: throttle, retry_after: 1500}}]}}
busy:
  - {{match: r-sim000003, seconds: 3600}}
"""
Invoke = Callable[[str, Any], Awaitable[Any]]


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Running]:
    faults = tmp_path / "faults.yaml"
    faults.write_text(FAULTS, encoding="utf-8")
    async with running(SimOptions(instances=4, faults=faults)) as started:
        yield started


def config(sim: Running, **more: str) -> Config:
    return Config(
        access_key_id=sim.access_key_id,
        access_key_secret=sim.access_key_secret,
        region_id="cn-hangzhou",
        endpoint=sim.endpoint.removeprefix("http://"),
        protocol="http",
        **more,
    )


@pytest.fixture(params=["sync", "async", "v1"])
def invoke(request: pytest.FixtureRequest, sim: Running) -> Invoke:
    """Calls a method of the modern client: blocking in a thread, on the loop, or with the old signature."""
    client = Client(config(sim, **({"signature_algorithm": "v2"} if request.param == "v1" else {})))
    options = RuntimeOptions(connect_timeout=3000, read_timeout=15000)

    async def call(method: str, wanted: Any) -> Any:
        if request.param == "async":
            return (await getattr(client, f"{method}_options_async")(wanted, options)).body
        return (await asyncio.to_thread(getattr(client, f"{method}_options"), wanted, options)).body

    return call


async def refusal(answer: Awaitable[Any]) -> tuple[str, int]:
    """The code and status with which the client fails."""
    with pytest.raises(DaraException) as caught:
        await answer
    return caught.value.code, caught.value.status_code


async def test_modify_instance_attribute(sim: Running, invoke: Invoke) -> None:
    """Name, protection and password change; the new password really logs in and the old one no more."""
    assert logs_in(sim.data_plane, ONE, OLD)
    wanted = models.ModifyInstanceAttributeRequest(
        instance_id=ONE,
        instance_name="orders-中文",
        new_password=NEW,
        instance_release_protection=True,
    )
    body = await invoke("modify_instance_attribute_with", wanted)
    assert len(body.request_id) == 36
    read = models.DescribeInstanceAttributeRequest(instance_id=ONE)
    seen = (await invoke("describe_instance_attribute_with", read)).instances.dbinstance_attribute[0]
    assert (seen.instance_name, seen.instance_release_protection, seen.instance_status) == (
        "orders-中文",
        True,
        "Normal",
    )
    assert (seen.engine_version, seen.is_support_tde, seen.is_order_completed) == ("7.0", True, True)
    assert f"{seen.connection_domain}:{seen.port}" == sim.data_plane
    assert (logs_in(sim.data_plane, ONE, OLD), logs_in(sim.data_plane, ONE, NEW)) == (False, True)


async def test_modify_instance_attribute_refused(sim: Running, invoke: Invoke) -> None:
    """The documented errors arrive with their codes."""

    def change(**values: Any) -> Awaitable[Any]:
        return invoke("modify_instance_attribute_with", models.ModifyInstanceAttributeRequest(**values))

    assert await refusal(change(instance_id=ONE, new_password="short")) == ("InvalidPassword.Malformed", 400)
    assert await refusal(change(instance_id=ONE, instance_name="a b")) == ("InvalidInstanceName.Malformed", 400)
    assert await refusal(change(instance_id="r-none", instance_name="ab")) == ("InvalidInstanceId.NotFound", 404)
    assert await refusal(change(instance_id="r-sim000003", instance_name="ab")) == ("TaskExists", 400)
    assert await refusal(change(instance_id=ONE)) == ("MissingParameter", 400)
    assert logs_in(sim.data_plane, ONE, OLD)


async def test_tde_and_its_keys(sim: Running, invoke: Invoke) -> None:
    """TDE is off, then on with the key and role that were named; where it is not supported every call says so."""
    status = models.DescribeInstanceTDEStatusRequest(instance_id=ONE)
    assert (await invoke("describe_instance_tdestatus_with", status)).tdestatus == "Disabled"
    role = f"acs:ram::{sim.cloud.account_id}:role/AliyunRdsInstanceEncryptionDefaultRole"
    wanted = models.ModifyInstanceTDERequest(
        instance_id=ONE, tdestatus="Enabled", encryption_key="key-1", encryption_name="AES-CTR-256", role_arn=role
    )
    assert (await invoke("modify_instance_tdewith", wanted)).request_id
    assert (await invoke("describe_instance_tdestatus_with", status)).tdestatus == "Enabled"
    key = await invoke("describe_encryption_key_with", models.DescribeEncryptionKeyRequest(instance_id=ONE))
    assert (key.encryption_key, key.role_arn, key.encryption_key_status) == ("key-1", role, "Enabled")
    keys = await invoke("describe_encryption_key_list_with", models.DescribeEncryptionKeyListRequest(instance_id=ONE))
    assert "key-1" in keys.key_ids.key_id
    allowed = models.CheckCloudResourceAuthorizedRequest(instance_id=ONE, role_arn=role)
    assert (await invoke("check_cloud_resource_authorized_with", allowed)).authorization_state == 1


async def test_tde_refused(invoke: Invoke) -> None:
    """An instance that cannot be encrypted refuses the change and both questions; a wrong status is refused."""
    unable = ("InstanceType.NotSupport", 400)
    wanted = models.ModifyInstanceTDERequest(instance_id=PLAIN, tdestatus="Enabled")
    assert await refusal(invoke("modify_instance_tdewith", wanted)) == unable
    status = models.DescribeInstanceTDEStatusRequest(instance_id=PLAIN)
    assert await refusal(invoke("describe_instance_tdestatus_with", status)) == unable
    key = models.DescribeEncryptionKeyRequest(instance_id=ONE)
    assert await refusal(invoke("describe_encryption_key_with", key)) == unable
    wanted = models.ModifyInstanceTDERequest(instance_id=ONE, tdestatus="Disabled")
    assert await refusal(invoke("modify_instance_tdewith", wanted)) == ("InvalidParameter", 400)


async def test_describe_instances(invoke: Invoke) -> None:
    """Pages, filters and tags are understood as the client writes them; too many ids are refused."""
    tags = [models.DescribeInstancesRequestTag(key="team", value="pay")]
    wanted = models.DescribeInstancesRequest(region_id="cn-hangzhou", page_size=50, page_number=1, tag=tags)
    body = await invoke("describe_instances_with", wanted)
    found = body.instances.kvstore_instance
    assert (body.total_count, [each.instance_id for each in found]) == (1, [ONE])
    assert {tag.key: tag.value for tag in found[0].tags.tag} == {"env": "prod", "team": "pay"}
    ids = ",".join(f"r-{number}" for number in range(31))
    many = models.DescribeInstancesRequest(region_id="cn-hangzhou", instance_ids=ids)
    assert await refusal(invoke("describe_instances_with", many)) == ("InvalidInstanceIds.Malformed", 400)


async def test_regions_after_a_throttled_call(sim: Running, invoke: Invoke) -> None:
    """A throttled call says when to come back; then the regions name this endpoint."""
    with pytest.raises(DaraException) as caught:
        await invoke("describe_regions_with", models.DescribeRegionsRequest())
    assert (caught.value.code, caught.value.retry_after) == ("Throttling.User", 1500)
    body = await invoke("describe_regions_with", models.DescribeRegionsRequest())
    regions = {each.region_id: each.region_endpoint for each in body.region_ids.kvstore_region}
    assert regions == dict.fromkeys(("cn-hangzhou", "cn-shanghai"), sim.endpoint.removeprefix("http://"))


async def test_net_info(sim: Running, invoke: Invoke) -> None:
    """The address of an instance is the data plane's; an unknown one is not found."""
    wanted = models.DescribeDBInstanceNetInfoRequest(instance_id=TWO)
    item = (await invoke("describe_dbinstance_net_info_with", wanted)).net_info_items.instance_net_info[0]
    assert f"{item.connection_string}:{item.port}" == sim.data_plane
    wanted = models.DescribeDBInstanceNetInfoRequest(instance_id="r-none")
    refused = await refusal(invoke("describe_dbinstance_net_info_with", wanted))
    assert refused == ("InvalidInstanceId.NotFound", 404)


async def test_a_form_body_and_sts(sim: Running) -> None:
    """The generic client may put a password in the body, and asks STS who it is."""
    client = GenericClient(config(sim))

    def params(action: str, version: str) -> Params:
        return Params(
            action=action, version=version, protocol="HTTP", pathname="/", method="POST", auth_type="AK", style="RPC",
            req_body_type="formData", body_type="json",
        )  # fmt: skip

    body = OpenApiRequest(body={"InstanceId": ONE, "NewPassword": "a+b1C%d&=_*"})
    await client.call_api_async(params("ModifyInstanceAttribute", "2015-01-01"), body, RuntimeOptions())
    assert logs_in(sim.data_plane, ONE, "a+b1C%d&=_*")
    answer = await client.call_api_async(params("GetCallerIdentity", "2015-04-01"), OpenApiRequest(), RuntimeOptions())
    assert answer["body"]["AccountId"] == sim.cloud.account_id


async def test_a_wrong_secret(sim: Running) -> None:
    """The modern client hears that its signature is wrong, the old one that its secret is."""
    wrong = config(sim)
    wrong.access_key_secret = "wrong"
    answer = Client(wrong).describe_regions_with_options_async(models.DescribeRegionsRequest(), RuntimeOptions())
    assert await refusal(answer) == ("SignatureDoesNotMatch", 400)
    heard = await old_refusal(
        AcsClient(sim.access_key_id, "wrong", "cn-hangzhou"), old(sim, DescribeInstancesRequest())
    )
    assert heard == "InvalidAccessKeySecret"


def old(sim: Running, wanted: Any, **values: str) -> Any:
    """A request of the old SDK, pointed at the simulator."""
    wanted.set_endpoint(sim.endpoint.removeprefix("http://"))
    wanted.set_accept_format("json")
    for name, value in values.items():
        getattr(wanted, f"set_{name}")(value)
    return wanted


async def old_answer(client: AcsClient, wanted: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(await asyncio.to_thread(client.do_action_with_exception, wanted))
    return fields


async def old_refusal(client: AcsClient, wanted: Any) -> str:
    with pytest.raises(ServerException) as caught:
        await old_answer(client, wanted)
    return str(caught.value.get_error_code())


async def test_the_old_sdk(sim: Running) -> None:
    """The old client changes a password, encrypts and reads, and hears the documented errors."""
    client = AcsClient(sim.access_key_id, sim.access_key_secret, "cn-hangzhou")
    change = old(sim, ModifyInstanceAttributeRequest(), InstanceId=ONE, InstanceName="orders", NewPassword=NEW)
    assert (await old_answer(client, change)).keys() == {"RequestId"}
    assert (logs_in(sim.data_plane, ONE, OLD), logs_in(sim.data_plane, ONE, NEW)) == (False, True)
    await old_answer(client, old(sim, ModifyInstanceTDERequest(), InstanceId=ONE, TDEStatus="Enabled"))
    seen = await old_answer(client, old(sim, DescribeInstanceAttributeRequest(), InstanceId=ONE))
    assert seen["Instances"]["DBInstanceAttribute"][0]["InstanceName"] == "orders"
    listed = await old_answer(client, old(sim, DescribeInstancesRequest(), InstanceIds=f"{ONE},{TWO}"))
    assert listed["TotalCount"] == 1  # it always sends its region, and the second is elsewhere
    bad = old(sim, ModifyInstanceAttributeRequest(), InstanceId=ONE, InstanceName="1")
    assert await old_refusal(client, bad) == "InvalidInstanceName.Malformed"
    unable = old(sim, ModifyInstanceTDERequest(), InstanceId=PLAIN, TDEStatus="Enabled")
    assert await old_refusal(client, unable) == "InstanceType.NotSupport"


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ("DescribeInstanceTDEStatus", "TDEStatus"),
        ("DescribeEncryptionKeyList", "KeyIds"),
        ("CheckCloudResourceAuthorized", "AuthorizationState"),
        ("DescribeDBInstanceNetInfo", "NetInfoItems"),
    ],
)
async def test_the_old_sdk_asks_anything(sim: Running, action: str, field: str) -> None:
    """The old generic client, parameters in a form body, gets the same answers and errors."""
    client = AcsClient(sim.access_key_id, sim.access_key_secret, "cn-hangzhou")

    def about(instance_id: str) -> CommonRequest:
        wanted = CommonRequest(domain=sim.endpoint.removeprefix("http://"), version="2015-01-01", action_name=action)
        wanted.set_method("POST")
        wanted.set_accept_format("json")
        wanted.add_body_params("InstanceId", instance_id)
        return wanted

    assert field in await old_answer(client, about(ONE))
    assert await old_refusal(client, about("r-none")) == "InvalidInstanceId.NotFound"
