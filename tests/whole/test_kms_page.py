"""docs/kms.md, followed to the letter against the simulator: its policy, its manifest, each of its commands."""

import json
import re
from pathlib import Path
from typing import Any

from documented import page
from whole_support import bench

blocks = page("docs/kms.md").blocks
HOST = 'endpoint="kms.cn-hangzhou.aliyuncs.com"'


async def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """With the permissions that it names and no other one of KMS; the application reads what logs in."""
    ours = json.loads(blocks("json")[0])
    others = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kvstore:*", "Resource": "*"}]}
    policies: list[dict[str, Any]] = [{"principal": "user/simulator", "document": each} for each in (ours, others)]
    async with bench(tmp_path, instances=4, faults={"policies": policies}) as b:
        (tmp_path / "rotate.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
        host = b.sim.endpoint.removeprefix("http://")
        program = blocks("python")[0]
        assert HOST in program
        (tmp_path / "read_password.py").write_text(
            program.replace(HOST, f'endpoint="{host}", protocol="http"'), encoding="utf-8"
        )
        told = ""
        for line in "".join(blocks("sh")).splitlines():
            script = line.replace("batchmod ", '"$PYTHON" -m batchmod ', 1) if line.startswith("batchmod") else line
            process = await b.start_shell(re.sub("^python ", '"$PYTHON" ', script))
            out, err = await process.communicate()
            assert process.returncode == 0, (line, err.decode())
            told = out.decode()
        assert told == f"r-sim000000 {b.sim.cloud.passwords['r-sim000000']}\n"
        assert b.outcomes() == {"changed": 2}
