"""`make screenshots`: docs/images/report-1280.png and -390.png are the HTML report of a real run against the simulator.

The run meets what runs meet: a quota that is smaller than hoped for, busy instances, lost replies, refusals. Needs
`chromium` on the machine.
"""

import asyncio
import csv
import os
import shutil
import sys
import tempfile
from pathlib import Path

from browser import ARGUMENTS
from playwright.async_api import async_playwright

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


async def report(folder: Path) -> Path:
    """The HTML report of a run that has just been made."""
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
        command = ("-m", "batchmod", "run", "job.yaml", "--yes", "--quiet", "--endpoint", sim["endpoint"])
        process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=folder, env=environ)
        if await process.wait() not in {0, 1}:
            raise RuntimeError("the run did not come to its end")
    (path,) = (folder / "reports").glob("*.html")
    return path


async def shoot(path: Path) -> None:
    """Both images are there, small enough to be kept. Raises RuntimeError when one is not."""
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for width, height in SIZES:
            page = await browser.new_page(viewport={"width": width, "height": height})
            await page.goto(path.as_uri())
            image = IMAGES / f"report-{width}.png"
            await page.screenshot(path=image)
            if image.stat().st_size > MOST:
                raise RuntimeError(f"{image}: {image.stat().st_size} bytes, more than {MOST}")
        await browser.close()


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="batchmod-screenshots-") as folder:
        await shoot(await report(Path(folder)))


if __name__ == "__main__":
    asyncio.run(main())
