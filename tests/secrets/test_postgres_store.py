"""What only the store in PostgreSQL promises: its key on many machines, its locks, and nothing in the clear."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pyrage  # type: ignore[import-untyped]  # ships no types
import pytest
from pg_support import CANARY, KEY, Machine, escrow, waiting
from postgres import Database

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.pg.place import Place

OTHER = str(pyrage.x25519.Identity.generate().to_public())
OPENING = """
import os, sys
from batchmod.errors import UsageError
from batchmod.pg.place import Place
from batchmod.secrets.postgres import PostgresStore
try:
    PostgresStore.open(Place(url=sys.argv[1]), environ=os.environ, say=lambda _: None)
    print("opened")
except UsageError as error:
    print("refused", error)
"""


@pytest.fixture
def here(database: Database, tmp_path: Path) -> Machine:
    return Machine(database, tmp_path / "here")


@pytest.fixture
def there(database: Database, tmp_path: Path) -> Machine:
    return Machine(database, tmp_path / "there")


def everything(database: Database) -> Iterator[str]:
    """Each row of each table, as text."""
    for (table,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'batchmod'"):
        yield from (str(row) for (row,) in database.execute(f"SELECT one::text FROM {table} AS one"))


async def test_the_first_opening_makes_a_key_and_says_so_once(here: Machine) -> None:
    """The operator hears where it lies, of which database it is, and to back it up."""
    for _ in range(2):
        await here.open().close()
    (line,) = here.said
    assert str(here.key) in line
    assert here.database.url in line
    assert "back this up" in line


async def test_nothing_in_the_database_or_a_log_is_a_password(here: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """No table holds it or the key, as text or as bytes; no error repeats it."""
    caplog.set_level(logging.DEBUG)
    store = here.open()
    await escrow(store)
    await store.promote(KEY, 1)
    here.database.execute("ALTER TABLE secret ADD CHECK (login <> 'r-2')")
    with pytest.raises(StoreError) as caught:
        await escrow(store, InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-2"))
    await store.close()
    private = here.key.read_text().splitlines()[-1]
    texts = [*everything(here.database), str(caught.value), repr(caught.value.__cause__), caplog.text]
    assert any("r-1" in text for text in texts)
    for secret in (CANARY.reveal(), private):
        assert not any(secret in text or secret.encode().hex() in text for text in texts)


@pytest.mark.parametrize("filled", [False, True])
async def test_a_machine_without_the_key_is_told_to_get_it(here: Machine, there: Machine, filled: bool) -> None:
    """As soon as another has sealed the store: a key of its own would split it."""
    await (here.fill() if filled else here.open().close())
    with pytest.raises(UsageError, match="copy the age key to this machine"):
        there.open()
    assert not there.key.exists()


async def test_a_key_that_does_not_open_the_store_is_refused(here: Machine, there: Machine) -> None:
    """Before anything is read or written."""
    await there.open().close()
    there.database.execute("DELETE FROM seal")
    await here.fill()
    for create in (True, False):
        with pytest.raises(UsageError, match="does not open this store"):
            there.open(create=create)


async def test_reading_makes_nothing(here: Machine) -> None:
    """A database without our schema is an empty store; it stays one, and nobody needs a key for it."""
    here.database.execute("DROP SCHEMA batchmod CASCADE")
    store = here.open(create=False)
    assert await store.all() == ()
    assert all(finding.ok for finding in await store.diagnose())
    with pytest.raises(StoreError, match="opened to be read"):
        await escrow(store)
    await store.close()
    with pytest.raises(UsageError, match="no schema"):
        here.open()
    assert here.database.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'batchmod'") == []
    assert not here.key.exists()


async def test_a_store_that_was_opened_for_reading_is_not_written(here: Machine) -> None:
    """It reads what is there, and the server itself would refuse to write for it."""
    await here.fill()
    store = here.open(create=False)
    assert await store.reveal(KEY, 1) == CANARY
    with pytest.raises(StoreError, match="opened to be read"):
        await store.promote(KEY, 1)
    assert store._table.read("SHOW default_transaction_read_only") == [("on",)]  # of its own session
    await store.close()


@pytest.mark.parametrize("homes", [1, 2])
async def test_two_that_open_an_empty_store_at_once_have_one_key(here: Machine, there: Machine, homes: int) -> None:
    """Of one machine both go on; of two machines one does, and the other is told to get its key."""
    with psycopg.connect(here.database.url, options="-c search_path=batchmod") as rival:
        rival.execute("LOCK TABLE seal IN EXCLUSIVE MODE")
        processes = [machine.program(OPENING) for machine in (here, there if homes == 2 else here)]
        await waiting(here.database, 2)
        rival.rollback()
    first, second = sorted([(await asyncio.to_thread(process.communicate))[0] for process in processes])
    assert first == "opened\n"
    assert second == first if homes == 1 else "copy the age key" in second
    assert here.key.exists() != there.key.exists()
    await (here if here.key.exists() else there).fill()


async def test_a_recipient_named_elsewhere_reads_what_is_written_here(here: Machine, there: Machine) -> None:
    """A process that has the store open writes for it from then on; what was stored before is converted."""
    await there.open().close()
    there.database.execute("DELETE FROM seal")
    recipient = there.key.read_text().split()[3]
    store = here.open()
    await escrow(store)
    await store.promote(KEY, 1)
    await here.open(recipients=(recipient,)).close()
    await escrow(store)
    await store.close()
    recovered = there.open(create=False)
    assert [await recovered.reveal(KEY, number) for number in (1, 2)] == [CANARY, CANARY]
    await recovered.close()


@pytest.mark.parametrize("fault", ["DELETE FROM seal", "UPDATE seal SET canary = 'another'"])
async def test_nothing_is_written_under_another_seal(here: Machine, fault: str) -> None:
    """A database that was set back, or is another's by now, takes no password of this key."""
    store = here.open()
    await escrow(store)
    here.database.execute(fault)
    with pytest.raises(StoreError, match=r"not sealed|does not open"):
        await store.promote(KEY, 1)
    await store.close()
    assert here.database.execute("SELECT stage FROM secret") == [("pending",)]


async def test_a_value_that_does_not_read_back_is_not_escrowed(here: Machine) -> None:
    """Not usable afterwards: the next attempt gets the place."""
    store = here.open()
    here.database.execute(
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.value = 'broken'; RETURN NEW; END $$"
    )
    here.database.execute("CREATE TRIGGER fault BEFORE INSERT ON secret FOR EACH ROW EXECUTE FUNCTION fault()")
    with pytest.raises(StoreError, match="another value"):
        await escrow(store)
    assert await store.stages(KEY) == ()
    here.database.execute("DROP TRIGGER fault ON secret")
    await escrow(store)
    assert await store.reveal(KEY, 1) == CANARY
    await store.close()


async def test_only_what_was_just_written_is_discarded(here: Machine) -> None:
    """A database that was set back may have given the number to another run since: that one stays."""
    store = here.open()
    await escrow(store)
    (stored,) = await store.stages(KEY)
    for other in replace(stored, run_id="run-2"), replace(stored, created_at=stored.created_at - 1):
        store._thread.submit(store._table.discard, other).result()  # as the store does after a comparison
        assert await store.stages(KEY) == (stored,)
    store._thread.submit(store._table.discard, stored).result()
    assert await store.stages(KEY) == ()
    await store.close()


async def test_a_statement_that_fails_is_its_own_failure(here: Machine) -> None:
    """What shared a transaction with it is done without it."""
    store = here.open()
    here.database.execute("ALTER TABLE secret ADD CHECK (login <> 'r-3')")
    keys = [InstanceKey(account_id="1", region="cn", instance_id=f"r-{number}") for number in range(8)]
    gate = threading.Event()
    store._thread.submit(gate.wait)  # until all stand in line
    calls = asyncio.gather(*(escrow(store, key) for key in keys), return_exceptions=True)
    asyncio.get_running_loop().call_soon(gate.set)
    answers = await calls
    assert [type(answer) for answer in answers] == [
        StoreError if key.instance_id == "r-3" else type(None) for key in keys
    ]
    assert [each.key for each in await store.all()] == [key for key in keys if key.instance_id != "r-3"]
    await store.close()


async def test_moves_of_two_machines_are_done_one_after_the_other(here: Machine) -> None:
    """Each sees what the other left: neither is refused for a stage that was taken meanwhile."""
    one, two = here.open(), here.open()
    for number in range(1, 5):
        await escrow(one)
        if number < 4:
            await one.promote(KEY, number)
    with psycopg.connect(here.database.url, options="-c search_path=batchmod") as rival:
        rival.execute("SELECT FROM secret FOR UPDATE")
        async with asyncio.TaskGroup() as group:
            group.create_task(one.adopt(KEY, 1))
            await waiting(here.database, 1)
            group.create_task(two.promote(KEY, 4))
            await waiting(here.database, 2)
            rival.rollback()
    stages = [each.stage for each in await one.stages(KEY)]
    assert stages == [Stage.PREVIOUS, Stage.CANDIDATE, Stage.CANDIDATE, Stage.CURRENT]
    await one.close()
    await two.close()


async def test_whoever_waited_for_another_takes_the_next_number(here: Machine) -> None:
    """The other's was promoted in the meantime: nothing is pending any more."""
    await here.fill()
    store = here.open()
    with psycopg.connect(here.database.url, options="-c search_path=batchmod") as rival:
        rival.execute(
            "INSERT INTO secret SELECT account_id, region, instance_id, 2, 'current', login, run_id, 0, 0, value FROM secret"
        )
        rival.execute("UPDATE secret SET stage = 'previous' WHERE generation = 1")
        mine = asyncio.create_task(store.escrow(KEY, login="r-1", secret=CANARY, run_id="run-2"))
        await waiting(here.database, 1)
        rival.commit()
    made: Generation = await mine
    assert (made.generation, made.stage) == (3, Stage.PENDING)
    await store.close()


@pytest.mark.parametrize("create", [True, False])
async def test_a_role_without_rights_is_told_which(here: Machine, create: bool) -> None:
    """It may read; what is to be written is refused before it is sent, and whoever asks beforehand hears it."""
    await here.fill()
    role = f"reader_{here.database.name}"
    here.database.execute(f"CREATE ROLE {role} LOGIN")
    here.database.execute(f"GRANT USAGE ON SCHEMA batchmod TO {role}")
    here.database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA batchmod TO {role}")
    place = Place(url=here.database.url.replace("postgres@", f"{role}@"))
    try:
        store = here.open(create=create, place=place)
        if create:
            with pytest.raises(StoreError, match="permission denied"):
                await store.promote(KEY, 1)
            with pytest.raises(UsageError, match="permission denied"):
                here.open(place=place, recipients=(OTHER,))
        assert await store.reveal(KEY, 1) == CANARY
        (lacking,) = [each.text for each in await store.diagnose() if each.what == "store, writing"]
        assert "roles that have UPDATE on seal, DELETE on secret, INSERT on secret, UPDATE on secret" in lacking
        await store.close()
    finally:
        here.database.execute(f"DROP OWNED BY {role}")
        here.database.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("url", ["postgresql:///x?host=%2Fnonexistent", "postgresql://nobody@127.0.0.1:1/x"])
def test_a_failed_opening_ends_the_thread(here: Machine, url: str) -> None:
    """A refusal names the database and leaves nothing behind."""
    before = threading.active_count()
    with pytest.raises(UsageError, match="cannot be used") as caught:
        here.open(place=Place(url=url))
    assert url in str(caught.value)
    assert threading.active_count() == before


async def test_closing_ends_thread_and_connection(here: Machine) -> None:
    """Nothing of the store runs on, on either side."""
    before = threading.active_count()
    store = here.open()
    await store.stages(KEY)
    assert threading.active_count() == before + 1
    await store.close()
    assert threading.active_count() == before
    async with asyncio.timeout(10):
        others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while here.database.execute(others):  # noqa: ASYNC110  PostgreSQL has no event for it
            await asyncio.sleep(0.01)


async def test_a_secret_of_any_text_is_kept(here: Machine) -> None:
    """Also one that PostgreSQL has no text for."""
    store = here.open()
    odd = Secret("zero \0, \N{KEY}, \\x41")
    await escrow(store, secret=odd)
    assert await store.reveal(KEY, 1) == odd
    with pytest.raises(StoreError, match="NUL"):
        await store.escrow(KEY, login="\0", secret=odd, run_id="run")
    await store.close()
