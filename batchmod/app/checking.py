"""The command that an operator wants run between two waves, and what came of it."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

from batchmod.engine.halt import Halt

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
    command: Sequence[str], *, directory: Path, environ: Mapping[str, str], patience: float, halt: Halt
) -> Checked:
    """Runs the command in the manifest's directory and waits for its end, `patience` seconds, or the run's stop.

    It and all that it started in its process group are gone then.
    """
    said = bytearray()
    read, write = os.pipe()  # our own: asyncio's is waited for as long as any child holds it open
    with os.fdopen(read, "rb", buffering=0) as source:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=directory,
                env=dict(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Checked(code=None, how=f"{command[0]} cannot be run in {directory}: {reason}", said="")
        finally:
            os.close(write)
        how, ended = await _until_over(process, _read(source, said), patience=patience, halt=halt)
    code = process.returncode if ended else None
    return Checked(code=code, how=how, said=bytes(said).decode(errors="replace").strip())


async def _until_over(
    process: asyncio.subprocess.Process, reading: Coroutine[Any, Any, None], *, patience: float, halt: Halt
) -> tuple[str, bool]:
    """How it ended, in words, and whether by itself; its process group is gone."""
    listening = asyncio.create_task(reading)
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(halt.stopped())
    try:
        done, _ = await asyncio.wait({ended, stopped}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if ended in done:
            await asyncio.wait({listening}, timeout=LINGER)
            return _ending(ended.result()), True
        return "stopped with the run" if stopped in done else f"stopped: it had not ended after {patience:g} s", False
    finally:
        with suppress(ProcessLookupError, PermissionError):  # what became another user's cannot be ended
            os.killpg(process.pid, signal.SIGKILL)
        for task in (listening, stopped):
            task.cancel()
        await asyncio.wait({listening, stopped})
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


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by signal {-code}"
