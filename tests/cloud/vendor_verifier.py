"""A service on loopback that believes a request only if the vendor's own signing functions come to the same Authorization.

Everything is recomputed from what arrived: method, path, query, the signed headers, the hash of the body.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.test_utils import TestServer
from alibabacloud_openapi_util.client import Client as OpenApiUtil
from alibabacloud_tea_openapi.utils import Utils
from cloud_recorder import LANE, client_of, no, ok

from batchmod.cloud.client import KVSTORE_VERSION, STS_VERSION, Client, Param
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.signing import ALGORITHM

STS_APIS = frozenset({"AssumeRole", "GetCallerIdentity"})
_NAMES = re.compile(r",SignedHeaders=([a-z0-9;-]+),Signature=[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One request, as it came over the wire; header names in lower case."""

    method: str
    target: str  # path and query, undecoded
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body))

    def with_header(self, name: str, value: str) -> "Arrived":
        return replace(self, headers={**self.headers, name: value})


def accepted(arrived: Arrived, key: AccessKey) -> bool:
    """Whether both of the vendor's libraries sign what arrived as it is signed, and nothing of weight is unsigned."""
    given = arrived.headers.get("authorization", "")
    found = _NAMES.search(given)
    if found is None:
        return False
    names = found[1].split(";")
    weighty = {name for name in arrived.headers if name.startswith("x-acs-") or name in {"host", "content-type"}}
    payload = Utils.hex_encode(Utils.hash(arrived.body, ALGORITHM))
    if not weighty <= set(names) <= arrived.headers.keys() or arrived.headers["x-acs-content-sha256"] != payload:
        return False
    path, _, query = arrived.target.partition("?")
    request = SimpleNamespace(
        method=arrived.method,
        pathname=path,
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers={name: arrived.headers[name] for name in names},
    )
    return all(
        library.get_authorization(request, ALGORITHM, payload, key.id, key.secret.reveal()) == given
        for library in (Utils, OpenApiUtil)
    )


async def sent(api: str, params: Mapping[str, Param], key: AccessKey) -> Arrived:
    """The one request that our client made of a call, which was accepted; raises CallError when it was refused."""
    log: list[Arrived] = []
    async with _service(log, key) as url, _client(url, api, key) as client:
        await client.call(api, params)
    [arrived] = log
    return arrived


@asynccontextmanager
async def _client(url: str, api: str, key: AccessKey) -> AsyncIterator[Client]:
    """The one place where these tests make a client of ours."""
    of_sts = api in STS_APIS
    async with client_of(
        url, key=key, lane=None if of_sts else LANE, version=STS_VERSION if of_sts else KVSTORE_VERSION
    ) as (client, _, _):
        yield client


@asynccontextmanager
async def _service(log: list[Arrived], key: AccessKey) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        arrived = Arrived(
            method=request.method,
            target=request.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        log.append(arrived)
        return ok() if accepted(arrived, key) else no("SignatureDoesNotMatch")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
