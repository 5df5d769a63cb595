"""The number that a session prints is the number of checks that held."""

import os
import subprocess
import sys
from pathlib import Path

from vendor_tally import book, line

TESTS = Path(__file__).parents[1]
SUITE = """
import pytest
from vendor_tally import book

@pytest.mark.parametrize("client", ["sync", "async", "old", "broken"])
def test_one(client, record_property):
    for operation in ("TagResources", "AssumeRole"):
        book(record_property, client, operation, ["success", "Forbidden.RAM", "success"])
    assert client != "broken"
"""


def test_a_check_counts_once() -> None:
    """The same check recorded twice is one; what others record is none, and none makes no line."""
    found: list[tuple[str, object]] = [("seed", 7)]
    assert line(found) is None
    for client, operation in (("old", "TagResources"), ("old", "TagResources"), ("sync", "AssumeRole")):
        book(lambda name, value: found.append((name, value)), client, operation, ["success", "Forbidden.RAM"])
    assert line(found) == "vendor suite: 4 checks, 2 clients, 2 operations"


def test_the_session_prints_it(tmp_path: Path) -> None:
    """The checks of all processes together, and none of a test that failed."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "conftest", "-n", "2", str(suite))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTHONPATH"] = str(TESTS)
    finished = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)
    assert finished.returncode == 1
    assert "vendor suite: 12 checks, 3 clients, 2 operations" in finished.stdout.splitlines()
