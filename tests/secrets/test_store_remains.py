"""What a secret store is whose file never came to be whole, or cannot be had."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import InstanceKey, Secret
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.transfer import backup

KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
CANARY = Secret("Canary_password-1")
PAGE = 4096

LIMITED = """
import os, resource, sys
from pathlib import Path
from batchmod.errors import UsageError
from batchmod.secrets.embedded import EmbeddedStore
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    EmbeddedStore.open(Path(sys.argv[1]), environ=os.environ, say=print)
except UsageError as error:
    print(error)
    raise SystemExit(2)
"""


def run_child(code: str, *arguments: object) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def opened(place: Path, *, create: bool) -> EmbeddedStore:
    environ = {"BATCHMOD_AGE_KEY": str(place.parent / "age.key")}
    return EmbeddedStore.open(place, environ=environ, say=lambda _: None, create=create)


async def passwords(place: Path) -> list[Secret]:
    store = opened(place, create=False)
    try:
        return [await store.reveal(each.key, each.generation) for each in await store.all()]
    finally:
        await store.close()


async def fill(place: Path) -> None:
    store = opened(place, create=True)
    await store.escrow(KEY, login="r-1", secret=CANARY, run_id="run-1")
    await store.close()


async def log_of_a_killed_run(place: Path) -> bytes:
    """The store is filled and closed; what the log would still hold had the process been killed."""
    store = opened(place, create=True)
    await store.escrow(KEY, login="r-1", secret=CANARY, run_id="run-1")
    log = (place / "secrets.db-wal").read_bytes()
    await store.close()
    return log


def first_page(path: Path) -> bytes:
    """What SQLite writes before any table; the file is gone again."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    page = path.read_bytes()
    assert len(page) == PAGE
    path.unlink()
    return page


def nothing(path: Path) -> None:
    assert not path.exists()


def no_byte(path: Path) -> None:
    path.touch()


def one_page(path: Path) -> None:
    path.write_bytes(first_page(path))


def a_piece(path: Path) -> None:
    path.write_bytes(first_page(path)[:60])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(PAGE))


def an_empty_log(path: Path) -> None:
    one_page(path)
    path.with_name("secrets.db-wal").touch()


@pytest.mark.parametrize(
    "make", [nothing, no_byte, one_page, a_piece, zeros, an_empty_log], ids=lambda make: make.__name__
)
async def test_a_store_that_was_never_made_is_empty(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Whatever its first creation left: there are no secrets, no key is asked for, and the next run begins anew."""
    place = tmp_path / "state"
    place.mkdir()
    path = place / "secrets.db"
    make(path)
    assert await passwords(place) == []
    assert not (tmp_path / "age.key").exists()
    await fill(place)
    assert await passwords(place) == [CANARY]


@pytest.mark.parametrize("made", [True, False])
async def test_an_empty_store_is_read_without_a_key_and_takes_nothing(tmp_path: Path, made: bool) -> None:
    """Never filled or never made, without its key: there are no secrets, and none can be put in this way."""
    place = tmp_path / "state"
    await opened(place, create=True).close()
    (tmp_path / "age.key").unlink()
    if not made:
        (place / "secrets.db").unlink()
    store = opened(place, create=False)
    assert await store.all() == ()
    with pytest.raises(StoreError, match="cannot be written"):
        await store.escrow(KEY, login="r-1", secret=CANARY, run_id="run-1")
    await store.close()
    assert not (tmp_path / "age.key").exists()


@pytest.mark.parametrize("limit", [0, 1000, 4096, 20_000])
async def test_a_disk_that_is_full_from_the_first_byte_on_leaves_an_empty_store(tmp_path: Path, limit: int) -> None:
    """The creation is refused, and what it left is no obstacle to reading nor to the next creation."""
    place = tmp_path / "state"
    code, said = run_child(LIMITED, place, limit)
    assert code == 2, said
    assert str(place / "secrets.db") in said
    assert await passwords(place) == []
    await fill(place)
    assert await passwords(place) == [CANARY]


@pytest.mark.parametrize("make", [nothing, no_byte, one_page, a_piece], ids=lambda make: make.__name__)
def test_nothing_is_not_backed_up(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A backup job must not put an empty store in the place of a good copy without a word."""
    make(tmp_path / "secrets.db")
    with pytest.raises(UsageError, match="no secret store here"):
        backup(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3 is what this page is about", bytes(PAGE + 1)])
def test_what_is_something_else_is_not_taken_for_remains(tmp_path: Path, content: bytes, create: bool) -> None:
    """Small, or alike, and still somebody's: refused and left as it is."""
    (tmp_path / "secrets.db").write_bytes(content)
    with pytest.raises(UsageError, match=r"secrets.db: the secret store cannot be opened"):
        opened(tmp_path, create=create)
    assert (tmp_path / "secrets.db").read_bytes() == content


def test_a_file_that_only_bears_a_mark_is_refused(tmp_path: Path) -> None:
    """Another version's, or another program's: no schema of ours is put in."""
    with closing(sqlite3.connect(tmp_path / "secrets.db")) as db:
        db.execute("PRAGMA application_id = 7")
    with pytest.raises(UsageError, match="not a secret store"):
        opened(tmp_path, create=True)


@pytest.mark.parametrize("create", [True, False])
async def test_a_log_without_its_file_is_not_thrown_away(tmp_path: Path, create: bool) -> None:
    """Passwords that are only in the log yet are neither called nothing nor overwritten."""
    place = tmp_path / "state"
    log = await log_of_a_killed_run(place)
    (place / "secrets.db").write_bytes(b"")
    (place / "secrets.db-wal").write_bytes(log)
    with pytest.raises(UsageError, match="may hold passwords"):
        opened(place, create=create)
    assert (place / "secrets.db-wal").read_bytes() == log


def below_a_file(place: Path) -> None:
    place.touch()


def in_a_circle(place: Path) -> None:
    place.mkdir()
    (place / "secrets.db").symlink_to("secrets.db")


def a_directory(place: Path) -> None:
    (place / "secrets.db").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (below_a_file, "(Not a directory|File exists)"),
        (in_a_circle, "Too many levels of symbolic links"),
        (a_directory, "Is a directory"),
    ],
)
def test_a_store_out_of_reach_is_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """Opened, read or backed up, it is never taken for a missing one; the system's reason, not SQLite's shrug."""
    place = tmp_path / "state"
    make(place)
    says = f"{place}/secrets.db: the secret store cannot be opened: {reason}"
    for create in (True, False):
        with pytest.raises(UsageError, match=says):
            opened(place, create=create)
    with pytest.raises(UsageError, match=says):
        backup(place, tmp_path / "copy")


async def test_a_store_is_read_where_nothing_can_be_made(tmp_path: Path) -> None:
    """As on a read-only file system: read and backed up when nothing waits in the log, refused with the reason else."""
    place = tmp_path / "state"
    log = await log_of_a_killed_run(place)
    (place / "secrets.db-shm").symlink_to("no/such/place")  # SQLite cannot make the file that it needs beside a log
    (tmp_path / "copy").mkdir()
    backup(place, tmp_path / "copy" / "secrets.db")
    assert await passwords(place) == await passwords(tmp_path / "copy") == [CANARY]
    (place / "secrets.db-wal").write_bytes(log)
    with pytest.raises(UsageError, match=r"secrets.db-wal has to be written back"):
        opened(place, create=False)
    with pytest.raises(UsageError, match=r"secrets.db-wal has to be written back"):
        backup(place, tmp_path / "second")
    assert not (tmp_path / "second").exists()


async def test_a_second_store_in_one_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Another process that opens and closes the file meanwhile does not take the log away from under both."""
    place = tmp_path / "state"
    one, two = opened(place, create=True), opened(place, create=True)
    closes = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM seal'); db.close()"
    assert run_child(closes, place / "secrets.db") == (0, "")
    assert (place / "secrets.db-wal").stat().st_size > 0
    await two.close()
    await one.close()


@pytest.mark.parametrize(
    "what", ["secret SET value = -1", "secret SET value = 'text'", "seal SET canary = 257", "seal SET recipients = -1"]
)
async def test_what_damage_made_of_a_value_is_refused_with_its_place(tmp_path: Path, what: str) -> None:
    """SQLite keeps what its file says, a number where ciphertext was too: no password is made of that."""
    place = tmp_path / "state"
    await fill(place)
    with closing(sqlite3.connect(place / "secrets.db")) as db, db:
        db.execute(f"UPDATE {what}")
    with pytest.raises((StoreError, UsageError), match="damaged"):
        await passwords(place)


async def test_a_view_that_damage_made_another_one_hides_nothing(tmp_path: Path) -> None:
    """What is stored is read from the table itself; the view is for who looks into the file."""
    place = tmp_path / "state"
    await fill(place)
    with closing(sqlite3.connect(place / "secrets.db")) as db, db:
        db.execute("DROP VIEW record")
        db.execute("CREATE VIEW record AS SELECT account_id, region, instance_id FROM secret")
    assert await passwords(place) == [CANARY]
