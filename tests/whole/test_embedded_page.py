"""docs/embedded.md, followed to the letter against the simulator: its manifest, each of its commands."""

import csv
import re
from pathlib import Path

from documented import page
from whole_support import bench

blocks = page("docs/embedded.md").blocks


async def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """What comes out logs in; what was brought back elsewhere is live, and is told to be."""
    async with bench(tmp_path, instances=4) as b:
        (tmp_path / "rotate.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
        for line in "".join(blocks("sh")).splitlines():
            process = await b.start_shell(re.sub("^batchmod ", '"$PYTHON" -m batchmod ', line))
            _, err = await process.communicate()
            assert process.returncode == 0, (line, err.decode())
        live = b.sim.cloud.passwords
        assert (tmp_path / "password.txt").read_text() == live["r-sim000000"] + "\n"
        with (tmp_path / "passwords.csv").open(newline="") as file:
            exported = {row["instance_id"]: row["password"] for row in csv.DictReader(file)}
        assert exported == {name: live[name] for name in ("r-sim000000", "r-sim000002")}
