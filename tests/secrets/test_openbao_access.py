"""How the OpenBao store is reached: tokens, AppRoles, service accounts, TLS, namespaces; and what is said when it is not."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from bao_proxy import between
from bao_server import BaoServer, free_port, running
from bao_support import opened
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import InstanceKey, Secret, Stage

KEY = InstanceKey(account_id="1234567890123456", region="cn-hangzhou", instance_id="r-bp1aaaaaaaaaaaaa")
PASSWORD = Secret("Password_number-1")


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return tmp_path.name


@pytest.fixture(scope="module")
def tls_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoServer]:
    folder = tmp_path_factory.mktemp("tls")
    with running(folder / "server", certificate=certificate(folder)) as server:
        yield server


def certificate(folder: Path) -> tuple[Path, Path]:
    """PEM files of a certificate that vouches for itself at 127.0.0.1, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bao")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "bao.pem", folder / "bao.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def works(bao: BaoServer, prefix: str, **more: Any) -> None:
    """A password is escrowed and promoted there."""
    store = await opened(bao, prefix, **more)
    try:
        await store.escrow(KEY, login="x", secret=PASSWORD, run_id="run-1")
        assert (await store.promote(KEY, 1)).stage is Stage.CURRENT
        assert [each.key for each in await store.all()] == [KEY]
    finally:
        await store.close()


async def test_tls_is_checked_against_the_named_authorities(tls_bao: BaoServer, prefix: str) -> None:
    """A relative ca_file starts at the manifest; without it a certificate of one's own is not vouched for."""
    assert tls_bao.certificate is not None
    trusted = tls_bao.certificate[0]
    await works(tls_bao, prefix, ca_file=trusted.name, directory=trusted.parent)
    with pytest.raises(UsageError, match="not vouched for: name the authorities that do in secrets"):
        await opened(tls_bao, prefix)
    with pytest.raises(UsageError, match=r"no-such\.pem: there is no such file"):
        await opened(tls_bao, prefix, ca_file="no-such.pem")


async def test_nothing_of_the_environment_leads_elsewhere(
    bao: BaoServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no .netrc, no token or server but what is named."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "VAULT_ADDR", "BAO_ADDR"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    (Path.home() / ".netrc").write_text("machine 127.0.0.1 login a password b\n", encoding="utf-8")
    await works(bao, prefix)


async def test_a_policy_of_the_manual_is_enough(bao: BaoServer, prefix: str) -> None:
    """Create, read, update; list and read of metadata; and the mount's configuration."""
    await works(bao, prefix, environ={"VAULT_TOKEN": bao.limited_token(prefix)})


async def test_an_approle_logs_in_again_when_its_token_has_expired(bao: BaoServer, prefix: str) -> None:
    """Revoked here, which the server answers alike; many requests at once make one login."""
    role, secret = bao.approle(prefix)
    with between(bao.address) as proxy:
        environ = {"BAO_ROLE_ID": role, "BAO_SECRET_ID": secret}
        store = await opened(bao, prefix, address=proxy.address, auth="approle", environ=environ)
        try:
            bao.call("POST", "sys/leases/revoke-prefix/auth/approle/login")
            keys = [InstanceKey(account_id="1", region="r", instance_id=f"r-{number}") for number in range(20)]
            await asyncio.gather(*(store.escrow(each, login="x", secret=PASSWORD, run_id="run-1") for each in keys))
            assert len(await store.all()) == 20
        finally:
            await store.close()
        assert [path for _, path in proxy.asked].count("/v1/auth/approle/login") == 2


async def test_an_approle_that_is_gone_is_said(bao: BaoServer, prefix: str) -> None:
    """At opening exit 2, in a run a StoreError; neither tells what was tried."""
    role, secret = bao.approle(prefix)
    environ = {"VAULT_ROLE_ID": role, "VAULT_SECRET_ID": secret}
    store = await opened(bao, prefix, auth="approle", environ=environ)
    try:
        bao.call("DELETE", f"auth/approle/role/{prefix}")
        bao.call("POST", "sys/leases/revoke-prefix/auth/approle/login")
        with pytest.raises(StoreError, match="the AppRole was refused at login") as caught:
            await store.stages(KEY)
    finally:
        await store.close()
    with pytest.raises(UsageError, match="the AppRole was refused at login") as refused:
        await opened(bao, prefix, auth="approle", environ=environ)
    for told in (caught.value, refused.value):
        assert not any(each in repr((told, told.__cause__)) for each in (role, secret))


async def test_a_token_that_has_expired_is_said(bao: BaoServer, prefix: str) -> None:
    """There is no way to another one."""
    token = bao.limited_token(prefix)
    store = await opened(bao, prefix, environ={"BAO_TOKEN": token})
    try:
        bao.call("POST", "auth/token/revoke", {"token": token})
        with pytest.raises(StoreError, match=r"the token has expired, or its policy") as caught:
            await store.stages(KEY)
        assert token not in repr(caught.value)
    finally:
        await store.close()


async def test_a_namespace_is_kept_apart(bao: BaoServer, prefix: str) -> None:
    """Health is the server's, everything else the namespace's."""
    bao.call("POST", "sys/namespaces/team")
    bao.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    bao.eventually("team/secret/config")
    await works(bao, prefix, namespace="team")
    assert "password" in bao.read(f"{prefix}/{KEY}", mount="team/secret")
    with pytest.raises(OSError, match="404"):
        bao.read(f"{prefix}/{KEY}")


async def test_a_service_account_logs_in_with_its_token(bao: BaoServer, prefix: str, tmp_path: Path) -> None:
    """The request is what the Kubernetes auth method takes; the server here is one of the test's own."""
    file = tmp_path / "jwt"
    file.write_text("header.body.signature\n", encoding="ascii")
    got: list[bytes] = []
    answers = [
        {"initialized": True, "sealed": False},
        {"auth": {"client_token": "made"}},
        {"data": {"type": "kv", "options": {"version": "2"}}},
        {"data": {"delete_version_after": "0s"}},
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(each[15:]) for each in head.split(b"\r\n") if each[:15] == b"Content-Length:"), 0)
                got.append(head + await reader.readexactly(length))
                text = json.dumps(answers.pop(0)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        more: dict[str, Any] = {"address": address, "auth": "kubernetes", "role": "batchmod", "auth_mount": "k8s/prod"}
        store = await opened(bao, prefix, environ={"BAO_K8S_TOKEN_FILE": str(file)}, **more)
        await store.close()
    assert got[1].startswith(b"POST /v1/auth/k8s/prod/login ")
    assert json.loads(got[1].partition(b"\r\n\r\n")[2]) == {"role": "batchmod", "jwt": "header.body.signature"}
    assert b"X-Vault-Token: made\r\n" in got[2]


REFUSED: dict[str, tuple[dict[str, Any], Mapping[str, str], str]] = {
    "no address": ({"address": None}, {"BAO_TOKEN": "x"}, "secrets.address is missing, and BAO_ADDR and VAULT_ADDR"),
    "plain http": ({"address": None}, {"BAO_ADDR": "http://bao.example:8200"}, "BAO_ADDR: plain http goes to this machine"),
    "no token": ({}, {}, r"BAO_TOKEN \(or VAULT_TOKEN\) is not set"),
    "broken token": ({}, {"BAO_TOKEN": "a\nb"}, "BAO_TOKEN: holds a blank"),
    "no secret id": ({"auth": "approle"}, {"BAO_ROLE_ID": "x"}, "BAO_SECRET_ID"),
    "no role": ({"auth": "kubernetes"}, {}, "secrets.role is missing"),
    "no service account": ({"auth": "kubernetes", "role": "x"}, {"BAO_K8S_TOKEN_FILE": "/no/such"}, "/no/such: the token of the"),
    "unknown token": ({}, {"BAO_TOKEN": "s.unknown"}, "not allowed"),
    "no such mount": ({"mount": "nothing"}, {}, "the mount nothing"),
    "not of version 2": ({"mount": "cubbyhole"}, {}, "no KV engine of version 2"),
    "not there": ({"address": f"http://127.0.0.1:{free_port()}"}, {}, "no answer"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_at_opening(case: str, bao: BaoServer, prefix: str) -> None:
    """Before anything is sent, with what to do."""
    settings, environ, problem = REFUSED[case]
    needs_root = case in {"no such mount", "not of version 2", "not there"}
    with pytest.raises(UsageError, match=problem) as caught:
        await opened(bao, prefix, environ={"BAO_TOKEN": bao.token} if needs_root else environ, **settings)
    assert "s.unknown" not in str(caught.value)


async def test_sealed_is_said_at_once(own_bao: BaoServer, prefix: str) -> None:
    """At opening, and by a store that is open; unsealed it goes on."""
    store = await opened(own_bao, prefix)
    try:
        own_bao.seal()
        with pytest.raises(StoreError, match="the server is sealed: unseal it"):
            await store.stages(KEY)
        with pytest.raises(UsageError, match="the server is sealed: unseal it"):
            await opened(own_bao, prefix)
        own_bao.unseal()
        await store.escrow(KEY, login="x", secret=PASSWORD, run_id="run-1")
    finally:
        await store.close()
