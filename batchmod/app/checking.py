"""The command that an operator wants run between two waves, and what came of it."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batchmod.engine.halt import Halt

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")  # and LC_*: no credential
TAIL = 4000  # bytes of what it said that are kept, the last ones
PIECE = 65536


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
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=dict(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Checked(code=None, how=f"{command[0]} cannot be run in {directory}: {reason}", said="")
    said = bytearray()
    listening = asyncio.create_task(_listen(process, said))
    stopped = asyncio.create_task(halt.stopped())
    try:
        done, _ = await asyncio.wait({listening, stopped}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        how = _how(process, ended=listening in done, stopped=stopped in done, patience=patience)
    finally:
        stopped.cancel()
        listening.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    code = process.returncode if listening in done else None
    return Checked(code=code, how=how, said=bytes(said).decode(errors="replace").strip())


async def _listen(process: asyncio.subprocess.Process, said: bytearray) -> None:
    """Returns once the command has ended; what others hold open of its output is not waited for."""
    reading = asyncio.create_task(_read(process, said))
    try:
        await process.wait()
        await asyncio.wait({reading}, timeout=1.0)
    finally:
        reading.cancel()


async def _read(process: asyncio.subprocess.Process, said: bytearray) -> None:
    assert process.stdout is not None
    while piece := await process.stdout.read(PIECE):
        said += piece
        del said[:-TAIL]


def _how(process: asyncio.subprocess.Process, *, ended: bool, stopped: bool, patience: float) -> str:
    if ended and process.returncode is not None:
        code = process.returncode
        return f"exit {code}" if code >= 0 else f"killed by signal {-code}"
    return "stopped with the run" if stopped else f"stopped: it had not ended after {patience:g} s"
