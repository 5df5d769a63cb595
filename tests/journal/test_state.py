"""Which directory holds the state, that it is usable, and that one run holds it at a time."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import pytest
from journal_records import START

from batchmod.errors import HeldError, UsageError
from batchmod.journal.state import StateDir, state_path

HOLDER = """
import sys
from pathlib import Path
from batchmod.journal.state import StateDir
with StateDir(path=Path(sys.argv[1])).hold(run_id="first", now=1_772_600_767.25):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("option", "variable", "manifest", "expected"),
    [
        ("mine", "/env", "jobs/m.yaml", "/work/mine"),
        ("/mine", None, None, "/mine"),
        (None, "/env", "jobs/m.yaml", "/env"),
        (None, "env", None, "/work/env"),
        (None, "", "jobs/m.yaml", "/work/jobs/.batchmod"),
        (None, None, "/fleet/m.yaml", "/fleet/.batchmod"),
        (None, None, None, "/work/.batchmod"),
    ],
)
def test_the_nearest_word_names_the_directory(
    option: str | None, variable: str | None, manifest: str | None, expected: str
) -> None:
    """--state, else the environment, else beside the manifest, else where we are."""
    path = state_path(
        option=None if option is None else Path(option),
        environ={} if variable is None else {"BATCHMOD_STATE": variable},
        manifest=None if manifest is None else Path(manifest),
        cwd=Path("/work"),
    )
    assert path == Path(expected)


def test_a_prepared_directory_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    """0700, a .gitignore of everything, and no other file; preparing again changes nothing."""
    state = StateDir(path=tmp_path / "a" / ".batchmod")
    for _ in range(2):
        state.prepare()
        assert S_IMODE(state.path.stat().st_mode) == 0o700
        assert {path.name: path.read_text() for path in state.path.iterdir()} == {".gitignore": "*\n"}


def test_a_directory_of_ours_is_made_private_again(tmp_path: Path) -> None:
    """An empty one and one prepared before are closed to others."""
    for name in ("empty", "prepared"):
        state = StateDir(path=tmp_path / name)
        if name == "prepared":
            state.prepare()
        else:
            state.path.mkdir()
        state.path.chmod(0o755)
        state.prepare()
        assert S_IMODE(state.path.stat().st_mode) == 0o700


def test_a_directory_with_other_things_keeps_its_mode_and_its_gitignore(tmp_path: Path) -> None:
    """What an owner set up is not taken over."""
    tmp_path.chmod(0o755)
    (tmp_path / "notes").touch()
    (tmp_path / ".gitignore").write_text("notes\n")
    StateDir(path=tmp_path).prepare()
    assert S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert (tmp_path / ".gitignore").read_text() == "notes\n"


def test_what_is_no_usable_directory_is_refused(tmp_path: Path) -> None:
    """UsageError names the path and the way out."""
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below", Path("/proc/self")):
        with pytest.raises(UsageError, match=f"{path}: not usable as state directory: .* --state"):
            StateDir(path=path).prepare()


def start_holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    """Run, pid, host and start stand in the message; the holder is not disturbed."""
    with start_holder(tmp_path) as process:
        expected = rf"run first \(pid {process.pid} on {socket.gethostname()}, since 2026-03-04T05:06:07Z\)"
        for _ in range(2):
            with (
                pytest.raises(HeldError, match=expected),
                StateDir(path=tmp_path).hold(run_id="second", now=START),
            ):
                pytest.fail("held twice")
        process.communicate("")
    assert json.loads((tmp_path / "lock").read_text())["run"] == "first"


def test_a_killed_holder_frees_it_at_once(tmp_path: Path) -> None:
    """Nothing is to be cleaned up; the lock's file is never deleted, and says who holds it now."""
    with start_holder(tmp_path) as process:
        inode = (tmp_path / "lock").stat().st_ino
        process.kill()
        process.wait()
        with StateDir(path=tmp_path).hold(run_id="2", now=START):
            assert (tmp_path / "lock").stat().st_ino == inode
            assert json.loads((tmp_path / "lock").read_text()) == {
                "run": "2",
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "start": "2026-03-04T05:06:07Z",
            }
    assert (tmp_path / "lock").stat().st_ino == inode
    assert S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_it_is_free_after_the_block_however_that_ended(tmp_path: Path) -> None:
    """An error inside frees it too, and is not changed."""
    state = StateDir(path=tmp_path)
    with pytest.raises(ZeroDivisionError), state.hold(run_id="1", now=START):
        raise ZeroDivisionError
    with state.hold(run_id="2", now=START), pytest.raises(HeldError, match="run 2"), state.hold(run_id="3", now=START):
        pytest.fail("held twice")


def test_a_holder_that_has_not_spoken_yet_is_one_all_the_same(tmp_path: Path) -> None:
    """An empty lock file says nothing about who holds it; the lock does."""
    state = StateDir(path=tmp_path)
    with state.hold(run_id="1", now=START):
        (tmp_path / "lock").write_text("")
        with pytest.raises(HeldError, match="just starting"), state.hold(run_id="2", now=START):
            pytest.fail("held twice")


def test_a_lock_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(UsageError, match="missing/lock"), StateDir(path=tmp_path / "missing").hold(run_id="1", now=0):
        pytest.fail("held nothing")


def test_what_was_never_held_is_not_made_to_be_held(tmp_path: Path) -> None:
    """No directory, a file in its place, or one without a lock: nothing is made, and it may be held afterwards."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file", tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with StateDir(path=path).hold_if_used(run_id="1", now=START) as held:
            assert not held
        assert sorted(tmp_path.rglob("*")) == before
    with StateDir(path=tmp_path).hold(run_id="1", now=START):
        pass
    with StateDir(path=tmp_path).hold_if_used(run_id="2", now=START) as held:
        assert held
        assert json.loads((tmp_path / "lock").read_text())["run"] == "2"
        with (
            pytest.raises(HeldError, match="run 2"),
            StateDir(path=tmp_path).hold_if_used(run_id="3", now=START),
        ):
            pytest.fail("held twice")
        StateDir(path=tmp_path).tell(run_id="20260304T050607Z-1a2b", now=START)
        with (
            pytest.raises(HeldError, match="run 20260304T050607Z-1a2b"),
            StateDir(path=tmp_path).hold(run_id="3", now=0),
        ):
            pytest.fail("held twice")
    with StateDir(path=tmp_path).hold_if_used(run_id="3", now=START) as held:
        assert held
