"""The vendor's three clients behind one question each: an operation by name and parameters, a reply or what was heard.

They are used as they come: their own request classes, models and exceptions. None of them may repeat a call by itself.
"""

import asyncio
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from alibabacloud_kms20160120 import models as kms_models
from alibabacloud_kms20160120.client import Client as KmsClient
from alibabacloud_r_kvstore20150101 import models as kvstore_models
from alibabacloud_r_kvstore20150101.client import Client as KvstoreClient
from alibabacloud_sts20150401 import models as sts_models
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config
from aliyunsdkcore.acs_exception.exceptions import ClientException as OldClientException
from aliyunsdkcore.acs_exception.exceptions import ServerException as OldServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from darabonba.exceptions import UnretryableException
from darabonba.runtime import RuntimeOptions
from vendor_rows import KMS_OPERATIONS, REGION, STS_OPERATIONS

METHODS = {  # where the modern client's generated name is not the operation's in snake case
    "ModifyInstanceTDE": "modify_instance_tdewith",
    "DescribeInstanceTDEStatus": "describe_instance_tdestatus_with",
    "DescribeDBInstanceNetInfo": "describe_dbinstance_net_info_with",
}
LISTS = {"Tag": "Tags", "ResourceId": "ResourceIds"}  # how the old client calls its repeated parameters
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a client calls, and with what."""

    endpoint: str  # http://127.0.0.1:PORT
    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    old_signature: bool = False
    region: str = REGION
    read_seconds: float = 15.0  # how long the client waits for an answer

    @property
    def host(self) -> str:
        return self.endpoint.removeprefix("http://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a client tells its caller of a failure, by its own exception; None where this client has no such field."""

    error: str  # the exception's class
    code: str | None = None
    status: int | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: int | None = None  # milliseconds
    denied: Mapping[str, str] | None = None
    recommend: str | None = None


class Vendor(Protocol):
    """One client of the vendor's."""

    name: str
    tells_all: bool  # its errors have every field of the envelope
    adds_region: bool  # to every call, whether asked or not

    async def ask(self, operation: str, params: Params, door: Door) -> dict[str, Any] | Heard:
        """The fields of the reply as the vendor's model has them, or what the caller hears."""


class Modern:
    """alibabacloud-r-kvstore20150101, -sts20150401 and -kms20160120, blocking or on the loop."""

    tells_all = True
    adds_region = False

    def __init__(self, name: str, *, on_loop: bool) -> None:
        self.name = name
        self._suffix = "_async" if on_loop else ""

    async def ask(self, operation: str, params: Params, door: Door) -> dict[str, Any] | Heard:
        try:
            body = await self.model(operation, params, door)
        except AlibabaCloudException as error:
            return heard_of_modern(error)
        except UnretryableException as error:
            return Heard(error=type(error).__name__)
        found: dict[str, Any] = body.to_map()
        return found

    async def model(self, operation: str, params: Params, door: Door) -> Any:
        """The model of the reply's body, as the client gives it."""
        models, maker = _product(operation)
        client = maker(config_of(door))
        options = RuntimeOptions(connect_timeout=3000, read_timeout=int(door.read_seconds * 1000))
        arguments: list[Any] = [options]
        if operation != "GetCallerIdentity":  # it has no parameters, so there is no class of its request
            arguments.insert(0, getattr(models, f"{operation}Request")().from_map(dict(params)))
        method = getattr(client, f"{METHODS.get(operation) or _snake(operation) + '_with'}_options{self._suffix}")
        if self._suffix:
            return (await method(*arguments)).body
        return (await asyncio.to_thread(method, *arguments)).body


class Old:
    """aliyun-python-sdk-r-kvstore and -sts over aliyun-python-sdk-core. It has no models: a reply is its JSON."""

    name = "old"
    tells_all = False
    adds_region = True

    async def ask(self, operation: str, params: Params, door: Door) -> dict[str, Any] | Heard:
        return await from_old(old_request(operation, params, door), door)


async def from_old(request: Any, door: Door) -> dict[str, Any] | Heard:
    """What the old client makes of a request of its own: the fields of the JSON, or what its caller hears."""
    client = acs_client(door)
    try:
        found: dict[str, Any] = json.loads(await asyncio.to_thread(client.do_action_with_exception, request))
    except OldServerException as error:
        return Heard(
            error=type(error).__name__,
            code=error.get_error_code(),
            status=error.get_http_status(),
            message=error.get_error_msg(),
            request_id=error.get_request_id(),
        )
    except OldClientException as error:
        return Heard(error=type(error).__name__, code=error.get_error_code())
    except json.JSONDecodeError as error:  # it hands over what came, cut or not, and its callers parse it
        return Heard(error=type(error).__name__)
    finally:
        client.session.close()  # left to its __del__, a socket may be collected before it
    return found


def acs_client(door: Door) -> AcsClient:
    credential = StsTokenCredential(door.key_id, door.secret, door.token) if door.token else None
    plain = {"ak": door.key_id, "secret": door.secret} if credential is None else {}
    return AcsClient(**plain, region_id=door.region, credential=credential, timeout=door.read_seconds)


def old_request(operation: str, params: Params, door: Door, style: str = "JSON") -> Any:
    """A request of the old client's own class, pointed at the simulator."""
    package = (
        "aliyunsdksts.request.v20150401" if operation in STS_OPERATIONS else "aliyunsdkr_kvstore.request.v20150101"
    )
    request = getattr(importlib.import_module(f"{package}.{operation}Request"), f"{operation}Request")()
    request.set_endpoint(door.host)
    request.set_protocol_type("http")
    request.set_accept_format(style)
    for name, value in params.items():
        if value is not None:
            _setter(request, LISTS.get(name, name))(value)
    return request


def _setter(request: Any, name: str) -> Callable[[Any], None]:
    """The class's own setter; its region comes from the client, and a parameter that it has not is added as its users do."""
    if hasattr(request, f"set_{name}"):
        setter: Callable[[Any], None] = getattr(request, f"set_{name}")
        return setter
    return lambda value: request.add_query_param(name, value)


def config_of(door: Door) -> Config:
    return Config(
        access_key_id=door.key_id,
        access_key_secret=door.secret,
        security_token=door.token,
        region_id=door.region,
        endpoint=door.host,
        protocol="http",
        **({"signature_algorithm": "v2"} if door.old_signature else {}),
    )


def heard_of_modern(error: AlibabaCloudException) -> Heard:
    """The message without what the client puts around it: it names status and request id there once more."""
    before, after = f"code: {error.status_code}, ", f" request id: {error.request_id}"
    assert error.message.startswith(before)
    assert error.message.endswith(after)
    return Heard(
        error=type(error).__name__,
        code=error.code,
        status=error.status_code,
        message=error.message.removeprefix(before).removesuffix(after),
        request_id=error.request_id,
        retry_after=error.retry_after,
        denied=getattr(error, "access_denied_detail", None),
        recommend=(error.data or {}).get("Recommend"),
    )


def _product(operation: str) -> tuple[Any, Any]:
    """Its models and its client."""
    if operation in KMS_OPERATIONS:
        return kms_models, KmsClient
    return (sts_models, StsClient) if operation in STS_OPERATIONS else (kvstore_models, KvstoreClient)


def _snake(operation: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")


SYNC, ASYNC, OLD = Modern("sync", on_loop=False), Modern("async", on_loop=True), Old()
VENDORS: tuple[Vendor, ...] = (SYNC, ASYNC, OLD)
