"""What a run shows on a terminal that is really one: the board where lines can be drawn again, else plain lines."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rollout_support import RENAME
from whole_support import Bench, bench

from batchmod.report.layout import cells

FRAME = re.compile(r"\r(?:\x1b\[2K|\x1b\[1A|\r)+")  # the board is erased, from its last line up
CODE = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]")


@dataclass
class Terminal:
    """One side is a process's; what it writes is `text`, from now on to the end of it."""

    inside: int
    outside: int
    text: str = ""
    _wanted: str = ""
    _seen: asyncio.Event = field(default_factory=asyncio.Event)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.outside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> None:
        self.text += os.read(self.outside, 65536).decode(errors="replace")
        if self._wanted in self.text:
            self._seen.set()

    async def shows(self, wanted: str) -> None:
        """Returns once it was written."""
        self._wanted, self._seen = wanted, asyncio.Event()
        if wanted not in self.text:
            async with asyncio.timeout(30):
                await self._seen.wait()

    async def run(self, b: Bench, manifest: Path, **environ: str) -> asyncio.subprocess.Process:
        kept = {name: value for name, value in b.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "batchmod", "run", str(manifest), "--yes"),
            cwd=b.folder,
            env={**kept, **environ},
            stdin=self.inside,
            stdout=self.inside,
            stderr=self.inside,
        )


@contextmanager
def terminal(columns: int, rows: int) -> Iterator[Terminal]:
    outside, inside = pty.openpty()
    loop, made = asyncio.get_running_loop(), Terminal(inside, outside)
    made.resize(columns, rows)
    loop.add_reader(outside, made.read)
    try:
        yield made
    finally:
        loop.remove_reader(outside)
        os.close(outside)
        os.close(inside)


def frames(text: str) -> list[list[str]]:
    """The lines of each time that the board was drawn, without their colours."""
    drawn = (CODE.sub("", frame).replace("\r", "").strip("\n").split("\n") for frame in FRAME.split(text))
    return [lines for lines in drawn if any("█" in line or "░" in line for line in lines)]


async def test_the_board_follows_the_terminal(tmp_path: Path) -> None:
    """From 60 columns to 40 and from 24 rows to 8 while a run goes on: nothing is wider or taller than it was then."""
    async with bench(tmp_path) as b:
        rollout = {"waves": [2], "pause": "1s"}
        manifest = b.manifest(targets=b.targets(8), changes=[RENAME], rollout=rollout)
        with terminal(60, 24) as screen:
            process = await screen.run(b, manifest, TERM="xterm-256color")
            await screen.shows("wave 1 of 2 ended, next in")
            before = frames(screen.text)
            screen.resize(40, 8)
            await screen.shows("exit 0")
            assert await process.wait() == 0
            after = frames(screen.text.rpartition("\x1b[?25h")[0])[len(before) + 1 :]  # one may have been on its way
            dumb = await screen.run(b, manifest, TERM="dumb")
            await screen.shows(" started: 0 of 8 rows to do")
            assert await dumb.wait() == 0
        assert before
        assert all(cells(line) <= 60 for frame in before[1:] for line in frame)
        assert any(line.startswith("wave 2") for line in before[-1])
        assert after
        assert all(len(frame) <= 7 and all(cells(line) <= 40 for line in frame) for frame in after)
        assert " 8/8 rows 100% " in "".join(after[-1])
        lines = screen.text.partition("exit 0")[2]
        assert "█" not in lines
