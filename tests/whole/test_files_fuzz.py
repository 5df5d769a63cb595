"""Arbitrary bytes in place of journal, store and lock: one clear error or what was there, and nothing overwritten."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from journal_records import a_row, a_run, a_step
from soaking import examples

from batchmod.errors import BatchmodError, HeldError, JournalError, StoreError, UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.state import StateDir
from batchmod.model.events import Phase
from batchmod.model.secret import InstanceKey, Secret
from batchmod.secrets.embedded import EmbeddedStore

KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
PASSWORD = Secret("Stored-Passw0rd")


@cache
def whole() -> Path:
    """A directory with a journal and a store, as a run leaves them."""
    folder = Path(tempfile.mkdtemp(prefix="files-fuzz-"))
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    journal = SqliteJournal.open(folder)
    run = a_run()
    await journal.open_run(run, [a_row(number) for number in range(3)])
    await journal.step(run.id, a_step(Phase.ARMED))
    journal.close()
    store = _store(folder, create=True)
    await store.escrow(KEY, login="r-1", secret=PASSWORD, run_id=run.id)
    await store.close()


def _store(folder: Path, *, create: bool) -> EmbeddedStore:
    environ = {"HOME": str(folder), "BATCHMOD_AGE_KEY": str(folder / "age.key")}
    return EmbeddedStore.open(folder, environ=environ, say=lambda _: None, create=create)


def _read_journal(folder: Path) -> None:
    journal = SqliteJournal.read(folder)
    for run in journal.runs():
        list(journal.states(run.id))
        journal.counts(run.id)
    list(journal.doubtful())


def _open_journal(folder: Path) -> None:
    journal = SqliteJournal.open(folder)
    try:
        journal.unfinished()
    finally:
        journal.close()


def _read_store(folder: Path) -> None:
    asyncio.run(_reveal(folder, create=False))


def _open_store(folder: Path) -> None:
    asyncio.run(_reveal(folder, create=True))


async def _reveal(folder: Path, *, create: bool) -> None:
    store = _store(folder, create=create)
    try:
        for one in await store.all():
            await store.reveal(one.key, one.generation)
    finally:
        await store.close()


USES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "journal, read": ("journal.db", _read_journal),
    "journal, written": ("journal.db", _open_journal),
    "store, read": ("secrets.db", _read_store),
    "store, written": ("secrets.db", _open_store),
}
NOISE = st.binary(min_size=2, max_size=200)  # SQLite takes a single byte for an empty file
NOISE |= st.binary(min_size=5000, max_size=9000)
MAGIC = b"SQLite format 3\0"  # a piece of its beginning is what a cut creation leaves
PIECE = st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=30))


def used(name: str, content: Callable[[bytes], bytes]) -> None:
    """The file with other content is used: what is refused is as it was, to the byte."""
    file, use = USES[name]
    with tempfile.TemporaryDirectory(prefix="files-fuzz-") as scratch:
        folder = Path(scratch) / "state"
        shutil.copytree(whole(), folder)
        path = folder / file
        path.write_bytes(content(path.read_bytes()))
        before = path.read_bytes()
        refusal = refused(use, folder)
        if refusal is not None:
            assert PASSWORD.reveal() not in str(refusal)
            assert path.read_bytes() == before or name.endswith("written")
            if isinstance(refusal, UsageError):
                assert str(path) in str(refusal) or "age.key" in str(refusal)


def refused(use: Callable[[Path], None], folder: Path) -> BatchmodError | None:
    try:
        use(folder)
    except (UsageError, JournalError, StoreError) as error:
        return error
    return None


@pytest.mark.parametrize("name", USES)
@examples(60)
@given(noise=NOISE)
def test_noise_in_place_of_a_database_is_refused_and_stays(name: str, noise: bytes) -> None:
    """Nothing that somebody else wrote is overwritten."""
    assume(any(noise) and not MAGIC.startswith(noise[: len(MAGIC)]))
    file, use = USES[name]
    with tempfile.TemporaryDirectory(prefix="files-fuzz-") as scratch:
        folder = Path(scratch)
        shutil.copy(whole() / "age.key", folder)
        (folder / file).write_bytes(noise)
        with pytest.raises(BatchmodError):
            use(folder)
        assert (folder / file).read_bytes() == noise


@pytest.mark.parametrize("name", USES)
@examples(60)
@given(pieces=st.lists(PIECE, min_size=1, max_size=4), cut=st.none() | st.floats(0, 1))
def test_a_damaged_database_is_read_or_refused(name: str, pieces: list[tuple[float, bytes]], cut: float | None) -> None:
    """Some bytes are others, or the end is missing."""

    def damaged(content: bytes) -> bytes:
        for at, piece in pieces:
            start = int(at * len(content))
            content = content[:start] + piece + content[start + len(piece) :]
        return content if cut is None else content[: int(cut * len(content))]

    used(name, damaged)


@examples(100)
@given(
    content=st.binary(max_size=100)
    | st.sampled_from([b"null", b"[]", b"{}", b'{"run": {}}', b'{"pid": 1e999}', b"9" * 5000])
)
def test_any_lock_file_can_be_held_and_told(content: bytes) -> None:
    """What a dead holder wrote does not matter; what a living one wrote is shown or not, and the second is told."""
    with tempfile.TemporaryDirectory(prefix="files-fuzz-") as scratch:
        directory = StateDir(path=Path(scratch))
        directory.lock.write_bytes(content)
        with directory.hold(run_id="run-1", now=0.0):
            directory.lock.write_bytes(content)
            with pytest.raises(HeldError, match="is held by"), directory.hold(run_id="run-2", now=0.0):
                pass
