"""`batchmod secrets … --store URL`: the same commands on the store that many machines share."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from postgres import Database

from batchmod.cli import main

PASSWORD = "Stored_passw0rd"
RECORD = {
    "account_id": "1",
    "region": "cn-hangzhou",
    "instance_id": "r-1",
    "login": "r-1",
    "stage": "current",
    "generation": 1,
    "password": PASSWORD,
}
MANIFEST = {
    "version": 1,
    "name": "job",
    "targets": [{"id": "r-bp1zxszhcgatnx", "region": "cn-hangzhou"}],
    "changes": [{"password": {"generate": {"length": 24}}}],
}
WITHOUT = "import sys\nsys.modules['psycopg'] = None\nfrom batchmod.cli import main\nsys.exit(main(sys.argv[1:]))\n"
FAULT = "CREATE TRIGGER fault BEFORE INSERT ON secret WHEN NEW.login = 'r-3' BEGIN SELECT RAISE(ABORT, 'a fault'); END"
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Exit code, stdout and stderr of `batchmod secrets …`, in a directory with an export and a manifest."""
    monkeypatch.chdir(tmp_path)
    Path("export.json").write_text(json.dumps([RECORD]))
    Path("job.yaml").write_text(json.dumps(MANIFEST))
    Path("bao.yaml").write_text(
        json.dumps({**MANIFEST, "secrets": {"store": "openbao", "address": "http://127.0.0.1:1"}})
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["secrets", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_what_goes_in_comes_out(say: Say, database: Database) -> None:
    """Imported into a database without our schema, listed, got and exported; a manifest of the embedded store means it, too."""
    database.execute("DROP SCHEMA batchmod CASCADE")
    there = ("--store", database.url)
    assert say("list", *there)[:2] == (0, "no secrets yet\n")
    assert database.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'batchmod'") == []  # looking makes nothing
    code, _, err = say("import", "export.json", *there)
    assert code == 0, err
    assert f"1 secrets imported into {database.url}" in err
    for more in (), ("--manifest", "job.yaml"):
        code, out, _ = say("list", *there, *more)
        assert (code, "current" in out, PASSWORD in out) == (0, True, False)
        assert say("get", "r-1", *there, *more)[:2] == (0, f"{PASSWORD}\n")
        assert json.loads(say("export", *there, *more)[1]) == [RECORD]
    assert not Path(".batchmod").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("backup", "copy.db"), "pg_dump is how a PostgreSQL is backed up"),
        (("list", "--state", "elsewhere"), "two stores are named"),
        (("list", "--manifest", "bao.yaml"), "but in openbao"),
    ],
)
def test_what_is_not_meant_for_it_is_refused(
    say: Say, database: Database, arguments: tuple[str, ...], reason: str
) -> None:
    """In words that say what to do instead; no option is ignored."""
    code, out, err = say(*arguments, "--store", database.url)
    assert (code, out, reason in err) == (2, "", True), err
    assert not Path("copy.db").exists()


def test_no_password_is_taken_from_url_or_environment(
    say: Say, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor repeated; the message says where it belongs."""
    for command in ("list",), ("import", "export.json"), ("backup", "x.db"):
        code, out, err = say(*command, "--store", "postgresql://me:Secret-0ne@127.0.0.1/x")
        assert (code, "Secret-0ne" in out + err) == (2, False)
    assert "PGPASSFILE" in say("list", "--store", "postgresql://me:Secret-0ne@127.0.0.1/x")[2]
    monkeypatch.setenv("PGPASSWORD", "Secret-0ne")
    code, out, err = say("list", "--store", database.url)
    assert (code, "PGPASSFILE" in err, "Secret-0ne" in out + err) == (2, True, False)


def test_a_machine_without_the_key_is_told_so(
    say: Say, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It sees what is stored as little as it could write."""
    assert say("import", "export.json", "--store", database.url)[0] == 0
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    for command in ("list",), ("export",), ("import", "export.json"):
        code, _, err = say(*command, "--store", database.url)
        assert (code, "copy the age key to this machine" in err) == (2, True), err


@pytest.mark.parametrize("where", ["database", "directory"])
def test_of_an_import_all_is_there_or_nothing(say: Say, database: Database, where: str) -> None:
    """Whatever stands in the way of one record, and whenever it came there; the same again is no fault."""
    records = [{**RECORD, "instance_id": f"r-{number}", "login": f"r-{number}"} for number in range(5)]
    Path("export.json").write_text(json.dumps(records))
    place = ("--store", database.url) if where == "database" else ("--state", "here")
    if where == "database":
        fault, mended = (
            "ALTER TABLE secret ADD CONSTRAINT fault CHECK (login <> 'r-3')",
            "ALTER TABLE secret DROP CONSTRAINT fault",
        )
        database.execute(fault)
    else:
        Path("empty.json").write_text("[]")
        assert say("import", "empty.json", *place)[0] == 0
        fault, mended = FAULT, "DROP TRIGGER fault"
        changed(fault)
    code, _, err = say("import", "export.json", *place)
    assert code not in {0, 70}, err
    assert say("list", *place)[1] == "no secrets yet\n"
    database.execute(mended) if where == "database" else changed(mended)
    for _ in range(2):
        assert say("import", "export.json", *place)[0] == 0
    assert say("list", *place)[1].count("r-") == 10


def changed(statement: str) -> None:
    with closing(sqlite3.connect("here/secrets.db")) as db:
        db.execute(statement)


def test_without_its_extra_the_store_says_so(tmp_path: Path) -> None:
    """Exit 2, with the command that installs it."""
    command = [sys.executable, "-c", WITHOUT, "secrets", "list", "--store", "postgresql:///x"]
    result = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert (result.returncode, "pip install 'batchmod[cluster]'" in result.stderr) == (2, True), result.stderr
