"""`--metrics FILE` on file systems that are slow or hang, and on what is no file."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NoReturn

import pytest
from journal_records import a_row

from batchmod.app import measuring as module
from batchmod.app.measuring import Measured, measuring
from batchmod.app.options import Options
from batchmod.app.watching import Watching
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.model.record import first_states
from batchmod.model.secret import Secret
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.transfer import IMPORTED


def measured(path: Path) -> AbstractAsyncContextManager[Measured]:
    options = Options(environ={}, metrics=path)
    return measuring(options, "job", Watching(options), Clock(), began=0.0)


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


class Slow:
    """A file system that takes a write when it is let, after the first one."""

    def __init__(self) -> None:
        self.let, self.writes = threading.Event(), 0
        self.loop, self.begun = (
            asyncio.get_running_loop(),
            asyncio.Event(),
        )  # a write of the file's own accord is under way
        self._fchmod = os.fchmod

    def fchmod(self, handle: int, mode: int) -> None:
        self.writes += 1
        if self.writes > 1:
            self.loop.call_soon_threadsafe(self.begun.set)
            self.let.wait()
        self._fchmod(handle, mode)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Slow]:
    files = Slow()
    monkeypatch.setattr(os, "fchmod", files.fchmod)
    monkeypatch.setattr(module, "EVERY", 0.0)
    yield files
    files.let.set()


async def test_the_last_words_follow_a_write_that_is_under_way(tmp_path: Path, slow: Slow) -> None:
    """The file is whole and says the end; nothing else is left there."""
    path = tmp_path / "job.prom"
    async with measured(path) as told:
        await slow.begun.wait()
        told.ended(3)
        asyncio.get_running_loop().call_soon(slow.let.set)
    assert "batchmod_run_exit_code" in path.read_text()
    assert names(tmp_path) == ["job.prom"]


async def test_a_write_that_hangs_is_given_up(
    tmp_path: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said once; what comes back to life later replaces nothing."""
    path = tmp_path / "job.prom"
    async with measured(path):
        monkeypatch.setattr(module, "LIMIT", 0.05)
        await slow.begun.wait()
    first = path.read_bytes()
    assert capsys.readouterr().err == f"--metrics {path}: was given up: it takes more than 0 s to write\n"
    slow.let.set()
    for thread in threading.enumerate():
        if thread.name == "metrics":
            thread.join()
    assert path.read_bytes() == first
    assert names(tmp_path) == ["job.prom"]


async def test_a_link_stays_one_and_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Each by its path; nothing is replaced."""
    link, pipe, path = tmp_path / "link", tmp_path / "pipe", tmp_path / "job.prom"
    link.symlink_to(path)
    async with measured(link):
        assert path.is_file()
    assert link.is_symlink()
    os.mkfifo(pipe)
    link.unlink()
    link.symlink_to(pipe)
    for wrong in (Path(), Path("/"), Path(os.devnull), pipe, link):
        with pytest.raises(UsageError, match=f"--metrics {wrong}: cannot be written: it is "):
            await measured(wrong).__aenter__()
    assert pipe.is_fifo()


class Frozen(EmbeddedStore):
    async def all(self) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError


async def test_when_an_imported_password_was_proved_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as unproved, as `max_age` takes it for due. A store that does not answer is not waited for after a signal,
    and what it told before stays.
    """
    path, rows = tmp_path / "job.prom", [a_row(0), a_row(1)]
    store = EmbeddedStore.open(tmp_path / "state", environ={"HOME": str(tmp_path)}, say=lambda _: None, create=True)
    for row, run_id in zip(rows, (IMPORTED, "20260304T050607Z-1a2b"), strict=True):
        await store.escrow(row.key, login="x", secret=Secret("Passw0rd-1"), run_id=run_id)
        await store.promote(row.key, 1)
    async with measured(path) as told:
        told.begin(first_states(rows))
        await told.prove(store)
        await store.close()
        capsys.readouterr()
        frozen = Frozen.open(tmp_path / "state", environ={"HOME": str(tmp_path)}, say=lambda _: None, create=True)
        monkeypatch.setattr(module, "HURRIED", 0.0)
        await told.prove_at_last(frozen, signalled=True, hurry=asyncio.Event())
        assert "the secret store takes more than 0 s" in capsys.readouterr().err
        await frozen.close()
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("batchmod_passwords_unproved{")]
    assert line.endswith(" 1.0")
