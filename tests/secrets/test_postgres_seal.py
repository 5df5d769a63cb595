"""Who reads the passwords that are stored from now on is said with the age key, whoever may write in the database."""

from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # ships no types
import pytest
from pg_support import CANARY, KEY, Machine, escrow
from postgres import Database

from batchmod.errors import StoreError, UsageError

CHANGED = "list of recipients was not written with this age key"


@pytest.fixture
def here(database: Database, tmp_path: Path) -> Machine:
    return Machine(database, tmp_path / "here")


@pytest.fixture
def there(database: Database, tmp_path: Path) -> Machine:
    """Another, with a key of its own, of which the store knows nothing."""
    machine = Machine(database, tmp_path / "there")
    machine.key.parent.mkdir(parents=True)
    identity = pyrage.x25519.Identity.generate()
    machine.key.write_text(f"# public key: {identity.to_public()}\n{identity}\n")
    machine.key.chmod(0o600)
    return machine


def recipient(machine: Machine) -> str:
    return machine.key.read_text().split()[3]


def values(database: Database) -> list[tuple[object, ...]]:
    return database.execute("SELECT value FROM secret ORDER BY generation")


async def test_who_writes_himself_into_the_seal_reads_nothing(here: Machine, there: Machine) -> None:
    """Neither what is written after it, nor what was before: nobody writes, and nothing is converted."""
    store = here.open()
    await escrow(store)
    await store.promote(KEY, 1)
    before = values(here.database)
    here.database.execute("UPDATE seal SET recipients = %s || ' ' || recipients", recipient(there))
    with pytest.raises(StoreError, match=CHANGED):
        await escrow(store)
    await store.close()
    for _ in range(2):
        with pytest.raises(UsageError, match=CHANGED):
            here.open()
    assert values(here.database) == before
    reading = here.open(create=False)
    assert await reading.reveal(KEY, 1) == CANARY
    await reading.close()


async def test_an_older_list_does_not_fit_a_newer_canary(here: Machine, there: Machine) -> None:
    """The two are vouched for together."""
    await here.fill()
    ((canary, recipients),) = here.database.execute("SELECT canary, recipients FROM seal")
    await here.open(recipients=(recipient(there),)).close()
    for column, old in (("canary", canary), ("recipients", recipients)):
        ((new,),) = here.database.execute(f"SELECT {column} FROM seal")
        here.database.execute(f"UPDATE seal SET {column} = %s", old)
        with pytest.raises(UsageError, match=CHANGED):
            here.open()
        here.database.execute(f"UPDATE seal SET {column} = %s", new)
    await here.open().close()


@pytest.mark.parametrize("create", [True, False])
async def test_a_canary_of_another_text_is_none(here: Machine, create: bool) -> None:
    """Anybody can encrypt something to a recipient that the table names."""
    await here.fill()
    reader = pyrage.x25519.Recipient.from_str(recipient(here))
    here.database.execute("UPDATE seal SET canary = %s", pyrage.encrypt(b"another", [reader]))
    with pytest.raises(UsageError, match="does not open this store"):
        here.open(create=create)


async def test_a_recovery_key_reads_and_writes_only_under_a_seal_of_its_own(here: Machine, there: Machine) -> None:
    """The owner of the tables has to say so, for who reads then is what the manifest says, not what the table said."""
    store = here.open(recipients=(recipient(there),))
    await escrow(store)
    await store.close()
    reading = there.open(create=False)
    assert await reading.reveal(KEY, 1) == CANARY
    await reading.close()
    with pytest.raises(UsageError, match=r"recovery key.* DELETE FROM"):
        there.open()
    here.database.execute("DELETE FROM seal")
    writing = there.open()
    await writing.promote(KEY, 1)
    await writing.close()
    assert here.database.execute("SELECT recipients FROM seal") == [(recipient(there),)]
    with pytest.raises(UsageError, match="does not open this store"):
        here.open()


async def test_who_may_not_make_a_key_makes_none(here: Machine, there: Machine) -> None:
    """A worker on a store that nobody has sealed: its key would end with its machine, and each password with it."""
    with pytest.raises(UsageError, match="copy the age key to this machine"):
        here.open(may_make_key=False)
    assert not here.key.exists()
    assert here.database.execute("SELECT 1 FROM seal") == []
    await there.open(may_make_key=False).close()  # has one
    assert here.database.execute("SELECT recipients FROM seal") == [(recipient(there),)]
