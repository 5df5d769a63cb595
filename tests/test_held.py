"""What a run, a resume or an abandon of another process, or of an earlier night, keeps this one from doing."""

import asyncio
import time
from pathlib import Path

import pytest
from journal_records import a_row, a_run

from batchmod.cli import main
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.model.events import StoppedBy
from batchmod.model.loading import load
from batchmod.model.runs import Mark, MarkType

MANIFEST = """version: 1
name: job
targets: [{id: r-bp0000, region: cn-hangzhou}]
changes: [{attributes: {name: "new-{id}"}}]
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """Of a manifest in the current directory; whoever asks the service is told that it cannot be reached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMOD_ENDPOINT", "http://127.0.0.1:1")
    (tmp_path / "job.yaml").write_text(MANIFEST)
    state = StateDir(path=tmp_path / ".batchmod")
    state.prepare()
    return state


def opened(state: StateDir, *marks: Mark) -> None:
    """The journal knows a run of the manifest with an open row, and what happened to it."""

    async def write() -> None:
        journal = SqliteJournal.open(state.path)
        loaded = load(state.path.parent / "job.yaml")
        run = a_run("r1", name="job", manifest_digest=loaded.digest, manifest=loaded.normalised)
        await journal.open_run(run, [a_row()])
        for mark in marks:
            await journal.mark(run.id, mark)
        journal.close()

    asyncio.run(write())


RUN, ON, RESUME, ABANDON = (
    ("run", "job.yaml", "--yes"),
    ("run", "job.yaml", "--yes", "--resume"),
    ("resume",),
    ("abandon", "job"),
)


def held(state: StateDir, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    with state.hold(run_id="the-first", now=time.time()):
        assert main(command) == 75
    said = capsys.readouterr().err
    assert "held by run the-first" in said
    assert len(said.splitlines()) == 1
    assert main(command) != 75


@pytest.mark.parametrize("command", [RUN, ON, RESUME, ABANDON], ids=" ".join)
@pytest.mark.parametrize("stopped_by", [None, *StoppedBy])
def test_the_second_has_nothing_to_ask(
    state: StateDir, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], stopped_by: StoppedBy | None
) -> None:
    """75 and who holds it, also when the first has just taken up what was stopped."""
    opened(state, *[Mark(type=MarkType.STOPPED, at=1.0, stopped_by=stopped_by)][: stopped_by is not None])
    held(state, capsys, command)


@pytest.mark.parametrize("command", [RUN, ON, RESUME], ids=" ".join)
def test_the_second_is_told_while_the_first_still_plans(
    state: StateDir, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """There is no run yet that could be resumed, and still the directory is held."""
    held(state, capsys, command)


@pytest.mark.parametrize(
    ("stopped_by", "words"),
    [
        (StoppedBy.MAX_FAILURES, "has spent its failure budget: only `batchmod resume r1 --reset-budget`"),
        (StoppedBy.CHECK, "was stopped by its check: only `batchmod resume r1`"),
        (StoppedBy.MANUAL, "waits for an operator between two waves: only `batchmod resume r1`"),
    ],
)
def test_what_waits_for_an_operator_is_not_continued_by_cron(
    state: StateDir, capsys: pytest.CaptureFixture[str], stopped_by: StoppedBy, words: str
) -> None:
    """`run --resume` says who must, and how: exit 3; of another manifest too, for the fleet is in between."""
    opened(state, Mark(type=MarkType.STOPPED, at=1.0, stopped_by=stopped_by))
    for _ in range(2):
        assert main(["run", "job.yaml", "--yes", "--resume"]) == 3
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1
        (state.path.parent / "job.yaml").write_text(MANIFEST.replace("new-", "newer-"))
