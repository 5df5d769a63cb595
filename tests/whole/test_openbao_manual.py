"""The manual of the OpenBao store: every command in it works, on a real server."""

import os
import shlex
import sys
from pathlib import Path

from bao_server import BaoServer
from documented import page
from whole_support import bench

blocks = page("docs/openbao.md").blocks


async def test_every_command_of_the_manual(own_bao: BaoServer, tmp_path: Path) -> None:
    """From an empty server to a rotated instance, what an application reads, undoing, and a snapshot."""
    async with bench(tmp_path, instances=1) as b:

        def ours(text: str) -> str:
            return text.replace("r-bp1aaaaaaaaaaaaa", "r-sim000000").replace("1234567890123456", b.sim.cloud.account_id)

        (manifest,) = blocks("yaml")
        (tmp_path / "rotate.yaml").write_text(ours(manifest), encoding="utf-8")
        where = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"PATH": where, "BAO_ADDR": own_bao.address, "BAO_TOKEN": own_bao.token}
        script = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        process = await b.start_shell(f"set -e\n{script}{ours(''.join(blocks('sh')))}")
        out, err = (each.decode() for each in await process.communicate())
        assert process.returncode == 0, out + err
        assert b.sim.cloud.passwords["r-sim000000"] in out  # without a line end, as a variable wants it
        path = f"batchmod/{b.sim.cloud.account_id}/cn-hangzhou/r-sim000000"
        assert own_bao.read(path, mount="redis")["password"] == b.sim.cloud.passwords["r-sim000000"]
        assert (tmp_path / "openbao.snap").stat().st_size > 0
