"""The clients that batchmod is compared with, each renaming a list of instances, each in a process of its own.

`python bench_clients.py KIND FLEET COUNT NAME`; endpoint and key are in the environment; says in one line of JSON what it did.
"""

import asyncio
import csv
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

CONNECTIONS = 64
THREADS = 32
VERSION = "2015-01-01"
Rows = Iterator[tuple[str, str]]  # id, region


async def _loop(rows: Rows, ask: Callable[[str, str], Awaitable[None]]) -> float:
    """CONNECTIONS workers share one iterator. The CPU seconds that it took."""

    async def work() -> None:
        for instance, region in rows:
            await ask(instance, region)

    used = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())
    return time.process_time() - used


def _threads(rows: Rows, ask: Callable[[str, str], None]) -> float:
    """THREADS threads share one iterator. A failure is told on stderr, and seen in the simulator's book. The CPU seconds
    that it took.
    """
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                row = next(rows, None)
            if row is None:
                return
            ask(*row)

    used = time.process_time()
    workers = [threading.Thread(target=work) for _ in range(THREADS)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return time.process_time() - used


def raw(rows: Rows, name: str) -> float:
    """aiohttp and a signature, and nothing else: what a client in this language can do at most."""
    import aiohttp
    from yarl import URL

    from batchmod.cloud.credentials import AccessKey
    from batchmod.cloud.signing import signed_headers
    from batchmod.model.secret import Secret

    key = AccessKey(id=_key()[0], secret=Secret(_key()[1]), token=None)
    url = URL(_endpoint() + "/", encoded=True)

    async def main() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

            async def ask(instance: str, region: str) -> None:
                params = [("InstanceId", instance), ("InstanceName", f"{name}-{instance}"), ("RegionId", region)]
                headers, body = signed_headers(
                    host=f"{url.host}:{url.port}",
                    action="ModifyInstanceAttribute",
                    version=VERSION,
                    params=params,
                    key=key,
                    date=time.time(),
                    nonce=secrets.token_hex(16),
                )
                async with session.post(url, data=body, headers=headers) as response:
                    said = await response.read()
                    if response.status != 200:
                        raise RuntimeError(said)

            return await _loop(rows, ask)

    return asyncio.run(main())


def sdk(rows: Rows, name: str, *, on_loop: bool) -> float:
    """The vendor's own client of R-KVStore, asynchronous or in threads."""
    from alibabacloud_r_kvstore20150101.client import Client
    from alibabacloud_r_kvstore20150101.models import ModifyInstanceAttributeRequest
    from alibabacloud_tea_openapi.models import Config

    scheme, _, host = _endpoint().partition("://")
    key_id, key_secret = _key()
    client = Client(
        Config(
            access_key_id=key_id,
            access_key_secret=key_secret,
            endpoint=host,
            protocol=scheme,
            region_id="cn-hangzhou",
            ca=os.environ["SSL_CERT_FILE"] if scheme == "https" else None,
        )
    )

    def wanted(instance: str) -> ModifyInstanceAttributeRequest:
        return ModifyInstanceAttributeRequest(instance_id=instance, instance_name=f"{name}-{instance}")

    async def ask(instance: str, _: str) -> None:
        await client.modify_instance_attribute_async(wanted(instance))

    if on_loop:
        return asyncio.run(_loop(rows, ask))
    return _threads(rows, lambda instance, _: client.modify_instance_attribute(wanted(instance)))


def rpc(rows: Rows, name: str) -> float:
    """The vendor's older client, aliyun-python-sdk-core, in threads."""
    from aliyunsdkcore.client import AcsClient
    from aliyunsdkcore.http.protocol_type import HTTP, HTTPS
    from aliyunsdkr_kvstore.request.v20150101.ModifyInstanceAttributeRequest import ModifyInstanceAttributeRequest

    scheme, _, host = _endpoint().partition("://")
    protocol = HTTPS if scheme == "https" else HTTP  # it is compared by identity
    client = AcsClient(*_key(), "cn-hangzhou", auto_retry=False, verify=os.environ["SSL_CERT_FILE"])

    def ask(instance: str, _: str) -> None:
        request = ModifyInstanceAttributeRequest()
        request.set_endpoint(host)
        request.set_protocol_type(protocol)
        request.set_method("POST")
        request.set_InstanceId(instance)
        request.set_InstanceName(f"{name}-{instance}")
        client.do_action_with_exception(request)

    return _threads(rows, ask)


def _endpoint() -> str:
    return os.environ["BATCHMOD_ENDPOINT"]


def _key() -> tuple[str, str]:
    return os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]


def main(kind: str, fleet: Path, count: int, name: str) -> None:
    with fleet.open(newline="", encoding="utf-8") as file:
        given = [(row["id"], row["region"]) for row in csv.DictReader(file)]
    rows = iter(given[:count])
    match kind:
        case "raw":
            used = raw(rows, name)
        case "sdk-async" | "sdk-sync":
            used = sdk(rows, name, on_loop=kind == "sdk-async")
        case "rpc":
            used = rpc(rows, name)
        case _:
            raise ValueError(kind)
    sys.stdout.write(json.dumps({"cpu": used}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
