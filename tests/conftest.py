"""Every test has a HOME of its own and none of this machine's credentials, keys or proxies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import vendor_tally
from hypothesis import settings

settings.register_profile("batchmod", deadline=None)  # a promise is not about the speed of the machine
settings.load_profile("batchmod")

FOREIGN = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "BATCHMOD_", "XDG_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing outside the test's own folder is read or written, and no metadata address is asked."""
    kept = dict(os.environ)
    home = tmp_path_factory.mktemp("home")
    for name in kept:
        if name.startswith(FOREIGN) or name.lower() in PROXIES:
            del os.environ[name]
    os.environ |= {"HOME": str(home), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    yield home
    os.environ.clear()
    os.environ.update(kept)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The session ends with the number of checks that the vendor's own software made, if it made any."""
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    if text := vendor_tally.line(each for report in passed for each in report.user_properties):
        terminalreporter.write_line(text)
