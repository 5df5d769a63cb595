"""Where the vendor's tools find a key, made by a test: files in its HOME, services on loopback, a proxy that ends TLS."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cloud_recorder import raw_server, request_head_and_body
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchmod.cloud.credentials import AccessKey
from batchmod.model.secret import Secret

STS = "sts.aliyuncs.com"


def config(home: Path, *profiles: Mapping[str, Any], current: str = "default") -> Path:
    """The CLI's config file."""
    path = home / ".aliyun" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"current": current, "profiles": profiles}))
    return path


def plain(name: str, number: int = 1) -> dict[str, str]:
    """A profile with a key for ever."""
    return {"name": name, "mode": "AK", "access_key_id": f"LTAI{number}", "access_key_secret": f"S3cret{number}"}


def ini(home: Path, text: str) -> Path:
    path = home / ".alibabacloud" / "credentials.ini"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def fixed(number: int) -> AccessKey:
    return AccessKey(id=f"LTAI{number}", secret=Secret(f"S3cret{number}"))


def temporary(number: int) -> AccessKey:
    return AccessKey(id=f"STS.{number}", secret=Secret(f"S3cret{number}"), token=Secret(f"CAIS+token{number}"))


def given(number: int, *, life: float = 3600) -> dict[str, str]:
    """A temporary key as the vendor's services say it."""
    end = datetime.now(UTC) + timedelta(seconds=life)
    return {
        "Code": "Success",
        "AccessKeyId": f"STS.{number}",
        "AccessKeySecret": f"S3cret{number}",
        "SecurityToken": f"CAIS+token{number}",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@dataclass(slots=True, kw_only=True)
class Source:
    """A service that gives a key, another one each time; `instead` is said as long as it is set."""

    url: str = ""
    life: float = 3600
    instead: Callable[[], web.Response] | None = None
    asked: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        self.arrived.set()
        await self.gate.wait()
        if self.instead is not None:
            return self.instead()
        return web.json_response(given(len(self.asked), life=self.life))


@asynccontextmanager
async def source(answer: Callable[[web.Request], Any] | None = None, **more: Any) -> AsyncIterator[Source]:
    """A Source on loopback, in this very event loop: it can answer only somebody who does not block the loop."""
    made = Source(**more)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer or made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/key"))
        yield made


def authority(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """The file of a certificate authority of this test's own, and a server's context that it vouches for."""
    now = datetime.now(UTC)

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("authority"))
        return (
            builder.public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only".split(),  # noqa: SIM905
        False,
    )
    of_root = (
        certificate("authority", root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .sign(root, hashes.SHA256())
    )
    of_leaf = (
        certificate(host, leaf)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(root, hashes.SHA256())
    )
    trusted, own = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(of_root.public_bytes(serialization.Encoding.PEM))
    own.write_bytes(
        of_leaf.public_bytes(serialization.Encoding.PEM)
        + leaf.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return trusted, context


@asynccontextmanager
async def tunnel(
    context: ssl.SSLContext, says: Callable[[bytes], bytes]
) -> AsyncIterator[tuple[str, list[bytes], list[bytes]]]:
    """A proxy that leads every tunnel to a TLS server of this test, which answers each request with the JSON that
    `says` makes of its head; the proxy's URL, the heads of the tunnels and those of the requests.
    """
    tunnels: list[bytes] = []
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await request_head_and_body(reader)
        requests.append(head)
        body = says(head)
        status = b"200 OK" if b"Credentials" in body else b"400 Bad Request"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async with raw_server(serve, ssl=context) as inner:

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tunnels.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", inner)
            try:
                await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
            except ConnectionError:
                pass  # either side may hang up first
            finally:
                there_writer.close()

        async with raw_server(lead) as port:
            yield f"http://127.0.0.1:{port}", tunnels, requests


async def python(program: str, environ: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of a program in a process of its own, with `environ` and nothing else."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
