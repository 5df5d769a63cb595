"""Where a plan may be written: a new file takes the place of what is there, so that must be a file."""

import os
from pathlib import Path

import pytest

from batchmod.app.options import Options
from batchmod.app.planfiles import check_output
from batchmod.errors import UsageError

OPTIONS = Options(environ={})


@pytest.mark.parametrize("kind", ["fifo", "link", "link to nothing", "link to a fifo", "device"])
def test_a_plan_replaces_nothing_but_a_file(tmp_path: Path, kind: str) -> None:
    """A pipe, a device or a link is not renamed over: `-o /dev/stdout` as root would take the machine's own away."""
    (tmp_path / "job.yaml").touch()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    output = tmp_path / "output"
    match kind:
        case "fifo":
            output = tmp_path / "fifo"
        case "device":
            output = Path(os.devnull)
        case "link":
            output.symlink_to("file")
        case "link to nothing":
            output.symlink_to("missing")
        case _:
            output.symlink_to("fifo")
    with pytest.raises(UsageError, match=f"{output}: not a regular file"):
        check_output(output, tmp_path / "job.yaml", OPTIONS)


def test_a_plan_replaces_an_older_one(tmp_path: Path) -> None:
    """The file that is there, or none."""
    (tmp_path / "job.yaml").touch()
    (tmp_path / "plan.json").touch()
    for name in ("plan.json", "new.json"):
        check_output(tmp_path / name, tmp_path / "job.yaml", OPTIONS)


@pytest.mark.parametrize("name", ["fleet.csv", "job.yaml", ".batchmod/secrets.db", ".batchmod/new", "keys/age.key"])
def test_a_plan_replaces_nothing_else(tmp_path: Path, name: str) -> None:
    """Neither what somebody wrote, nor the store, the journal or the key, though there is none yet."""
    for folder in (".batchmod", "keys"):
        (tmp_path / folder).mkdir()
    for file in ("fleet.csv", "job.yaml", ".batchmod/secrets.db"):
        (tmp_path / file).write_text("what must not be lost", encoding="utf-8")
    options = Options(environ={"BATCHMOD_AGE_KEY": str(tmp_path / "keys/age.key")})
    with pytest.raises(UsageError, match="name another file for the plan"):
        check_output(tmp_path / name, tmp_path / "job.yaml", options)
