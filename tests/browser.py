"""A real Chromium without a window, for what people open in theirs. Debian's: no browser is downloaded."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Page

ARGUMENTS = (
    "--no-sandbox",  # a container's root has none
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = "BATCHMOD_REQUIRE_BROWSER"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where it is; skipped where there is none, unless BATCHMOD_REQUIRE_BROWSER is set: then that is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and there is no chromium")
    if found is None:
        pytest.skip("no chromium on this machine: what people open in a browser is not tested")
    return found


class Opened:
    """A page of its own, and all that it said and asked for."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []  # console errors and warnings, exceptions, dialogs
        self.asked: list[str] = []  # URLs of its requests
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))


@pytest_asyncio.fixture
async def opened(chromium: str, tmp_path: Path) -> AsyncIterator[Opened]:
    """A new page, 1280 by 800, in a browser of its own."""
    from playwright.async_api import async_playwright  # noqa: PLC0415  40 ms of every test process, and few have a browser

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, downloads_path=tmp_path / "downloads"
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        yield Opened(page)
        await browser.close()
