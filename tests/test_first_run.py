"""The mistakes of a first run: one clear line, the place where there is one, and what to do next; exit code 2."""

import os
import re
from pathlib import Path

import pytest

from batchmod.cli import main

HEAD = "version: 1\nname: job\n"
TARGETS = "targets: [{id: r-bp1zxszhcgatnx, region: cn-hangzhou}]\n"
PROTECT = "changes: [{attributes: {release_protection: true}}]\n"
GOOD = HEAD + TARGETS + PROTECT
KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tNobody", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "none"}

MANIFESTS = {  # what is written, and what is said of it after the file's name
    "nothing": ("", ":1:1: there is nothing in it"),
    "tab": (HEAD + "targets:\n\t- r-bp1zxszhcgatnx\n", ":4:1: is no YAML: .*never with tabs"),
    "indented too far": (HEAD + "  targets: []\n", r":3:10: is no YAML: .*indented as it should be\?"),
    "indented too little": (
        HEAD + "targets:\n  - id: r-bp1zxszhcgatnx\n - id: r-2\n" + PROTECT,
        ":5:2: is no YAML: .*not indented as its neighbours",
    ),
    "entry in an entry": (
        HEAD + "defaults: {region: cn-hangzhou}\ntargets:\n  - r-bp1zxszhcgatnx\n   - r-bp2\n" + PROTECT,
        r":5:5: targets\[0\]: is no instance id, but several entries in one: let each -",
    ),
    "key not indented": (
        HEAD + "targets:\n- id: r-bp1zxszhcgatnx\nregion: cn-hangzhou\n" + PROTECT,
        ":5:1: region: unknown key here: indent it below what it belongs to",
    ),
    "change not indented": (
        HEAD + TARGETS + "changes:\n- attributes:\n  name: x\n",
        r":5:3: changes\[0\]: must have attributes alone: indent what belongs below it",
    ),
    "no targets": (HEAD + "targets: []\n" + PROTECT, ":3:10: targets: must not be empty"),
    "no region": (
        HEAD + "targets: [r-bp1zxszhcgatnx]\n" + PROTECT,
        r":3:11: targets\[0\].region: is missing, .* write one of them, such as region: cn-hangzhou",
    ),
    "no such region": (
        GOOD.replace("cn-hangzhou", "hangzhou"),
        ":3:42: .*region: is no region: written like cn-hangzhou",
    ),
}

COMMANDS = {  # what is said at all, of a good manifest
    "no manifest": (
        "validate none.yaml",
        "none.yaml: cannot be read: .*; `batchmod init none.yaml` writes one to begin with",
    ),
    "no credentials": ("plan job.yaml", "account default: NoCredentials: .* Set ALIBABA_CLOUD_ACCESS_KEY_ID and "),
    "plain http": (
        "plan job.yaml --endpoint http://redis.example",
        "endpoint: plain http goes to this machine only, write https://redis.example: ",
    ),
    "no service": (
        "plan job.yaml --endpoint http://127.0.0.1:9",
        "account default: the endpoint cannot be reached: ConnectFailed: .* Check the network, the endpoint and the proxy",
    ),
    "no run to report": (
        "report job",
        "there are no runs in this state directory: `batchmod run` begins one; .* --state",
    ),
    "no run to control": ("control job pause", "there are no runs in this state directory: `batchmod run` begins one"),
    "no store": (
        "secrets list",
        ".*secrets.db: there is no secret store here: the first run that changes a password makes",
    ),
    "there already": (
        "init job.yaml",
        "job.yaml: is there already, and is not overwritten: `batchmod init FILE` writes",
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the operator is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told_by(line: str, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on stderr of a command that refuses."""
    assert main(line.split()) == 2
    return capfd.readouterr().err.splitlines()


@pytest.mark.parametrize(("text", "told"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_that_is_wrong_says_how_to_mend_it(
    folder: Path, capfd: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    """One mistake may be the cause of another; each has a line, a place and a remedy."""
    (folder / "job.yaml").write_text(text)
    lines = told_by("validate job.yaml", capfd)
    assert any(re.match(f"job.yaml{told}", line) for line in lines), lines


@pytest.mark.parametrize(("line", "told"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_that_refuses_says_what_to_do(
    folder: Path, capfd: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    """In one line; and nothing is made."""
    (folder / "job.yaml").write_text(GOOD)
    if "127.0.0.1" in line:
        os.environ.update(KEYS)
    (shown,) = told_by(line, capfd)
    assert re.match(told, shown), shown
    assert [path.name for path in folder.iterdir()] == ["job.yaml"]


def test_a_first_manifest_is_valid_and_has_its_schema_beside_it(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The editor's line names the file that `init` wrote, wherever that is; `schema` prints the same."""
    (folder / "campaigns").mkdir()
    assert main(["init", "campaigns/job.yaml"]) == 0
    assert main(["validate", "campaigns/job.yaml"]) == 0
    first = (folder / "campaigns" / "job.yaml").read_text().splitlines()[0]
    written = folder / "campaigns" / first.removeprefix("# yaml-language-server: $schema=")
    capfd.readouterr()
    assert main(["schema"]) == 0
    assert written.read_text() == capfd.readouterr().out
