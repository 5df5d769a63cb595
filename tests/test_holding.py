"""What the second of two processes does before it ends: next to nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchmod.journal.state import StateDir

HEAVY = ("aiohttp", "pydantic", "redis", "rich", "pyrage", "sqlite3")
PROGRAM = f"""
import sys
from batchmod.cli import main
code = main(sys.argv[1:])
print(code, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [("run", "job.yaml", "--yes"), ("run", "job.yaml", "--resume"), ("resume",), ("abandon", "job")], ids=" ".join)  # fmt: skip
def test_the_second_loads_nothing_that_it_does_not_need(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Nor does it read the manifest: a large one, or a busy machine, does not keep it from ending within a second."""
    state = StateDir(path=tmp_path / ".batchmod")
    state.prepare()
    (tmp_path / "job.yaml").write_text("not even a manifest")
    with state.hold(run_id="the-first", now=time.time()):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    assert done.stdout == "75 []\n", done.stderr
    assert "held by run the-first" in done.stderr
