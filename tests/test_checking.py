"""A command of the operator's is run in the same way on either event loop."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from io import FileIO
from pathlib import Path

import pytest
import uvloop

from batchmod.app import checking
from batchmod.app.checking import Checked, check, clean_environ

Loop = Callable[[], asyncio.AbstractEventLoop]
MUCH = b"x" * 1_000_000  # more than a pipe takes


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    made: Loop = request.param
    return made


def checked(loop: Loop, *command: str, told: bytes = b"") -> Checked:
    async def never() -> None:
        await asyncio.Event().wait()

    work = check(
        command, directory=Path("/"), environ=clean_environ(os.environ), patience=60.0, stopped=never, told=told
    )
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def test_it_has_its_own_three_descriptors_and_no_other(loop: Loop) -> None:
    """Whatever was left open for us, by a wrapper or a shell, may lead to a secret."""
    read, write = os.pipe()
    with closing(FileIO(read)), closing(FileIO(write, "w")):
        os.set_inheritable(write, True)
        assert checked(loop, "ls", "/proc/self/fd").said.split() == ["0", "1", "2", "3"]  # the last is what it lists


def test_what_is_no_program_is_not_run(loop: Loop, tmp_path: Path) -> None:
    """A shell would run an empty file, and be content with it."""
    script = tmp_path / "check"
    script.touch(mode=0o755)
    found = checked(loop, str(script))
    assert found == Checked(code=None, how=f"{script} cannot be run in /: Exec format error", said="")


def test_it_is_told_much_and_may_leave_it(loop: Loop) -> None:
    """It reads all of it, a part or nothing."""
    assert checked(loop, "wc", "-c", told=MUCH) == Checked(code=0, how="exit 0", said="1000000")
    assert checked(loop, "head", "-c", "3", told=MUCH) == Checked(code=0, how="exit 0", said="xxx")
    assert checked(loop, "true", told=MUCH) == Checked(code=0, how="exit 0", said="")


def test_it_says_much(loop: Loop) -> None:
    """The end of it is kept."""
    found = checked(loop, "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo y")
    assert found == Checked(code=0, how="exit 0", said="x" * (checking.TAIL - 2) + "y")


def test_what_it_leaves_behind_without_its_output_is_not_waited_for(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of a thousand consumers would take as long as what it may still have to say."""
    monkeypatch.setattr(checking, "LINGER", 1000.0)
    assert checked(loop, "sh", "-c", "sleep 1000 <&- >&- 2>&- & exit 3").code == 3
