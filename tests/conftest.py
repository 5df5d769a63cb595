"""Every test has a HOME of its own and none of this machine's credentials, keys or proxies."""

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import schedule_tally
import vendor_tally
from hypothesis import settings

settings.register_profile("batchmod", deadline=None)  # a promise is not about the speed of the machine
settings.load_profile("batchmod")

# Hundreds of tests start the command as a process: each would compile the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest_plugins = ["bao_server", "browser", "postgres"]

FOREIGN = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "BATCHMOD_", "XDG_", "BAO_", "VAULT_", "PG")
KEPT = ("BATCHMOD_REQUIRE_BROWSER",)  # says how to test, not what
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
homes = count()


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing outside the test's own folder is read or written, and no metadata address is asked."""
    kept = dict(os.environ)
    home = tmp_path_factory.mktemp(f"home{next(homes)}", numbered=False)  # pytest would look through all to number one
    for name in kept:
        if name in KEPT:
            continue
        if name.startswith(FOREIGN) or name.lower() in PROXIES:
            del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "SSL_CERT_FILE": os.devnull,  # loopback needs no public authorities, which each process takes 30 ms to read
    }
    yield home
    os.environ.clear()
    os.environ.update(kept)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The session ends with the number of checks that the vendor's own software made, and of schedules that tried to
    break the protocol, if there were any.
    """
    calls = [report for state in ("passed", "failed") for report in terminalreporter.getreports(state)]
    calls = [report for report in calls if report.when == "call"]
    passed = [each for report in calls if report.passed for each in report.user_properties]
    played = [each for report in calls for each in report.user_properties]
    for text in (vendor_tally.line(passed), schedule_tally.line(played)):
        if text:
            terminalreporter.write_line(text)
