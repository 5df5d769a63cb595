"""What only the embedded store promises: its file, its key, its thread, and what a kill or a full disk leaves."""

import asyncio
import logging
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from batchmod.errors import StoreConflict, StoreError, UsageError
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore

KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
CANARY = Secret("Canary_password-1")
CHILD = Path(__file__).with_name("escrow_child.py")


class Place:
    """A home with a key, a state directory in it, and what the operator was told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state"
        self.file = self.state / "secrets.db"
        self.key = home / ".config" / "batchmod" / "age.key"
        self.said: list[str] = []

    def open(self, *, key: Path | None = None, create: bool = True, recipients: tuple[str, ...] = ()) -> EmbeddedStore:
        environ = {"HOME": str(self.home)} | ({"BATCHMOD_AGE_KEY": str(key)} if key else {})
        return EmbeddedStore.open(
            self.state, environ=environ, say=self.said.append, create=create, recipients=recipients
        )

    def alter(self, sql: str) -> None:
        """Something befalls the file behind the store's back."""
        with closing(sqlite3.connect(self.file)) as db:
            db.executescript(sql)

    async def fill(self) -> None:
        store = self.open()
        await escrow(store)
        await store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def escrow(store: EmbeddedStore, key: InstanceKey = KEY) -> None:
    await store.escrow(key, login=key.instance_id, secret=CANARY, run_id="run-1")


async def test_the_first_opening_makes_file_and_key_and_says_so_once(place: Place) -> None:
    """Both private; the operator hears where the key lies and to back it up."""
    await place.open().close()
    await place.open().close()
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    (line,) = place.said
    assert str(place.key) in line
    assert "back this up" in line


async def test_no_byte_on_disk_or_in_a_log_is_a_password(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the database nor its journal files, open or closed, hold it in the clear."""
    caplog.set_level(logging.DEBUG)
    store = place.open()
    await escrow(store)
    await store.promote(KEY, 1)
    files = sorted(each.name for each in place.state.iterdir())
    assert files == ["secrets.db", "secrets.db-shm", "secrets.db-wal"]
    for each in place.state.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        assert CANARY.reveal().encode() not in each.read_bytes()
    await store.close()
    assert [each.name for each in place.state.iterdir()] == ["secrets.db"]
    assert CANARY.reveal().encode() not in place.file.read_bytes()
    assert CANARY.reveal() not in caplog.text


async def test_a_store_that_lost_its_key_is_not_given_another(place: Place) -> None:
    """A new key would make the store look healthy and every password in it unreadable."""
    await place.fill()
    place.key.unlink()
    with pytest.raises(UsageError, match="backup"):
        place.open()
    assert not place.key.exists()


async def test_a_key_that_does_not_open_the_store_is_refused(place: Place) -> None:
    """Before anything is read or written."""
    await place.fill()
    await Place(place.home / "elsewhere").fill()
    with pytest.raises(UsageError, match="does not open this store"):
        place.open(key=place.home / "elsewhere" / ".config" / "batchmod" / "age.key")


async def test_an_empty_store_takes_a_new_key(place: Place) -> None:
    """Where there is nothing to lose, a lost key is no obstacle."""
    await place.open().close()
    place.key.unlink()
    await place.fill()
    assert len(place.said) == 2
    store = place.open()
    assert await store.reveal(KEY, 1) == CANARY
    await store.close()


async def test_a_recovery_key_opens_old_and_new_values(place: Place) -> None:
    """A recipient named later reads what was stored before; once named, it need not be named again."""
    other = Place(place.home / "recovery")
    await other.open().close()
    recipient = other.key.read_text().split()[3]
    await place.fill()
    await place.open(recipients=(recipient,)).close()
    store = place.open()
    await store.promote(KEY, 1)
    await escrow(store)
    await store.close()
    for key in (other.key, place.key):
        recovered = place.open(key=key)
        assert [await recovered.reveal(KEY, number) for number in (1, 2)] == [CANARY, CANARY]
        await recovered.close()


async def test_a_broken_recipient_is_refused_before_anything_is_made(place: Place) -> None:
    """No store and no key are left of a mistyped manifest."""
    with pytest.raises(UsageError, match="recipient 1"):
        place.open(recipients=("age1nonsense",))
    assert list(place.home.iterdir()) == []


async def test_reading_makes_nothing(place: Place) -> None:
    """Neither directory nor file nor key."""
    with pytest.raises(UsageError, match="no secret store"):
        place.open(create=False)
    assert list(place.home.iterdir()) == []
    await place.fill()
    place.key.unlink()
    with pytest.raises(UsageError, match="no age key"):
        place.open(create=False)
    assert not place.key.exists()


async def test_a_store_that_was_opened_for_reading_is_not_written(place: Place) -> None:
    """It reads what is there, refuses to write, and leaves the directory as it was."""
    await place.fill()
    before = place.file.read_bytes()
    store = place.open(create=False)
    assert await store.reveal(KEY, 1) == CANARY
    with pytest.raises(StoreError, match="readonly"):
        await store.promote(KEY, 1)
    await store.close()
    assert [each.name for each in place.state.iterdir()] == ["secrets.db"]
    assert place.file.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a database at all, but long enough to be taken for one" * 100, "cannot be opened"),
        ("CREATE TABLE theirs (x)", "not a secret store"),
        ("PRAGMA application_id = 1650553971; PRAGMA user_version = 2; CREATE TABLE t (x)", "another version"),
    ],
)
async def test_a_file_that_is_no_store_of_ours_is_refused(
    place: Place, content: bytes | str, says: str, create: bool
) -> None:
    """Not overwritten, not mended, one line that names it."""
    place.state.mkdir()
    if isinstance(content, bytes):
        place.file.write_bytes(content)
    else:
        place.alter(content)
    before = place.file.read_bytes()
    with pytest.raises(UsageError, match=says) as caught:
        place.open(create=create)
    assert str(place.file) in str(caught.value)
    assert place.file.read_bytes() == before
    assert not place.key.exists()


async def test_damage_is_found_at_opening(place: Place) -> None:
    """A page that was overwritten is noticed before a password is asked for."""
    await place.fill()
    content = bytearray(place.file.read_bytes())
    content[4096 * 2 : 4096 * 4] = b"\x5a" * 4096 * 2
    place.file.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged|cannot be opened"):
        place.open()


@pytest.mark.parametrize("fault", ["DROP TABLE seal", "DELETE FROM seal; UPDATE secret SET value = x'00'"])
async def test_a_store_without_its_seal_is_refused(place: Place, fault: str) -> None:
    """What goes wrong while the key is tried is still an error before anything was sent."""
    await place.fill()
    place.alter(fault)
    with pytest.raises(UsageError):
        place.open()


async def test_a_directory_out_of_reach_is_refused(place: Place) -> None:
    """A file where the state directory should be."""
    place.state.touch()
    with pytest.raises(UsageError, match="cannot be opened"):
        place.open()


async def test_what_breaks_later_is_a_store_error(place: Place) -> None:
    """Reads and writes alike, so that the run stops sending."""
    store = place.open()
    place.alter("DROP VIEW record; DROP TABLE secret")
    with pytest.raises(StoreError, match="cannot be read"):
        await store.stages(KEY)
    with pytest.raises(StoreError, match="cannot be written"):
        await escrow(store)
    await store.close()


@pytest.mark.parametrize(
    "value", ["x'00'", "(SELECT value FROM secret ORDER BY instance_id LIMIT 1)"], ids=["garbage", "another's"]
)
async def test_a_value_that_does_not_read_back_is_not_escrowed(place: Place, value: str) -> None:
    """Not usable afterwards: the next attempt gets the place, and what was there before is untouched."""
    store = place.open()
    first = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-0")
    await store.escrow(first, login="r-0", secret=Secret("Another_password-2"), run_id="run-0")
    place.alter(
        "CREATE TRIGGER fault AFTER INSERT ON secret BEGIN UPDATE secret SET value = "
        f"{value} WHERE instance_id = NEW.instance_id; END"
    )
    with pytest.raises(StoreError):
        await escrow(store)
    assert await store.stages(KEY) == ()
    place.alter("DROP TRIGGER fault")
    await escrow(store)
    assert await store.reveal(KEY, 1) == CANARY
    assert await store.reveal(first, 1) == Secret("Another_password-2")
    await store.close()


async def test_two_processes_on_one_file_do_not_both_win(place: Place) -> None:
    """The compare-and-set is the database's, not the object's."""
    one, two = place.open(), place.open()
    await escrow(one)
    with pytest.raises(StoreConflict, match="run-1"):
        await escrow(two)
    await one.close()
    await two.close()


async def test_the_event_loop_goes_on_while_the_disk_waits(place: Place) -> None:
    """A locked database holds up the store's own thread and nobody else."""
    store = place.open()
    with closing(sqlite3.connect(place.file, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(escrow(store))
        lived = asyncio.Event()
        asyncio.get_running_loop().call_soon(lived.set)
        await lived.wait()
        assert not waiting.done()
        rival.execute("ROLLBACK")
    await waiting
    await store.close()


async def test_a_cancelled_escrow_is_whole_or_not_there(place: Place) -> None:
    """Whoever gives up waiting leaves a password that reads back, or none."""
    store = place.open()
    with closing(sqlite3.connect(place.file, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(escrow(store))
        begun = asyncio.Event()
        asyncio.get_running_loop().call_soon(begun.set)
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        rival.execute("ROLLBACK")
    for each in await store.stages(KEY):
        assert await store.reveal(KEY, each.generation) == CANARY
    await store.close()


async def test_closing_ends_the_thread(place: Place) -> None:
    """Nothing of the store runs on."""
    before = threading.active_count()
    store = place.open()
    await store.stages(KEY)
    assert threading.active_count() == before + 1
    await store.close()
    assert threading.active_count() == before


def test_a_failed_opening_ends_the_thread(place: Place) -> None:
    """A refusal leaves nothing behind."""
    before = threading.active_count()
    with pytest.raises(UsageError):
        place.open(create=False)
    assert threading.active_count() == before


def child(place: Place, *more: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(place.state), *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"HOME": str(place.home)})


def safe(lines: list[str]) -> dict[str, str]:
    """Instance and password of each escrow that was acknowledged in a whole line."""
    words = [line.split() for line in lines if line.startswith("safe") and line.endswith("\n")]
    return {f"r-{number}": password for _, number, password in words}


def current(lines: list[str]) -> set[str]:
    """The instances of each promotion that was acknowledged in a whole line."""
    return {line.split()[1] for line in lines if line.startswith("current") and line.endswith("\n")}


async def stored(place: Place) -> tuple[dict[str, str], set[str]]:
    """Instance and password of all that is in the store, each of which can be read; and which are current."""
    store = place.open()
    known = await store.all()
    found = {each.key.instance_id: (await store.reveal(each.key, each.generation)).reveal() for each in known}
    await store.close()
    return found, {each.key.instance_id for each in known if each.stage is Stage.CURRENT}


async def test_all_that_was_acknowledged_survives_a_kill(place: Place) -> None:
    """SIGKILL in the middle of batches: what was reported safe is readable, what was reported current is; none is broken."""
    with child(place, 100_000) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(1000)]
        process.kill()
        lines += process.stdout.readlines()
    passwords, promoted = await stored(place)
    assert len(safe(lines)) >= 500
    assert current(lines)
    assert safe(lines).items() <= passwords.items()
    assert current(lines) <= promoted


async def test_a_full_disk_fails_the_whole_batch_and_loses_nothing(place: Place) -> None:
    """What was acknowledged before is readable; nothing that was refused with the others is there."""
    await place.open().close()
    with child(place, 640, 400_000) as process:
        assert process.stdout
        lines = process.stdout.readlines()
    assert process.returncode == 0
    errors = [line for line in lines if line.startswith("error")]
    assert errors
    assert all("StoreError" in line and "cannot be written" in line for line in errors)
    assert safe(lines)
    assert await stored(place) == (safe(lines), current(lines))
    (commits,) = [int(line.split()[1]) for line in lines if line.startswith("commits")]
    assert commits < len(safe(lines))
