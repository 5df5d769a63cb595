"""What breaks under the store in PostgreSQL: the server, its answers, other processes. Nothing acknowledged is lost."""

import asyncio
import signal
import threading
from itertools import count
from pathlib import Path

import pytest
from pg_support import CANARY, KEY, Machine, escrow
from postgres import Database

from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.pg.place import Place
from batchmod.secrets.pglink import Link
from batchmod.secrets.postgres import PostgresStore
from batchmod.secrets.rows import UnreachableError

KEYS = [InstanceKey(account_id="1", region="cn-hangzhou", instance_id=f"r-{number}") for number in range(5)]
FREEZING = """
import asyncio, os, signal, sys, threading
from batchmod.errors import StoreError
from batchmod.model.secret import InstanceKey, Secret
from batchmod.pg.place import Place
from batchmod.secrets.postgres import PostgresStore

calls = []
def clock():
    calls.append(1)
    if len(calls) == 2:  # the first generation is in the table, its transaction is open
        print("frozen", flush=True)
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread, at once
    return 1.0

async def main():
    store = PostgresStore.open(Place(url=sys.argv[1]), environ=os.environ, say=lambda _: None, clock=clock)
    gate = threading.Event()
    store._thread.submit(gate.wait)  # until both stand in line
    keys = [InstanceKey(account_id="1", region="cn-hangzhou", instance_id=name) for name in ("r-1", "r-2")]
    calls = [store.escrow(key, login="x", secret=Secret("Frozen_password-1"), run_id="frozen") for key in keys]
    answers = asyncio.gather(*calls, return_exceptions=True)
    asyncio.get_running_loop().call_soon(gate.set)
    print(*(type(answer).__name__ for answer in await answers), flush=True)
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def here(database: Database, tmp_path: Path) -> Machine:
    return Machine(database, tmp_path / "here")


def password(key: InstanceKey) -> Secret:
    return Secret(f"Password_of-{key.instance_id}")


async def stored(store: PostgresStore) -> dict[InstanceKey, Secret]:
    """The password of each instance, all of which open."""
    return {each.key: await store.reveal(each.key, each.generation) for each in await store.all()}


async def test_what_was_acknowledged_outlives_a_crash_of_the_server(here: Machine) -> None:
    """Fifty escrow one password after another until the server is gone: each is safe or is a StoreError, and none hangs."""
    store = here.open()
    safe: dict[InstanceKey, Secret] = {}
    hundred = asyncio.Event()

    async def escrow_until_it_fails(lane: int) -> InstanceKey:
        for number in count():
            key = InstanceKey(account_id="1", region="cn-hangzhou", instance_id=f"r-{lane}-{number}")
            try:
                await escrow(store, key, secret=password(key))
            except StoreError:
                return key
            safe[key] = password(key)
            if len(safe) >= 100:
                hundred.set()
        raise AssertionError

    async with asyncio.TaskGroup() as group:
        lanes = [group.create_task(escrow_until_it_fails(lane)) for lane in range(50)]
        await hundred.wait()
        await asyncio.to_thread(here.database.stop)
    await asyncio.to_thread(here.database.start)
    found = await stored(store)
    assert safe.items() <= found.items()
    assert found.keys() - safe.keys() <= {lane.result() for lane in lanes}  # of those nobody could tell
    assert all(found[key] == password(key) for key in found)
    await store.close()


async def test_a_restart_between_two_calls_is_not_noticed(here: Machine) -> None:
    """Nothing was begun on the connection that died: neither a read nor a write needs to fail for it."""
    store = here.open()
    for number, call in enumerate((escrow(store), store.reveal(KEY, 1), store.promote(KEY, 1))):
        if number:
            await asyncio.to_thread(here.database.stop)
            await asyncio.to_thread(here.database.start)
        await call
    (only,) = await store.stages(KEY)
    assert only.stage is Stage.CURRENT
    await store.close()


async def test_without_a_server_each_call_is_refused_and_the_next_one_finds_it_again(here: Machine) -> None:
    """Reads, writes and the diagnosis; nothing of it ends the store."""
    store = here.open()
    await escrow(store)
    await asyncio.to_thread(here.database.stop)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be reached"):
            await store.reveal(KEY, 1)
        with pytest.raises(StoreError, match="cannot be reached"):
            await store.promote(KEY, 1)
    (finding,) = await store.diagnose()
    assert not finding.ok
    await asyncio.to_thread(here.database.start)
    assert await store.reveal(KEY, 1) == CANARY
    await store.promote(KEY, 1)
    await store.close()


async def test_a_commit_without_an_answer_is_no_success(here: Machine) -> None:
    """Nobody can tell what is stored; each of those that shared it hears so, and the next call is served."""
    store = here.open()
    here.database.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    here.database.execute(
        "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON secret DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION die()"
    )
    gate = threading.Event()
    store._thread.submit(gate.wait)  # until both stand in line
    calls = asyncio.gather(*(escrow(store, key) for key in KEYS[:2]), return_exceptions=True)
    asyncio.get_running_loop().call_soon(gate.set)
    answers = await calls
    assert ["nobody can tell" in str(answer) for answer in answers] == [True, True]
    here.database.execute("DROP TRIGGER die ON secret")
    await escrow(store)
    await store.close()


def test_a_commit_that_rolls_back_is_no_success(here: Machine) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK when a statement had failed; nobody may take that for durable."""
    link = Link(here.database.place, read_only=False)

    def ignore_a_failure() -> None:
        with link.transaction(), pytest.raises(StoreError, match="division"):
            link.write("SELECT 1 / 0")

    with pytest.raises(StoreError, match="rolled back"):
        ignore_a_failure()
    assert link.commits == 0
    link.close()


def test_who_waits_behind_a_failed_attempt_to_connect_does_not_wait_as_long() -> None:
    """It took five seconds to fail: for the next five nobody tries."""
    times = iter((0.0, 5.0, 9.9, 10.0, 10.0))
    link = Link(Place(url="postgresql:///x?host=%2Fnonexistent"), read_only=False, now=lambda: next(times))
    for said in ("No such file", "a moment ago", "No such file"):
        with pytest.raises(UnreachableError, match=said):
            link.read("SELECT 1")
    assert list(times) == []


async def test_durability_is_not_left_to_the_role(here: Machine) -> None:
    """A commit is answered when it is on disk, whatever was made usual there."""
    here.database.execute(f"ALTER DATABASE {here.database.name} SET synchronous_commit = off")
    store = here.open()
    assert store._table.read("SHOW synchronous_commit") == [("on",)]  # of its own session
    await store.close()


async def test_of_two_processes_that_escrow_the_same_instances_one_wins_each(here: Machine) -> None:
    """Sixty-four at once, from both ends: each has one holder, and the loser hears who it is."""
    await here.open().close()
    processes = [here.child(64, environ={"RIVAL": name}) for name in ("run-1", "run-2")]
    outputs = [(await asyncio.to_thread(process.communicate))[0] for process in processes]
    won = [
        {line.split()[1]: line.split()[2] for line in text.splitlines() if line.startswith("safe")} for text in outputs
    ]
    lost = [[line for line in text.splitlines() if line.startswith("error")] for text in outputs]
    assert not won[0].keys() & won[1].keys()
    assert len(won[0]) + len(won[1]) == 64
    assert [len(lines) for lines in lost] == [len(won[1]), len(won[0])]
    assert all("StoreConflict" in line and "held by run run-2" in line for line in lost[0])
    assert all("StoreConflict" in line and "held by run run-1" in line for line in lost[1])
    store = here.open()
    assert {key.instance_id[2:]: secret.reveal() for key, secret in (await stored(store)).items()} == won[0] | won[1]
    await store.close()


async def test_all_that_was_acknowledged_survives_a_kill(here: Machine) -> None:
    """SIGKILL in the middle of batches: what was reported safe is readable, what was reported current is."""
    await here.open().close()
    with here.child(100_000) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(300)]
        process.kill()
        lines += process.stdout.readlines()
    words = [line.split() for line in lines if line.endswith("\n")]
    safe = {f"r-{line[1]}": line[2] for line in words if line[0] == "safe"}
    promoted = {line[1] for line in words if line[0] == "current"}
    assert len(safe) + len(promoted) >= 300
    store = here.open()
    found = {key.instance_id: secret.reveal() for key, secret in (await stored(store)).items()}
    assert safe.items() <= found.items()
    assert promoted <= {each.key.instance_id for each in await store.all() if each.stage is Stage.CURRENT}
    await store.close()


async def test_a_process_that_stands_still_in_a_transaction_lets_go(here: Machine) -> None:
    """Another gets the instance within seconds; the one that was frozen, revived, is told that nothing of it is stored."""
    store = here.open()
    with here.program(FREEZING) as process:
        assert process.stdout
        try:
            assert await asyncio.to_thread(process.stdout.readline) == "frozen\n"
            async with asyncio.timeout(20):
                await escrow(store)
        finally:
            process.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(process.stdout.readline) == "StoreError StoreError\n"
    (only,) = await store.all()
    assert only.run_id == "run-1"
    with pytest.raises(StoreConflict):
        await escrow(store)
    await store.close()
