"""What `plan -o` and `run PLAN` refuse before anything is asked of the service: exit 2, and one line that says why."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from plan_records import plan_file, written

from batchmod.cli import main
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import load_or_make

NOBODY = "http://127.0.0.1:1"  # whoever asks it is told that it cannot be reached
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Runs a command in the folder that is refused; what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMOD_AGE_KEY", str(tmp_path / "age.key"))
    monkeypatch.setenv("BATCHMOD_ENDPOINT", NOBODY)

    def run(*arguments: str) -> str:
        assert main(arguments) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert len(shown.err.splitlines()) == 1, shown.err
        assert NOBODY not in shown.err
        return shown.err

    return run


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"schema", b"schemb"),
        (b"batchmod", b"Batchmod"),
        (b'"sha256"', b'"sha255"'),
        (b'",\n', b'", '),
        (b"r-bp0000", b"r-bp0001"),
        (b"\n]}\n", b"\n]}"),
        (b"\n]}\n", b"\n]}\n\n"),
    ],
)
def test_a_touched_plan_is_refused_as_a_plan(tmp_path: Path, refused: Refused, old: bytes, new: bytes) -> None:
    """Not as a manifest with strange keys."""
    content = written(plan_file(tmp_path), tmp_path / "plan.json")
    assert old in content
    (tmp_path / "plan.json").write_bytes(content.replace(old, new, 1))
    assert "make a new plan" in refused("run", "plan.json", "--yes")
    assert not (tmp_path / ".batchmod").exists()


def test_a_plan_of_the_first_version_is_refused(tmp_path: Path, refused: Refused) -> None:
    """It had no seal."""
    (tmp_path / "plan.json").write_text('{"schema": "batchmod.plan/1", "name": "job", "rows": [\n]}\n')
    assert "another version of batchmod" in refused("run", "plan.json", "--yes")


def test_a_plan_has_no_rows_to_choose_from(tmp_path: Path, refused: Refused) -> None:
    """--retry needs the manifest."""
    written(plan_file(tmp_path), tmp_path / "plan.json")
    assert "needs the manifest" in refused("run", "plan.json", "--yes", "--retry", "failed")
    assert "a plan already" in refused("plan", "plan.json")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("job.yaml", "the manifest itself"),
        ("none/plan.json", "cannot be written"),
        (".", "not a regular file"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_where_a_plan_cannot_be_written(tmp_path: Path, refused: Refused, output: str, words: str) -> None:
    """Told before the fleet is read."""
    plan_file(tmp_path)
    assert words in refused("plan", "job.yaml", "-o", output)


def test_another_password_is_refused(tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """And another key, no key, and a plan that was made without one."""
    key, _ = load_or_make(tmp_path / "age.key", may_make=True)
    hmac = key.fingerprint(Secret("First-Passw0rd"))
    written(plan_file(tmp_path, password="{env: PW}", password_hmac=hmac), tmp_path / "plan.json")
    assert "PW is empty or not set" in refused("run", "plan.json", "--yes")
    monkeypatch.setenv("PW", "Second-Passw0rd")
    assert "not the password that this plan was made with" in refused("run", "plan.json", "--yes")
    monkeypatch.setenv("PW", "First-Passw0rd")
    load_or_make(tmp_path / "other.key", may_make=True)
    monkeypatch.setenv("BATCHMOD_AGE_KEY", str(tmp_path / "other.key"))
    assert "or another age key" in refused("run", "plan.json", "--yes")
    monkeypatch.setenv("BATCHMOD_AGE_KEY", str(tmp_path / "none.key"))
    assert "there is no age key" in refused("run", "plan.json", "--yes")
    assert not (tmp_path / "none.key").exists()
    written(plan_file(tmp_path, password="{env: PW}", password_hmac=None), tmp_path / "plan.json")
    assert "plan -o" in refused("run", "plan.json", "--yes")
    assert not (tmp_path / ".batchmod").exists()


def test_the_directory_of_the_manifest_is_gone(tmp_path: Path, refused: Refused) -> None:
    """What starts from it is named, and nothing is made in its place."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    written(plan_file(jobs, password="{file: pw.txt}"), tmp_path / "plan.json")
    shutil.rmtree(jobs)
    said = refused("run", "plan.json", "--yes")
    assert "not there any more" in said
    assert "--state" in said
    assert "password.file pw.txt" in said
    assert "--state" not in refused("run", "plan.json", "--yes", "--state", "state")
    assert not jobs.exists()
