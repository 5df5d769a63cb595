"""docs/embedded.md, followed to the letter against the simulator: its manifest, each of its commands."""

import csv
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from documented import page
from whole_support import bench

blocks = page("docs/embedded.md").blocks
AGE = f"""#!{sys.executable}
# `age -d -i KEY -o TEXT FILE` by the library that is the tool `rage`, for machines without the tool.
import pathlib, sys
import pyrage
_, decrypt, _, key, _, text, file = sys.argv
assert decrypt == "-d"
identity = pyrage.x25519.Identity.from_str(pathlib.Path(key).read_text().split()[-1])
pathlib.Path(text).write_bytes(pyrage.decrypt(pathlib.Path(file).read_bytes(), [identity]))
"""


def with_age(folder: Path, environ: dict[str, str]) -> dict[str, str]:
    """An environment in which `age` can be called."""
    if shutil.which("age"):
        return environ
    tools = folder / "tools"
    tools.mkdir()
    (tools / "age").write_text(AGE)
    (tools / "age").chmod(0o700)
    return environ | {"PATH": f"{tools}{os.pathsep}{environ['PATH']}"}


async def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """What comes out logs in; what was brought back elsewhere is live, and is told to be; age opens it by itself."""
    async with bench(tmp_path, instances=4) as made:
        b = replace(made, environ=with_age(tmp_path, {**made.environ, "BATCHMOD_AGE_KEY": str(tmp_path / "age.key")}))
        (tmp_path / "rotate.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
        for line in "".join(blocks("sh")).splitlines():
            process = await b.start_shell(re.sub("^batchmod ", '"$PYTHON" -m batchmod ', line))
            _, err = await process.communicate()
            assert process.returncode == 0, (line, err.decode())
        live = b.sim.cloud.passwords
        assert (tmp_path / "password.txt").read_text() == live["r-sim000000"] + "\n"
        assert (tmp_path / "by-hand.txt").read_text() == live["r-sim000000"]
        with (tmp_path / "passwords.csv").open(newline="") as file:
            exported = {row["instance_id"]: row["password"] for row in csv.DictReader(file)}
        assert exported == {name: live[name] for name in ("r-sim000000", "r-sim000002")}
