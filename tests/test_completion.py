"""Completion as the shells ask for it: real shells that source the script; those that are not installed are left out."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from journal_records import a_row, a_run

from batchmod.journal.sqlite import SqliteJournal

SHELLS = ("bash", "zsh", "fish")
OLD, NEW, ELSEWHERE = "20260304T050607Z-1a2b", "20260305T050607Z-1a2b", "20260306T050607Z-1a2b"
BASH = """
eval "$(batchmod completion bash)"
compopt() { echo "($2)"; }
for line in "$@"; do
  IFS=' ' read -ra COMP_WORDS <<< "$line"
  [[ $line == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  _batchmod_completion batchmod
  printf '%s\\n' "${COMPREPLY[@]}" .
done
"""
ZSH = """
compdef() { }
compadd() { print -l -- ${(P)argv[-1]} }
_describe() { print -l -- ${${(P)3}%%:*} }
_path_files() { [[ $1 == -/ ]] && print '(dirnames)' || print '(default)' }
eval "$(batchmod completion zsh)"
for line in "$@"; do
  words=(${(s: :)line})
  [[ $line == *' ' ]] && words+=('')
  CURRENT=${#words}
  _batchmod_completion
  print .
done
"""
FISH = """
batchmod completion fish | source
for line in $argv
  complete -C $line | string split -f1 \\t
  echo .
end
"""
SCRIPTS = {"bash": ["-c", BASH, "bash"], "zsh": ["-fc", ZSH, "zsh"], "fish": ["-Nc", FISH]}


def asked(shell: str, folder: Path, *lines: str) -> list[list[str]]:
    """What the shell would offer at the end of each line, in this folder; nothing may be said on stderr."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(folder),
    }
    result = subprocess.run(
        [program, *SCRIPTS[shell], *lines],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stderr == ""
    offers = re.split(r"^\.$", result.stdout, flags=re.MULTILINE)[:-1]
    return [[word for word in offer.splitlines() if word] for offer in offers]


async def ran(state: Path, *runs: Sequence[str]) -> None:
    """A state directory whose journal has these runs, each its id and name."""
    state.mkdir()  # noqa: ASYNC240  nothing else waits
    journal = SqliteJournal.open(state)
    for run_id, name in runs:
        await journal.open_run(a_run(run_id, name=name), [a_row()])
    journal.close()


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_shell_completes(tmp_path: Path, shell: str) -> None:
    """Commands, choices and actions; runs of the state directory that the line names, the latest first."""
    await ran(tmp_path / ".batchmod", (OLD, "rotate"), (NEW, "rename"))
    await ran(tmp_path / "other", (ELSEWHERE, "rotate"))
    lines = {
        "batchmod secrets ge": ["get"],
        "batchmod report ": ["rename", "rotate", NEW, OLD],
        "batchmod resume 20260304": [OLD],
        "batchmod report --state other ": ["rotate", ELSEWHERE],
        "batchmod report rotate --format j": ["json", "junit"],
        "batchmod control rotate ": ["pause", "continue", "stop", "rate=auto", "changing=none"],
        "batchmod control rotate st": ["stop"],
    }
    found = asked(shell, tmp_path, *lines)
    if shell == "fish":  # which sorts
        found, wanted = [sorted(offer) for offer in found], [sorted(offer) for offer in lines.values()]
    else:
        wanted = list(lines.values())
    assert found == wanted


@pytest.mark.parametrize("shell", SHELLS)
def test_files_are_the_shells_own(tmp_path: Path, shell: str) -> None:
    """A manifest is any file, a state directory a directory; without runs nothing is offered, made or said."""
    (tmp_path / "job.yaml").touch()
    (tmp_path / "jobs").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.db").write_text("no journal")
    before = sorted(tmp_path.rglob("*"))
    lines = ["batchmod run jo", "batchmod runs --state jo", "batchmod report ", "batchmod report --state broken "]
    found = asked(shell, tmp_path, *lines)
    files, folders = (["job.yaml", "jobs/"], ["jobs/"]) if shell == "fish" else (["(default)"], ["(dirnames)"])
    assert found == [files, folders, [], []]
    assert [path for path in sorted(tmp_path.rglob("*")) if "fish" not in str(path.relative_to(tmp_path))] == before
