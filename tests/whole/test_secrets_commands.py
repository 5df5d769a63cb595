"""The way out for a password, and the ways in."""

import csv
import io
import json
import os
import pty
import sqlite3
from pathlib import Path

from whole_support import Bench, bench

ROTATE = {"password": {"generate": {"length": 24}}}


async def rotated(b: Bench, count: int = 3) -> dict[str, str]:
    """Live password by instance, after a run."""
    manifest = b.manifest(targets=b.targets(count), changes=[ROTATE], proof={"password": "accepted"})
    result = await b.run("run", str(manifest), "--yes")
    assert result.code == 0, result.err
    return b.sim.cloud.passwords


async def test_list_shows_no_value_and_get_one(tmp_path: Path) -> None:
    """What is stored, and the value of one."""
    async with bench(tmp_path, instances=3) as b:
        live = await rotated(b)
        listed = await b.run("secrets", "list")
        assert listed.out.count("current") == 3
        assert not any(password in listed.out for password in live.values())
        got = await b.run("secrets", "get", "r-sim000001")
        assert got.out == live["r-sim000001"] + "\n"
        assert (await b.run("secrets", "get", "r-nosuch")).code == 2
        assert (await b.run("secrets", "get", "r-sim000001", "--stage", "previous")).code == 2


async def test_a_terminal_needs_reveal(tmp_path: Path) -> None:
    """A password does not appear on a screen by accident."""
    async with bench(tmp_path, instances=1) as b:
        live = await rotated(b, 1)
        for arguments in (("secrets", "get", "r-sim000000"), ("secrets", "export")):
            for reveal, code in ((), 2), (("--reveal",), 0):
                master, slave = pty.openpty()
                process = await b.start(*arguments, *reveal, stdout=slave)
                os.close(slave)
                await process.communicate()
                assert process.returncode == code
                shown = os.read(master, 100_000) if code == 0 else b""
                os.close(master)
                assert (live["r-sim000000"].encode() in shown) == (code == 0)


async def test_export_and_import_are_each_others_reverse(tmp_path: Path) -> None:
    """JSON and CSV, into an empty store elsewhere; twice is once; a difference is refused whole."""
    async with bench(tmp_path, instances=3) as b:
        await rotated(b)
        exported = json.loads((await b.run("secrets", "export")).out)
        assert list(exported[0]) == [
            "account_id",
            "region",
            "instance_id",
            "login",
            "stage",
            "generation",
            "password",
        ]
        text = (await b.run("secrets", "export", "--format", "csv")).out
        assert next(csv.DictReader(io.StringIO(text)))["password"] == exported[0]["password"]
        copy = tmp_path / "copy.csv"
        copy.write_text(text, newline="")
        for _ in range(2):
            assert (await b.run("secrets", "import", str(copy), "--state", "elsewhere")).code == 0
        again = await b.run("secrets", "export", "--state", "elsewhere")
        assert json.loads(again.out) == exported
        exported[1]["password"] = "Another-Passw0rd"
        changed = tmp_path / "changed.json"
        changed.write_text(json.dumps(exported))
        refused = await b.run("secrets", "import", str(changed), "--state", "elsewhere")
        assert refused.code == 2
        assert "Another-Passw0rd" not in refused.err
        assert (await b.run("secrets", "export", "--state", "elsewhere")).out == again.out


async def test_a_backup_opens_with_the_key_alone(tmp_path: Path) -> None:
    """Values stay encrypted; the copy is a store; it overwrites nothing."""
    async with bench(tmp_path, instances=2) as b:
        live = await rotated(b, 2)
        target = tmp_path / "kept" / "secrets.db"
        target.parent.mkdir()
        assert (await b.run("secrets", "backup", str(target))).code == 0
        assert (await b.run("secrets", "backup", str(target))).code == 2
        assert target.stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(target) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        content = target.read_bytes()
        assert not any(password.encode() in content for password in live.values())
        restored = json.loads((await b.run("secrets", "export", "--state", str(target.parent))).out)
        assert {record["instance_id"]: record["password"] for record in restored} == live


async def test_no_secret_is_in_anything_that_a_run_leaves_or_says(tmp_path: Path) -> None:
    """Not in journal, store, reports, plan, stdout or stderr, in plain, escaped or encoded form."""
    faults = {"scripts": [{"api": "Modify*", "match": "r-sim00000[01]", "play": ["reset_after", "http_500"]}]}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        chosen = "Ch0sen&%=+Pass*word"
        changes = [{"password": {"env": "NEW_PASSWORD"}}]
        manifest = b.manifest(targets=b.targets(4), changes=changes, proof={"password": "login"})
        environ = {"NEW_PASSWORD": chosen}
        said = [await b.run("plan", str(manifest), "-v", environ=environ)]
        said.append(await b.run("run", str(manifest), "--yes", "-v", environ=environ))
        assert said[-1].code == 0, said[-1].err
        said += [await b.run("runs"), await b.run("secrets", "list"), await b.run("report", "job", "--format", "csv")]
        texts = [result.out.encode() + result.err.encode() for result in said]
        texts += [path.read_bytes() for path in b.files() if path.is_file()]
        forms = [chosen, json.dumps(chosen)[1:-1], "Ch0sen%26%25%3D%2BPass%2Aword", "Ch0sen&amp;"]
        forms.append(b.sim.access_key_secret)
        for form in forms:
            assert not any(form.encode() in text for text in texts), form


async def test_a_manifest_names_the_store(tmp_path: Path) -> None:
    """From wherever the command is called; an import goes there too; only the embedded one is copied."""
    async with bench(tmp_path, instances=2) as b:
        live = await rotated(b, 2)
        (tmp_path / "elsewhere").mkdir()
        named = ("--manifest", str(tmp_path / "elsewhere/job.yaml"))
        written = json.loads((tmp_path / "job.yaml").read_text())
        (tmp_path / "elsewhere/job.yaml").write_text(json.dumps(written))
        exported = await b.run("secrets", "export", "--manifest", "job.yaml")
        assert {one["instance_id"]: one["password"] for one in json.loads(exported.out)} == live
        assert (await b.run("secrets", "list", *named)).code == 2  # nothing was ever kept there
        (tmp_path / "out.json").write_text(exported.out)
        assert (await b.run("secrets", "import", "out.json", *named)).code == 0
        assert (await b.run("secrets", "list", *named)).out.count("current") == 2
        assert (await b.run("secrets", "get", "r-sim000001", *named)).out == live["r-sim000001"] + "\n"
        assert (await b.run("secrets", "backup", "copy.db", *named)).code == 0
        kept = {**written, "secrets": {"store": "openbao", "address": "http://127.0.0.1:1"}}
        (tmp_path / "elsewhere/job.yaml").write_text(json.dumps(kept))
        refused = await b.run("secrets", "backup", "other.db", *named)
        assert (refused.code, "back it up with its own tools" in refused.err) == (2, True), refused.err
