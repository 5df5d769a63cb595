"""Of a lease there is one holder; who was it before writes nothing any more, and knows it in time."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable
from math import inf
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from journal_records import a_run, a_step, rows
from lease_support import DEADLOCKS, until
from postgres import Database

from batchmod.cluster.lease import FREE, VALID, Leases
from batchmod.errors import JournalError, UsageError
from batchmod.journal.postgres import Fence, PostgresJournal, StaleError
from batchmod.model.events import Phase
from batchmod.pg.link import Error, connect
from batchmod.pg.links import ALL
from batchmod.pg.place import Place

TESTS = Path(__file__).parents[1]
T = TypeVar("T")
OURS = "-c search_path=batchmod"
KEY = "lane:1/cn-hangzhou"


def age(database: Database, seconds: float) -> None:
    """Every lease was renewed so much longer ago."""
    database.execute("UPDATE lease SET renewed_at = renewed_at - make_interval(secs => %s)", seconds)


async def within(seconds: float, what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, seconds)


class Watch:
    """A clock that a test can move on: what a frozen process sees when it wakes up."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


async def test_one_holds_it_until_it_is_released(database: Database) -> None:
    """Then somebody else can take it at once, under the next epoch."""
    async with Leases(database.place, holder="a") as a, Leases(database.place, holder="b") as b:
        first = await a.take(KEY)
        assert first is not None
        assert (first.key, first.epoch, first.fence) == (KEY, 1, Fence(key=KEY, epoch=1))
        assert await b.take(KEY, patience=0.3) is None
        waiting = asyncio.ensure_future(b.take(KEY))
        await first.release()
        assert not first.is_valid()
        second = await within(VALID, waiting)
        assert second is not None
        assert second.epoch == 2
        assert second.is_valid()
        await first.release()
        assert database.execute("SELECT epoch, holder FROM lease") == [(2, "b")], "a released one took another's away"


async def test_who_takes_it_over_knows_how_long_nothing_was_written(database: Database) -> None:
    """What the last holder said of itself, no more; one that died wrote as long as it could trust in its lease."""
    async with Leases(database.place, holder="a") as a:
        first = await a.take(KEY)
        assert first is not None
        assert first.idle == inf
        first.still = inf
        await first.release()
        second = await a.take(KEY)
        assert second is not None
        assert second.idle > 3000
        second.still = 0.5
        await second.release()
        third = await a.take(KEY)
        assert third is not None
        assert 0.5 <= third.idle < 0.5 + VALID
        await third.release()
        fourth = await a.take(KEY)
        assert fourth is not None
        assert fourth.idle < VALID
    age(database, FREE + 2)
    async with Leases(database.place, holder="b") as b:
        fifth = await b.take(KEY)
        assert fifth is not None
        assert FREE + 2 - VALID <= fifth.idle < FREE + 2


async def test_it_is_kept_as_long_as_it_is_renewed(database: Database) -> None:
    """Renewals go on by themselves."""
    async with Leases(database.place, holder="a") as a:
        lease = await a.take(KEY)
        assert lease is not None
        for _ in range(2):
            (before,) = database.execute("SELECT renewed_at FROM lease")
            await until(lambda: database.execute("SELECT renewed_at FROM lease") != [before])  # noqa: B023  now
        assert lease.is_valid()
        assert not a.lost.is_set()


async def test_of_many_who_want_it_one_gets_it(database: Database) -> None:
    async with Leases(database.place, holder="a") as a, Leases(database.place, holder="b") as b:
        got = await asyncio.gather(*(each.take(KEY, patience=0.5) for each in (a, b) * 6))
        assert sum(lease is not None for lease in got) == 1
        assert database.execute("SELECT epoch FROM lease") == [(1,)]


async def test_what_a_dead_one_held_is_free_after_a_while(database: Database) -> None:
    """Not before five seconds after its last renewal."""
    async with Leases(database.place, holder="dead") as dead:
        assert await dead.take(KEY)
    async with Leases(database.place, holder="b") as b:
        age(database, 3)
        assert await b.take(KEY, patience=0.1) is None
        age(database, 2)
        taken = await b.take(KEY, patience=0.1)
        assert taken is not None
        assert taken.epoch == 2


async def test_what_was_taken_over_is_gone_for_good(database: Database) -> None:
    """The old holder hears of it with its next renewal, and keeps the rest."""
    async with Leases(database.place, holder="a") as a, Leases(database.place, holder="b") as b:
        lease, other = await a.take(KEY), await a.take("run:1")
        assert lease is not None
        assert other is not None
        database.execute("UPDATE lease SET holder = NULL WHERE key = %s", KEY)
        assert await b.take(KEY)
        await within(VALID, lease.gone.wait())
        assert not lease.is_valid()
        assert other.is_valid()
        assert not a.lost.is_set()


async def test_who_stood_still_for_too_long_knows_it_at_the_first_look(database: Database) -> None:
    """Whatever is renewed afterwards."""
    watch = Watch()
    async with Leases(database.place, holder="a", now=watch) as a:
        lease = await a.take(KEY)
        assert lease is not None
        assert lease.is_valid()
        watch.ahead = VALID + 0.01
        assert not lease.is_valid()
        watch.ahead = 0.0
        assert not lease.is_valid(), "it was over"
        other = await a.take("run:1")
        assert other is not None
        watch.ahead = VALID + 0.01
        other.extend(watch() + VALID)
        assert not other.is_valid(), "was brought back before anybody had looked"
        watch.ahead = 0.0
        assert await a.take("run:2")
        renewed = "SELECT renewed_at FROM lease WHERE key = %s"
        for _ in range(2):
            before, over = database.execute(renewed, "run:2"), database.execute(renewed, KEY)
            await until(lambda: database.execute(renewed, "run:2") != before)  # noqa: B023  now
        assert database.execute(renewed, KEY) == over, "is kept from others"


async def test_who_stood_still_and_did_not_look_has_lost_it_all_the_same(database: Database) -> None:
    """A renewal that succeeds after too long a time brings nothing back."""
    watch = Watch()
    async with Leases(database.place, holder="a", now=watch) as a:
        lease = await a.take(KEY)
        assert lease is not None
        watch.ahead = VALID
        await within(VALID, a.lost.wait())
        watch.ahead = 0.0
        assert not lease.is_valid()
        with pytest.raises(JournalError, match="no renewal of the leases was answered for 4 s"):
            await a.take("run:1")


async def test_an_event_loop_that_is_busy_loses_nothing(database: Database) -> None:
    """Nor are the jobs of this process taken for stalled."""
    statement = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id"
    ((worker,),) = database.execute(statement)
    async with Leases(database.place, holder="a") as a:
        lease = await a.take(KEY)
        assert lease is not None
        a.workers = lambda: [int(str(worker))]
        time.sleep(FREE + 1)  # noqa: ASYNC251  the loop is busy
        assert lease.is_valid()
        seconds = "SELECT extract(epoch FROM clock_timestamp() - {})::float8 FROM {}"
        for field, table in (("renewed_at", "lease"), ("last_heartbeat", "procrastinate_workers")):
            ((since,),) = database.execute(seconds.format(field, table))
            assert float(str(since)) < VALID, table
        assert not a.lost.is_set()


async def test_an_event_loop_that_hangs_keeps_nothing_for_ever(database: Database) -> None:
    async with Leases(database.place, holder="a", hung=2.5) as a:
        lease = await a.take(KEY)
        assert lease is not None
        time.sleep(VALID)  # noqa: ASYNC251  the loop hangs
        assert not lease.is_valid()
        await within(VALID, a.lost.wait())
        assert lease.gone.is_set()
        assert a.trouble == "this process stood still for 2.5 s"


async def test_an_event_loop_that_waits_for_the_database_itself_is_freed(database: Database) -> None:
    """What stands still is cut off from another thread."""
    with connect(database.place) as reading:
        async with Leases(database.place, holder="a", cut=ALL.cut) as a:
            lease = await a.take(KEY)
            assert lease is not None
            with database.frozen(), pytest.raises(Error):
                reading.execute("SELECT 1")
            assert not lease.is_valid()
            assert "no renewal" in a.trouble


async def test_who_is_cancelled_while_it_begins_leaves_nothing_behind(database: Database) -> None:
    """The thread ends, and its connection with it."""
    leases = Leases(database.place, holder="a")
    entering = asyncio.ensure_future(leases.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await within(VALID, leases.lost.wait())
    await until(lambda: backends(database) == [])


def waits_for_a_lock(database: Database) -> bool:
    """Some statement does."""
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(database.execute(waits))


def backends(database: Database) -> list[int]:
    """The server's processes that serve us."""
    found = database.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'batchmod'")
    return [int(str(pid)) for (pid,) in found]


async def test_a_server_that_stands_still_leaves_nobody_sure(database: Database) -> None:
    """Nothing hangs for it: neither what is held, nor who wants more, nor the end."""
    async with Leases(database.place, holder="a") as a, Leases(database.place, holder="b") as b:
        lease = await a.take(KEY)
        assert lease is not None
        wanted = asyncio.ensure_future(b.take(KEY, patience=60))
        await until(lambda: len(backends(database)) == 3)
        stopped = backends(database)
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            await within(2 * VALID, a.lost.wait())
            assert not lease.is_valid()
            with pytest.raises(JournalError, match="cannot be taken"):
                await within(VALID, wanted)
            assert "no renewal" in a.trouble
            await within(VALID, lease.release())
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


async def test_a_session_ends_with_its_connection(database: Database) -> None:
    """What it held is over at once; what is asked of it is refused in one line."""
    async with Leases(database.place, holder="a") as a:
        lease = await a.take(KEY)
        assert lease is not None
        database.stop()
        await within(VALID, a.lost.wait())
        assert not lease.is_valid()
        with pytest.raises(JournalError, match="cannot be taken") as caught:
            await a.take(KEY)
        assert "\n" not in str(caught.value)
        await lease.release()
    with pytest.raises(UsageError, match="the store cannot be used"):
        async with Leases(database.place, holder="b"):
            pass
    database.start()
    age(database, 5)
    async with Leases(database.place, holder="b") as b:
        again = await b.take(KEY)
        assert again is not None
        assert again.epoch == 2


async def test_a_look_that_began_before_it_was_taken_over_sees_the_new_epoch(database: Database) -> None:
    """Between the snapshot of a journal's look at its fence and the lock of it nobody slips through."""
    look = "SELECT epoch FROM lease WHERE key = %s AND pg_advisory_xact_lock(1) IS NOT NULL FOR KEY SHARE"
    async with (
        Leases(database.place, holder="a") as a,
        await psycopg.AsyncConnection.connect(database.url) as gate,
        await psycopg.AsyncConnection.connect(database.url, options=OURS) as writing,
    ):
        lease = await a.take(KEY)
        assert lease is not None
        await lease.release()
        await gate.execute("SELECT pg_advisory_xact_lock(1)")
        looking = asyncio.ensure_future(writing.execute(look, (KEY,)))
        await until(lambda: waits_for_a_lock(database))
        assert await a.take(KEY)
        await gate.commit()
        assert await (await within(VALID, looking)).fetchall() == [(2,)]


async def test_what_is_being_written_is_waited_for(database: Database) -> None:
    """The lease is taken once an earlier holder's last records are committed, and not longer than one is patient."""
    async with Leases(database.place, holder="a") as a:
        lease = await a.take(KEY)
        assert lease is not None
        await lease.release()
        with psycopg.connect(database.url, options=OURS) as writing:
            writing.execute("SELECT epoch FROM lease WHERE key = %s FOR KEY SHARE", (KEY,))
            assert await a.take(KEY, patience=0.2) is None
            waiting = asyncio.ensure_future(a.take(KEY))
            await until(lambda: waits_for_a_lock(database))
            assert not waiting.done()
            writing.commit()
            taken = await within(VALID, waiting)
            assert taken is not None
            assert taken.is_valid()


async def test_twenty_leases_under_a_flood(database: Database) -> None:
    """Renewals, takeovers and what is written under twenty fences do not stand in each other's way."""
    journal = PostgresJournal.open(database.place)
    await journal.open_run(a_run("1"), rows(20))
    keys = [f"lane:{number}/r" for number in range(20)]
    async with Leases(database.place, holder="a") as a, Leases(database.place, holder="b") as b:

        async def work(seq: int, leases: Leases) -> int:
            """How often it was held."""
            for turn in range(6):
                lease = await leases.take(keys[seq])
                assert lease is not None
                view = journal.under(lease.fence)
                for _ in range(20):
                    await view.step("1", a_step(Phase.ARMED, seq, float(turn)))
                    assert lease.is_valid()
                await lease.release()
            return 6

        held = await asyncio.gather(*(work(seq, leases) for seq in range(20) for leases in (a, b)))
        assert not a.lost.is_set()
        assert not b.lost.is_set()
    assert sum(held) == 240
    assert database.execute("SELECT min(epoch), max(epoch) FROM lease") == [(12, 12)]
    assert database.execute("SELECT count(*) FROM step") == [(4800,)]
    assert database.execute(DEADLOCKS) == [(0,)]
    assert database.execute(
        "SELECT count(*) FROM step s JOIN step later USING (seq) WHERE later.n > s.n AND later.epoch < s.epoch"
    ) == [(0,)]
    journal.close()


async def test_a_frozen_process_that_is_revived_neither_believes_nor_writes(database: Database) -> None:
    """At its first look it is not sure any more, and what it writes is refused, with another one in its place."""
    journal = PostgresJournal.open(database.place)
    await journal.open_run(a_run("1"), rows(1))
    child = subprocess.Popen(  # noqa: ASYNC220  it is read from a thread
        [sys.executable, str(TESTS / "cluster" / "lease_child.py"), database.url, KEY, "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            assert await asyncio.to_thread(child.stdout.readline) == "1\n"
            child.send_signal(signal.SIGSTOP)
            async with Leases(database.place, holder="successor") as leases:
                lease = await leases.take(KEY)
                assert lease is not None
                await journal.under(lease.fence).step("1", a_step(Phase.ESCROWED))
                child.stdin.write("look\n")
                child.stdin.flush()
                child.send_signal(signal.SIGCONT)
                said = [(await asyncio.to_thread(child.stdout.readline)).strip() for _ in range(3)]
                assert said == ["False", StaleError.__name__, "lost False"]
                assert [step.phase for step in journal.steps("1")] == [Phase.ESCROWED]
                assert lease.is_valid()
        finally:
            child.kill()
    journal.close()


async def test_where_there_is_no_database(tmp_path: Path) -> None:
    nowhere = Place(url=f"postgresql:///none?host={tmp_path}")
    with pytest.raises(UsageError, match="the store cannot be used"):
        async with Leases(nowhere, holder="a"):
            pass
