"""`make screenshots`: docs/images/live-1280.png and -390.png are the live page of a real run against the simulator, and
report-1280.png and -390.png its HTML report.

The run meets what runs meet: a quota that is smaller than hoped for, busy instances, lost replies, refusals. Needs
`chromium` on the machine.
"""

import asyncio
import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from browser import ARGUMENTS
from playwright.async_api import Browser, Page, async_playwright

from batchmod.app.demo import simulator

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MOST = 200_000  # bytes of an image
INSTANCES = 240
SIZES = ((1280, 1500), (390, 1720))
FAULTS = """
quotas: {default: 200/1s, ModifyInstanceAttribute: 30/1s}
busy:
  - {fraction: 0.08, seconds: 6, status: Normal}
rates:
  - {api: ModifyInstanceAttribute, fault: reset_after, rate: 0.01}
instances:
  r-sim000031: {status: Released, locked: true}
  r-sim000077: {missing: true}
  r-sim000112: {address: "127.0.0.1:1"}
refuse:
  - {match: "r-sim00015[5-7]", code: IncorrectEngineVersion}
  - {match: r-sim000201, code: Forbidden.RAM, status: 403, message: "The user is not authorized to operate on it."}
durations: {attributes: 0.3, password: 1}
lag: 0.1
"""
MANIFEST = """
version: 1
name: rotate-prod
targets: [{from: fleet.csv}]
changes:
  - attributes: {name: "{team}-{region}-{number}", release_protection: true}
  - password: {generate: {length: 24}}
proof: {password: login}
limits: {rate: 60/1s}
retry: {max_delay: 2s, busy_timeout: 1m, settle_timeout: 1m}
rollout: {waves: [6, 25%, 100%], max_failures: 10%}
report: {formats: [html]}
"""
TEAMS = ("pay", "cart", "search", "media")


async def report(folder: Path, live: Callable[[str], Awaitable[None]]) -> Path:
    """The HTML report of a run that has just been made; `live` is given the URL of its page while it goes on."""
    (folder / "faults.yaml").write_text(FAULTS, encoding="utf-8")
    (folder / "job.yaml").write_text(MANIFEST, encoding="utf-8")
    with (folder / "fleet.csv").open("w", newline="", encoding="utf-8") as file:
        rows = ((f"r-sim{n:06d}", ("cn-hangzhou", "cn-shanghai")[n % 2], TEAMS[n % 4], n) for n in range(INSTANCES))
        csv.writer(file).writerows([("id", "region", "team", "number"), *rows])
    async with simulator("--instances", str(INSTANCES), "--faults", str(folder / "faults.yaml")) as sim:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": sim["access_key_id"],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": sim["access_key_secret"],
        }
        command = (
            "-m",
            "batchmod",
            "run",
            "job.yaml",
            "--yes",
            "--quiet",
            "--serve",
            "127.0.0.1:0",
            "--endpoint",
            sim["endpoint"],
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=folder, env=environ, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        await live((await process.stderr.readline()).decode().removeprefix("live page: ").strip())
        await process.stderr.read()
        if await process.wait() not in {0, 1}:
            raise RuntimeError("the run did not come to its end")
    (path,) = (folder / "reports").glob("*.html")
    return path


async def shoot(browser: Browser, url: str, name: str, ready: Callable[[Page], Awaitable[None]]) -> None:
    """The images of each size are there, small enough to be kept. Raises RuntimeError when one is not."""
    for width, height in SIZES:
        page = await browser.new_page(viewport={"width": width, "height": height})
        await page.goto(url)
        await ready(page)
        image = IMAGES / f"{name}-{width}.png"
        await page.screenshot(path=image)
        if image.stat().st_size > MOST:
            raise RuntimeError(f"{image}: {image.stat().st_size} bytes, more than {MOST}")


async def in_the_middle(page: Page) -> None:
    """The last wave has been under way for a while."""
    await page.locator("html[data-live=connected]").wait_for()
    await page.locator("#live dd", has_text="3 of 3").wait_for(timeout=120_000)
    await page.wait_for_timeout(2000)


async def at_once(_: Page) -> None:
    """A file is complete when it is open."""


async def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        with tempfile.TemporaryDirectory(prefix="batchmod-screenshots-") as folder:
            path = await report(Path(folder), lambda url: shoot(browser, url, "live", in_the_middle))
            await shoot(browser, path.as_uri(), "report", at_once)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
