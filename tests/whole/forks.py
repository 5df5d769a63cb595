"""The command, forked from a process that has imported it: a process as any other, without what starting Python takes.

Hundreds of tests want to know what a command does, and few how it starts: that is three quarters of the work of a short
one. Whoever wants the beginning too, or to send signals, starts a process of its own (`Bench.start`).
"""

import asyncio
import atexit
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

READY = b"ready"
LONGEST = 1 << 17  # bytes of a request
EARLY = ("PYTHON", "LC_", "LANG", "TZ", "SSL_")  # read by the interpreter, or while something is imported


def early(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(EARLY)}


class Forks:
    """A server of this process' own, which ends with it."""

    def __init__(self) -> None:
        """It is ready: no test's clock runs while it imports."""
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._early = early(os.environ)
        with theirs:
            command = (sys.executable, "-P", __file__, str(theirs.fileno()))
            devnull = subprocess.DEVNULL
            self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=devnull, stdout=devnull)
        atexit.register(self._close)
        assert self._requests.recv(len(READY)) == READY, "the server of forks did not start"

    def _close(self) -> None:
        self._requests.close()
        self._server.wait()

    def can(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork would find all of its environment in time."""
        return early(environ) == self._early

    async def run(self, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
        """Exit code (negative: the signal that ended it), stdout and stderr. It does not outlive whoever waits for it."""
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        answers.setblocking(False)
        with answers, TemporaryFile() as out, TemporaryFile() as err:
            request = json.dumps([list(arguments), str(folder), dict(environ)]).encode()
            with theirs:
                socket.send_fds(self._requests, [request], [theirs.fileno(), out.fileno(), err.fileno()])
            loop = asyncio.get_running_loop()
            pid = int(await loop.sock_recv(answers, 20))
            try:
                code = int(await loop.sock_recv(answers, 20))
            except asyncio.CancelledError:
                os.kill(pid, signal.SIGKILL)
                raise
            out.seek(0)
            err.seek(0)
            return code, out.read().decode(), err.read().decode()


@functools.cache
def forks() -> Forks:
    return Forks()


def serve(requests: socket.socket) -> None:
    """Until nobody can ask any more. Returns in no child: one raises SystemExit when its command has ended."""
    signal.signal(signal.SIGCHLD, _reap)
    requests.send(READY)
    while True:
        request, fds, *_ = socket.recv_fds(requests, LONGEST, 3)
        if not request:
            return
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            _keep(request, *fds)
        for fd in fds:
            os.close(fd)


def _reap(*_: object) -> None:
    """Of every keeper that has ended; what they took counts as the server's, for whoever measures."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(request: bytes, answers: int, out: int, err: int) -> None:
    """Never returns. The command is a child of its own, so that somebody has its exit code."""
    if not (pid := os.fork()):
        for fd, there in ((out, 1), (err, 2)):
            os.dup2(fd, there)
        for fd in (answers, out, err):
            os.close(fd)
        _become(*json.loads(request))
    os.write(answers, str(pid).encode())
    os.write(answers, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(arguments: list[str], folder: str, environ: dict[str, str]) -> None:
    from batchmod.cli import main  # noqa: PLC0415  it is there already

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = arguments
    sys.exit(main())


def _import() -> None:
    """All that most commands use; what only some import, they import themselves."""
    import batchmod.app.resume  # noqa: PLC0415
    import batchmod.app.run  # noqa: PLC0415
    import batchmod.app.show  # noqa: PLC0415
    import batchmod.app.vault  # noqa: PLC0415, F401

    gc.freeze()  # children copy no page only to look through it


if __name__ == "__main__":
    _import()
    serve(socket.socket(fileno=int(sys.argv[1])))
