"""A command that an operator wants run, and what came of it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from batchmod.report.aside import aside

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
    with ExitStack() as ours:
        try:
            with ExitStack() as its:  # closed here once it runs
                output, its_output = _pipe(ours, its)
                its_input, input_ = _pipe(its, ours)
                # Not the loop's: uvloop leaves every descriptor open in a child, and has /bin/sh run what is no program.
                process = subprocess.Popen(  # noqa: ASYNC220, S603  the operator's own command, and it takes a moment
                    command,
                    cwd=directory,
                    env=dict(environ),
                    stdin=its_input,
                    stdout=its_output,
                    stderr=its_output,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Checked(code=None, how=f"{command[0]} cannot be run in {directory}: {reason}", said="")
        talk = (_read(output, said), _say(input_, told))
        how, ended = await _until_over(process, talk, patience=patience, stopped=stopped())
    code = process.returncode if ended else None
    return Checked(code=code, how=how, said=bytes(said).decode(errors="replace").strip())


async def _until_over(
    process: subprocess.Popen[bytes],
    talk: tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]],
    *,
    patience: float,
    stopped: Coroutine[Any, Any, None],
) -> tuple[str, bool]:
    """How it ended, in words, and whether by itself; its process group is gone."""
    listening, speaking = (asyncio.create_task(each) for each in talk)
    ended = aside(process.wait, name="check")
    stopping = asyncio.create_task(stopped)
    try:
        either: set[asyncio.Future[Any]] = {ended, stopping}
        done, _ = await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
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


def _pipe(reads: ExitStack, writes: ExitStack) -> tuple[FileIO, FileIO]:
    """Its two ends, each closed with its stack."""
    read, write = os.pipe()
    return reads.enter_context(FileIO(read, "r")), writes.enter_context(FileIO(write, "w"))


async def _read(output: FileIO, said: bytearray) -> None:
    """Its last bytes are in `said`, until nobody writes any more."""

    def read() -> bool:
        piece = output.read(PIECE)
        said.extend(piece or b"")
        del said[:-TAIL]
        return piece == b""  # None: nothing is there yet

    loop = asyncio.get_running_loop()
    await _until(read, output, loop.add_reader, loop.remove_reader)


async def _say(sink: FileIO, told: bytes) -> None:
    """The reader has it all, or has gone."""
    left = memoryview(told)

    def write() -> bool:
        nonlocal left
        try:
            left = left[sink.write(left) or 0 :]
        except OSError:
            return True
        return not left

    loop = asyncio.get_running_loop()
    await _until(write, sink, loop.add_writer, loop.remove_writer)
    sink.close()


async def _until(
    step: Callable[[], bool],
    pipe: FileIO,
    add: Callable[[FileIO, Callable[[], None]], None],
    remove: Callable[[FileIO], bool],
) -> None:
    """The step, which never blocks, is taken whenever the pipe is ready for it; returns when it says so."""
    over = asyncio.Event()
    os.set_blocking(pipe.fileno(), False)
    add(pipe, lambda: over.set() if step() else None)
    try:
        await over.wait()
    finally:
        remove(pipe)


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"killed by signal {-code}"
