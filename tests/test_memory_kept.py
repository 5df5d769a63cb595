"""What a run holds is not searched for garbage all the time."""

import gc
import subprocess
import sys

from batchmod.app.memory import SELDOM, kept


def test_a_runs_rows_are_not_searched_for_garbage() -> None:
    """Not what was there before; afterwards all is as it was."""
    frozen = gc.get_freeze_count()
    with kept():
        assert gc.get_freeze_count() > frozen
    assert gc.get_freeze_count() == 0


def test_a_process_of_its_own_looks_for_garbage_seldom() -> None:
    """A library that is imported changes nothing of the kind."""
    program = (
        "import gc, sys\nfrom batchmod.cli import main\nbefore = gc.get_threshold()\nmain([])\n"
        "assert gc.get_threshold() == before\nsys.argv = ['batchmod', '--version']\nmain()\nprint(gc.get_threshold())\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == str(SELDOM)
