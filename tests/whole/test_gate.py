"""What lies between two waves, step by step; the waves themselves are played as processes elsewhere."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from batchmod.app.checking import TAIL, Checked, check, clean_environ
from batchmod.app.waves import Next, next_step
from batchmod.engine.halt import Halt
from batchmod.model.events import StoppedBy
from batchmod.model.runs import Mark, MarkType, Run

RUN = Run(id="r", name="job", manifest_digest="", manifest="{}", directory="/", started_at=0.0)
PATH = {"PATH": "/usr/bin:/bin"}


def test_the_gate_is_passed_step_by_step_and_where_a_process_died_the_next_goes_on() -> None:
    """Ended, paused, checked, opened: what the journal has is not done again."""
    run, todo = RUN, []
    for what in (MarkType.WAVE_ENDED, MarkType.PAUSE_OVER, MarkType.CHECKED, MarkType.WAVE_OPENED):
        todo.append(next_step(run, 2))
        wave = 2 if what is MarkType.WAVE_OPENED else 1
        run = run.after(Mark(type=what, at=5.0, wave=wave))
    assert todo == [Next.END, Next.PAUSE, Next.CHECK, Next.CHECK]
    assert [next_step(run, wave) for wave in (1, 2, 3)] == [Next.NOTHING, Next.NOTHING, Next.END]
    assert run.wave_ended_at == 5.0


def test_a_gate_that_was_opened_stays_open_over_a_resume() -> None:
    opened = replace(RUN, waves_ended=1, pauses_over=1, opened=2).after(Mark(type=MarkType.RESUMED, at=9.0))
    assert next_step(opened, 2) is Next.NOTHING


def test_a_child_sees_nothing_that_could_be_a_credential() -> None:
    """Whatever its name: what is not known to be harmless is left out."""
    environ = {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "C",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s",
        "PW": "x",
        "AWS": "y",
    }
    assert clean_environ(environ, BATCHMOD_WAVE="1") == {
        "PATH": "/bin",
        "HOME": "/h",
        "LC_ALL": "C",
        "BATCHMOD_WAVE": "1",
    }


async def said(
    folder: Path, script: str, *, patience: float = 20.0, halt: Halt | None = None, environ: Mapping[str, str] = PATH
) -> Checked:
    command = ["/bin/sh", "-c", script]
    return await check(command, directory=folder, environ=environ, patience=patience, stopped=(halt or Halt()).stopped)


async def test_what_a_check_says_is_kept_to_its_last_part(tmp_path: Path) -> None:
    """Both streams, in the manifest's directory, whatever bytes they are."""
    checked = await said(tmp_path, "pwd; echo bad >&2; exit 3")
    assert (checked.passed, checked.code, checked.how) == (False, 3, "exit 3")
    assert checked.said == f"{tmp_path}\nbad"
    checked = await said(tmp_path, "yes abcdefg | head -c 300000; printf '\\377end'")
    assert (checked.passed, len(checked.said.encode("utf-8", "replace")) <= TAIL + 2) == (True, True)
    assert checked.said.endswith("\ufffdend")
    assert (await said(tmp_path, "kill -9 $$")).how == "killed by signal 9"


async def test_a_check_that_hangs_is_gone_with_all_that_it_started(tmp_path: Path) -> None:
    """It did not pass; its children in the background do not outlive it."""
    checked = await said(tmp_path, "sleep 300 & echo $! > child; echo begun; sleep 300", patience=0.5)
    assert (checked.passed, checked.code, checked.said) == (False, None, "begun")
    assert checked.how == "stopped: it had not ended after 0.5 s"
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(10):
        while alive(child):  # noqa: ASYNC110  killed it is, and gone a moment later
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_what_stays_behind_does_not_hold_the_run(tmp_path: Path) -> None:
    """A child that keeps the output open is not waited for."""
    async with asyncio.timeout(10):
        checked = await said(tmp_path, "sleep 300 & echo done")
    assert (checked.passed, checked.said) == (True, "done")


async def test_a_run_that_stops_stops_its_check(tmp_path: Path) -> None:
    halt = Halt()
    work = asyncio.create_task(said(tmp_path, "touch begun; sleep 300", halt=halt))
    while not (tmp_path / "begun").exists():  # noqa: ASYNC110  the child has no other way to tell
        await asyncio.sleep(0.01)
    halt.stop(StoppedBy.SIGNAL)
    checked = await work
    assert (checked.passed, checked.how) == (False, "stopped with the run")


@pytest.mark.parametrize("command", [["./not-there"], ["/"], ["a\0b"]])
async def test_a_command_that_cannot_be_run_has_not_passed(tmp_path: Path, command: list[str]) -> None:
    checked = await check(command, directory=tmp_path, environ=PATH, patience=5.0, stopped=Halt().stopped)
    assert (checked.passed, checked.code) == (False, None)
    assert "cannot be run" in checked.how
