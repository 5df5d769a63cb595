"""The same clients with the parameters in a form body, out of the URL: each by the vendor's own generic call."""

import asyncio
from typing import Any

from alibabacloud_tea_openapi.client import Client as GenericClient
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import OpenApiRequest
from alibabacloud_tea_openapi.utils_models import Params as CallParams
from aliyunsdkcore.request import CommonRequest
from darabonba.runtime import RuntimeOptions
from vendor_clients import (
    Door,
    Heard,
    Params,
    Vendor,
    config_of,
    from_old,
    heard_of_modern,
    old_request,
)
from vendor_rows import STS_OPERATIONS


class ModernForm:
    """The modern client's call_api, blocking or on the loop."""

    tells_all = True
    adds_region = False

    def __init__(self, name: str, *, on_loop: bool) -> None:
        self.name = name
        self._on_loop = on_loop

    async def ask(self, operation: str, params: Params, door: Door) -> dict[str, Any] | Heard:
        call = CallParams(
            action=operation,
            version=version_of(operation),
            protocol="HTTPS",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        given = {name: value for name, value in params.items() if value is not None}
        arguments = (call, OpenApiRequest(body=Utils.query(given)), RuntimeOptions())
        client = GenericClient(config_of(door))
        try:
            if self._on_loop:
                answer = await client.call_api_async(*arguments)
            else:
                answer = await asyncio.to_thread(client.call_api, *arguments)
        except AlibabaCloudException as error:
            return heard_of_modern(error)
        found: dict[str, Any] = answer["body"]
        return found


class OldForm:
    """The old client's CommonRequest; its lists are spelled out by the request class that has them."""

    name = "old"
    tells_all = False
    adds_region = True

    async def ask(self, operation: str, params: Params, door: Door) -> dict[str, Any] | Heard:
        wanted = CommonRequest(domain=door.host, version=version_of(operation), action_name=operation)
        wanted.set_method("POST")
        wanted.set_protocol_type("http")
        for name, value in old_request(operation, params, door).get_query_params().items():
            wanted.add_body_params(name, value)
        return await from_old(wanted, door)


def version_of(operation: str) -> str:
    return "2015-04-01" if operation in STS_OPERATIONS else "2015-01-01"


FORMS: tuple[Vendor, ...] = (ModernForm("sync", on_loop=False), ModernForm("async", on_loop=True), OldForm())
