"""Servers to log in to: one that answers by script and keeps every byte, and an authority with the doors it signs for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchmod.secrets.login import Logins

HANG_UP = None  # in a script: close instead of an answer
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def logins(*, tls: bool | None = False, timeout: float = 5) -> Logins:
    """Logins that wait for nobody, with the same wrong passwords every time."""
    return Logins(tls=tls, timeout=timeout, turn=nullcontext, rng=Random(7))


class Recorder:
    """Answers each command with the next reply of the script, and keeps every byte that it got."""

    def __init__(self, *replies: bytes, close: bool = False) -> None:
        self.replies = replies
        self.close = close
        self.connections: list[bytes] = []
        self.ended: list[asyncio.Event] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here, ended = len(self.connections), asyncio.Event()
        self.connections.append(b"")
        self.ended.append(ended)
        replies = list(self.replies)
        try:
            with suppress(ConnectionError):  # the client hangs up in the middle of a reply
                while got := await reader.read(4096):
                    self.connections[here] += got
                    if replies:
                        writer.write(replies.pop(0))
                    if self.close and not replies:
                        break
                writer.close()
                await writer.wait_closed()
        finally:
            writer.close()
            ended.set()

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """The address; at the end every connection was read to its last byte."""
        async with await asyncio.start_server(self.serve, host, 0) as server:
            name = f"[{host}]" if ":" in host else host
            yield f"{name}:{server.sockets[0].getsockname()[1]}"
            async with asyncio.timeout(5):
                for each in self.ended:
                    await each.wait()


class Authority:
    """Signs certificates; `file` is its own, for SSL_CERT_FILE."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        self.file = folder / "authority.pem"
        own = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), days=1)
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def door(self, host: str, *, days: int = 1) -> ssl.SSLContext:
        """What a server of this host needs; with negative days its certificate has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        with suppress(ValueError):
            host_name: x509.GeneralName = x509.IPAddress(ip_address(host))
            return self._context(key, self._sign(name, key, x509.SubjectAlternativeName([host_name]), days=days))
        return self._context(key, self._sign(name, key, x509.SubjectAlternativeName([x509.DNSName(host)]), days=days))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, *, days: int
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )

    def _context(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> ssl.SSLContext:
        file = self._folder / f"{certificate.serial_number}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@dataclass
class Terminator:
    """TLS in front of a server that speaks plain; keeps what came in as it was on the wire, and what was inside."""

    behind: str
    context: ssl.SSLContext
    wire: list[bytes] = field(default_factory=list)
    inside: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[str]:
        """The address. TLS only: what is not TLS is answered with an alert, as OpenSSL does."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            tasks.add(task)
            try:
                with suppress(ConnectionError):
                    await self._serve(reader, writer)
            finally:
                writer.close()
                tasks.discard(task)

        async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with asyncio.timeout(5):
                await asyncio.gather(*tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(into, out, server_side=True)
        host, _, port = self.behind.rpartition(":")
        upstream, down = await asyncio.open_connection(host, int(port))
        self.wire.append(b"")
        self.inside.append(b"")
        here = len(self.wire) - 1
        ready = False
        try:
            while got := await reader.read(65536):
                self.wire[here] += got
                into.write(got)
                try:
                    if not ready:
                        tls.do_handshake()
                        ready = True
                    said = tls.read(65536)
                except ssl.SSLWantReadError:
                    writer.write(out.read())
                    continue
                if not said:
                    break
                self.inside[here] += said
                down.write(said)
                tls.write(await upstream.read(65536))
                writer.write(out.read())
        except ssl.SSLError:
            writer.write(out.read())  # the alert
            await writer.drain()
        finally:
            down.close()
