import asyncio
import ssl
from pathlib import Path

import pytest
from cloud_recorder import client_of, raw_server
from login_support import Authority

from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

PARAMS = {"NewPassword": Secret("uW8+nsrp")}


@pytest.fixture
def stranger(tmp_path: Path) -> ssl.SSLContext:
    """A server of the right address whose certificate nobody vouches for."""
    return Authority(tmp_path).door("127.0.0.1")


async def test_a_stranger_is_told_nothing(stranger: ssl.SSLContext) -> None:
    """A certificate that is not vouched for ends the call before the request leaves this machine."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        got.append(await reader.read())

    async with raw_server(serve, ssl=stranger) as port, client_of(f"https://127.0.0.1:{port}") as (client, _, _):
        with pytest.raises(CallError) as caught:
            await client.call("ModifyInstanceAttribute", PARAMS)
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "TlsFailed")
    assert b"".join(got) == b""


async def test_a_server_without_tls_is_told_nothing() -> None:
    """Where https meets plain http nothing is sent."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(serve) as port, client_of(f"https://127.0.0.1:{port}") as (client, _, _):
        with pytest.raises(CallError) as caught:
            await client.call("ModifyInstanceAttribute", PARAMS)
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "TlsFailed")
    assert b"ModifyInstanceAttribute" not in b"".join(got)


async def test_a_handshake_that_hangs_is_not_sent() -> None:
    """The connect timeout covers the handshake, and until its end nothing was sent."""
    done = asyncio.Event()

    async def serve(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await done.wait()

    async with raw_server(serve) as port, client_of(f"https://127.0.0.1:{port}", connect=0.05) as (client, _, _):
        async with asyncio.timeout(10):
            with pytest.raises(CallError) as caught:
                await client.call("ModifyInstanceAttribute", PARAMS)
        done.set()
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "ConnectTimeout")
