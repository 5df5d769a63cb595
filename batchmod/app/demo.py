"""`demo`: the simulator as a process of its own, the main job against it, and its report. Leaves only the report."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import batchmod
from batchmod.app.holding import claimed
from batchmod.app.options import Options
from batchmod.app.run import run
from batchmod.app.speech import say
from batchmod.errors import UsageError

JOBS = Path(__file__).parents[2] / "jobs"
INSTANCES = 60
DRAIN = 10.0  # seconds that an interrupted demo may settle
KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)  # variables that a Python program may need
READY = 30.0  # seconds within which the simulator must answer


async def demo(options: Options) -> int:
    """The exit code of the main job, run against a simulator that is gone afterwards."""
    manifest, faults = JOBS / "demo.yaml", JOBS / "demo-faults.yaml"
    if not manifest.is_file():
        raise UsageError(f"{manifest}: not there: the demo runs from a checkout")
    say(f"batchmod demo: {INSTANCES} simulated instances in two regions, a real Valkey, jobs/demo.yaml")
    with tempfile.TemporaryDirectory(prefix="batchmod-demo-") as scratch:
        async with simulator("--instances", str(INSTANCES), "--faults", str(faults)) as sim:
            environ = {
                **{name: value for name, value in options.environ.items() if not name.startswith("ALIBABA_CLOUD_")},
                "ALIBABA_CLOUD_ACCESS_KEY_ID": sim["access_key_id"],
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": sim["access_key_secret"],
                "BATCHMOD_AGE_KEY": str(Path(scratch) / "age.key"),
            }
            options = replace(
                options,
                environ=environ,
                endpoint=sim["endpoint"],
                state=Path(scratch) / "state",
                report_dir=options.report_dir or Path("reports"),
                yes=True,
                drain=DRAIN,
            )
            with claimed(options, path=manifest) as claim:
                return await run(manifest, options, claim)


@asynccontextmanager
async def simulator(*arguments: str) -> AsyncIterator[dict[str, str]]:
    """A simulator on a port of its own, stopped at the end; what it said on its first line."""
    # Nothing of ours that may be a secret: keys, passwords, a proxy's URL. The simulator makes its own.
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "batchmod.sim",
        "--port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=environ,
        start_new_session=True,  # a Ctrl-C is for the run; it needs the simulator to settle
    )
    try:
        yield json.loads(await _first_line(process))
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY):
            line = await process.stdout.readline()
    except TimeoutError as error:
        raise UsageError(f"the simulator was not ready within {READY:.0f} s") from error
    if not line:
        raise UsageError(f"the simulator did not start; is the extra `sim` installed? {batchmod.install('sim')}")
    return line
