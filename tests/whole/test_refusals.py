"""What is refused is refused before anything was sent: exit 2, one clear reason, no traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from whole_support import Bench, Result, bench

RENAME = {"attributes": {"name": "{region}-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
ENCRYPT: dict[str, Any] = {"tde": {}}


def refused(result: Result, *words: str) -> None:
    assert result.code == 2, (result.code, result.err)
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err


def nothing_sent(b: Bench) -> None:
    assert b.modifying_calls() == 0


async def test_no_credentials(tmp_path: Path) -> None:
    """The variables to set are named."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""})
        refused(result, "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
        assert not b.sim.cloud.state()["calls"]


@pytest.mark.parametrize(
    ("endpoint", "word"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("http://example.com", "plain http"),
        ("ftp://127.0.0.1", "endpoint"),
        ("https://user:hunter2@127.0.0.1", "endpoint"),
    ],
)
async def test_an_endpoint_that_cannot_be_used(tmp_path: Path, endpoint: str, word: str) -> None:
    """Unreachable, or nothing that a secret may be sent to."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", "--endpoint", endpoint)
        refused(result, word)
        assert "hunter2" not in result.err
        nothing_sent(b)


async def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    """More than 60 s from the service's: no run starts."""
    async with bench(tmp_path, instances=1, faults={"clock_offset": 120}) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        refused(await b.run("run", str(manifest), "--yes"), "clock")
        nothing_sent(b)


async def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in its place, or a directory that takes no files."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        (tmp_path / "taken").write_text("")
        refused(await b.run("run", str(manifest), "--yes", "--state", "taken"), "taken")
        refused(await b.run("run", str(manifest), "--yes", "--state", "/proc/nowhere"), "/proc/nowhere")
        nothing_sent(b)


async def test_a_report_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """Told before anything is sent, not after."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        (tmp_path / "taken").write_text("")
        refused(await b.run("run", str(manifest), "--yes", "--report-dir", "taken"), "taken")
        nothing_sent(b)


@pytest.mark.parametrize("size", [0, 4096, 30_000])
async def test_a_full_disk(tmp_path: Path, size: int) -> None:
    """No journal, no store, no key: nothing is sent."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE])
        program = (
            "import resource, signal, sys\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
            "from batchmod.cli import main\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        process = await b.start_program(program, "run", str(manifest), "--yes")
        _, err = await process.communicate()
        refused(Result(process.returncode or 0, "", err.decode()))
        nothing_sent(b)


async def test_without_a_terminal_a_change_needs_yes(tmp_path: Path) -> None:
    """And what cannot be undone needs its number."""
    async with bench(tmp_path, instances=2) as b:
        rename = b.manifest(targets=b.targets(2), changes=[RENAME])
        refused(await b.run("run", str(rename)), "--yes")
        encrypt = b.manifest(targets=b.targets(2), changes=[ENCRYPT])
        refused(await b.run("run", str(encrypt), "--yes"), "--accept-irreversible 2")
        refused(await b.run("run", str(encrypt), "--yes", "--accept-irreversible", "3"), "--accept-irreversible 2")
        nothing_sent(b)


async def test_more_targets_than_allowed(tmp_path: Path) -> None:
    """max_targets counts what the plan would change, not what it lists."""
    async with bench(tmp_path, instances=3, faults={"instances": {"r-sim000000": {"name": "same"}}}) as b:
        same = [{"attributes": {"name": "same"}}]
        manifest = b.manifest(targets=b.targets(3), changes=same, rollout={"max_targets": 1})
        refused(await b.run("run", str(manifest), "--yes"), "max_targets", "2")
        manifest = b.manifest(targets=b.targets(3), changes=same, rollout={"max_targets": 2})
        assert (await b.run("run", str(manifest), "--yes")).code == 0


async def test_a_name_that_breaks_the_rules_when_rendered(tmp_path: Path) -> None:
    """Known only from live state: an error of the plan, for every target at once."""
    async with bench(tmp_path, instances=2) as b:
        changes = [{"attributes": {"name": {"pattern": "^sim-(.*)$", "replace": "9\\1"}}}]
        manifest = b.manifest(targets=b.targets(2), changes=changes)
        refused(await b.run("run", str(manifest), "--yes"), "r-sim000000", "r-sim000001")
        nothing_sent(b)


async def test_a_fence_shorter_than_a_signature_is_for_loopback_only(tmp_path: Path) -> None:
    """Elsewhere an old value could overwrite a new one."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        refused(await b.run("run", str(manifest), "--yes", environ={"BATCHMOD_ENDPOINT": None}), "fence")
        # A variable that was to be set from something that failed: the real cloud is not what was meant.
        refused(
            await b.run("run", str(manifest), "--yes", environ={"BATCHMOD_ENDPOINT": ""}), "BATCHMOD_ENDPOINT is empty"
        )


async def test_a_lost_age_key_is_not_replaced(tmp_path: Path) -> None:
    """A store that the key does not open: nothing is sent, nothing is made."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[ROTATE], proof={"password": "accepted"})
        first = await b.run("run", str(manifest), "--yes")
        assert first.code == 0, first.err
        key = Path(os.environ["HOME"]) / ".config/batchmod/age.key"
        assert "back this up" in first.err
        assert key.stat().st_mode & 0o777 == 0o600
        sent = b.modifying_calls()
        key.unlink()
        refused(await b.run("run", str(manifest), "--yes"), "age.key")
        assert not key.exists()
        assert b.modifying_calls() == sent


async def test_broken_manifests_are_refused_by_every_command_that_reads_one(tmp_path: Path) -> None:
    """All problems at once, each with its place; exit 2."""
    async with bench(tmp_path, instances=1) as b:
        broken = tmp_path / "broken.yaml"
        broken.write_text("version: 1\nname: Job\ntargets: [r-1]\nchange: []\nlimits: {rate: fast}\n")
        for command in ("validate", "plan", "run"):
            result = await b.run(command, str(broken))
            refused(result, f"{broken}:2:7: name:", f"{broken}:4:1: change:", "changes", "limits.rate")
        assert not b.sim.cloud.state()["calls"]


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["run"], ["run", "nowhere.yaml"], ["plan", "x", "--format", "xml"]]
)
def test_usage(arguments: list[str]) -> None:
    """What the command line gets wrong is said in a line or two."""
    result = subprocess.run([sys.executable, "-m", "batchmod", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["runs", "resume"])
async def test_commands_that_only_read_create_nothing(tmp_path: Path, command: str) -> None:
    """No state directory appears by looking for one."""
    async with bench(tmp_path, instances=1) as b:
        before = b.files()
        result = await b.run(command)
        assert result.code == 0, result.err
        assert b.files() == before


async def test_a_chosen_password_that_breaks_a_rule_is_told_with_its_place(tmp_path: Path) -> None:
    """By `validate` when it is at hand, by `plan` and `run` always; never shown."""
    async with bench(tmp_path, instances=1) as b:
        (tmp_path / "weak.txt").write_text("weak-one\n")
        for change in ({"env": "WEAK"}, {"file": "weak.txt"}):
            manifest = b.manifest(targets=b.targets(1), changes=[RENAME, {"password": change}])
            (field,) = change
            for command in ("validate", "plan", "run"):
                result = await b.run(command, str(manifest), environ={"WEAK": "weak-one"})
                refused(result, f"{manifest}:1:", f"changes[1].password.{field}: ")
                assert "weak-one" not in result.err
        manifest = b.manifest(targets=b.targets(1), changes=[{"password": {"env": "UNSET"}}])
        assert (await b.run("validate", str(manifest))).code == 0
        refused(await b.run("plan", str(manifest)), "changes[0].password.env: ", "UNSET")
        nothing_sent(b)


async def test_a_refusal_by_the_service_leaves_nothing_behind(tmp_path: Path) -> None:
    """No state directory and no key for credentials that are wrong."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE])
        refused(await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"}))
        assert not (tmp_path / ".batchmod").exists()
        assert not (Path(os.environ["HOME"]) / ".config").exists()
