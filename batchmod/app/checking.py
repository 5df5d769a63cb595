"""A command that an operator wants run, and what came of it."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")  # and LC_*: no credential
TAIL = 4000  # bytes of what it said that are kept, the last ones
PIECE = 65536
LINGER = 1.0  # seconds that the last of its output may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`code` is the exit code, negative for a signal; None when it was stopped or could not be started."""

    code: int | None
    how: str  # it ended, in words
    said: str  # the last of stdout and stderr

    @property
    def passed(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        return f"{self.how}\n{self.said}" if self.said else self.how


def clean_environ(environ: Mapping[str, str], **ours: str) -> dict[str, str]:
    """What a child may see: nothing that could be a credential, whatever its name."""
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith("LC_")}
    return kept | ours


async def check(
    command: Sequence[str],
    *,
    directory: Path,
    environ: Mapping[str, str],
    patience: float,
    stopped: Callable[[], Coroutine[Any, Any, None]],
    told: bytes = b"",
) -> Checked:
    """Runs the command in the manifest's directory and waits for its end, `patience` seconds, or until `stopped` returns.

    It may read what it is `told` on its stdin, or not. It and all that it started in its process group are gone then.
    """
    said = bytearray()
    read, write = os.pipe()  # our own: asyncio's is waited for as long as any child holds it open
    ear, mouth = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as source, os.fdopen(mouth, "wb", buffering=0) as sink:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=directory,
                env=dict(environ),
                stdin=ear,
                stdout=write,
                stderr=write,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Checked(code=None, how=f"{command[0]} cannot be run in {directory}: {reason}", said="")
        finally:
            os.close(write)
            os.close(ear)
        talk = (_read(source, said), _say(sink, told))
        how, ended = await _until_over(process, talk, patience=patience, stopped=stopped())
    code = process.returncode if ended else None
    return Checked(code=code, how=how, said=bytes(said).decode(errors="replace").strip())


async def _until_over(
    process: asyncio.subprocess.Process,
    talk: tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]],
    *,
    patience: float,
    stopped: Coroutine[Any, Any, None],
) -> tuple[str, bool]:
    """How it ended, in words, and whether by itself; its process group is gone."""
    listening, speaking = (asyncio.create_task(each) for each in talk)
    ended = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stopped)
    try:
        done, _ = await asyncio.wait({ended, stopping}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if ended in done:
            await asyncio.wait({listening}, timeout=LINGER)
            return _ending(ended.result()), True
        return "stopped with the run" if stopping in done else f"stopped: it had not ended after {patience:g} s", False
    finally:
        with suppress(ProcessLookupError, PermissionError):  # what became another user's cannot be ended
            os.killpg(process.pid, signal.SIGKILL)
        for task in (listening, speaking, stopping):
            task.cancel()
        await asyncio.wait({listening, speaking, stopping})
        await asyncio.wait({ended}, timeout=LINGER)
        ended.cancel()


async def _read(source: RawIOBase, said: bytearray) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        while piece := await reader.read(PIECE):
            said += piece
            del said[:-TAIL]
    finally:
        transport.close()


async def _say(sink: RawIOBase, told: bytes) -> None:
    """The reader has it all, or has gone."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    transport, _ = await loop.connect_write_pipe(lambda: _Gone(gone), sink)
    try:
        transport.write(told)
        transport.close()  # once it is written
        await gone.wait()
    finally:
        transport.abort()


class _Gone(asyncio.BaseProtocol):
    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone

    def connection_lost(self, _: Exception | None) -> None:
        self._gone.set()


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by signal {-code}"
