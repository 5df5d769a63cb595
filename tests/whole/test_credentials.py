"""Where a run's key comes from, with the command as a process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from whole_support import bench

RENAME = {"attributes": {"name": "{region}-{id}"}}
LOADED = """
import sys
from batchmod.cli import main
code = main(sys.argv[1:])
print("loaded" if "alibabacloud_credentials" in sys.modules else "not loaded")
sys.exit(code)
"""


@pytest.mark.parametrize("place", ["environment", "profile"])
async def test_a_run_finds_its_key(tmp_path: Path, own_home: Path, place: str) -> None:
    """In the environment, without a look at the vendor's package; or in a profile of the CLI, with it and in silence."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME])
        environ = dict(b.environ)
        if place == "profile":
            key_id, secret = (environ.pop(f"ALIBABA_CLOUD_ACCESS_KEY_{part}") for part in ("ID", "SECRET"))
            profile = {"name": "ops", "mode": "AK", "access_key_id": key_id, "access_key_secret": secret}
            (own_home / ".aliyun").mkdir()
            config = {"current": "ops", "profiles": [profile]}
            (own_home / ".aliyun" / "config.json").write_text(json.dumps(config))
        process = await replace(b, environ=environ).start_program(LOADED, "run", str(manifest), "--yes", "--quiet")
        out, err = await process.communicate()
        assert (process.returncode, len(err.splitlines())) == (0, 1), err  # the run's own last line
        assert out.decode().splitlines()[-1] == ("loaded" if place == "profile" else "not loaded")
        assert b.outcomes() == {"changed": 2}


async def test_a_run_without_a_key_says_so_in_one_line(tmp_path: Path) -> None:
    """Exit 2, every place and what to do, no traceback, and nothing was sent."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_ID": ""})
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
        for word in ("account default", "ALIBABA_CLOUD_ACCESS_KEY_ID", "config.json", "credentials.ini", "ECS", "Set "):
            assert word in result.err
        assert not b.sim.cloud.state()["calls"]
