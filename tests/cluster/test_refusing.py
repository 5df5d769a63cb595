"""Who takes up what: nobody waits for the places of who died, and a worker that cannot do it leaves it to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from journal_records import rows
from lease_support import RUN, a_campaign
from postgres import Database

from batchmod.cluster.campaigns import Chunk, Db, State, begin, campaign_of, chunks_of, lane_key
from batchmod.cluster.due import enqueue_due, manager_without_pool, queue_of
from batchmod.cluster.lasting import goes_on
from batchmod.cluster.lease import Leases
from batchmod.cluster.progress import conclude, take_up
from batchmod.cluster.refusals import (
    FIRST,
    LEAST,
    MOST,
    TRIES,
    Rest,
    next_try,
    others_than,
    put_off,
    refuse,
    stop_for,
    tell_unserved,
    worker_key,
)
from batchmod.journal.postgres import Fence
from batchmod.model.events import StoppedBy
from batchmod.model.plan import Lane
from batchmod.pg.link import linked

OTHER = "20260304T050607Z-0001"
ENDPOINT = "https://e"


def a_chunk(n: int, *, run_id: str = RUN, region: str = "a", seqs: tuple[int, ...] | None = None) -> Chunk:
    """By default of one row, which has its number."""
    return Chunk(
        run=run_id, n=n, account="prod", account_id="1", region=region, wave=1, rows=seqs or (n,), state=State.READY
    )


@asynccontextmanager
async def of_campaign(database: Database, *chunks: Chunk, endpoint: str | None = None) -> AsyncIterator[Db]:
    """It is open and has these chunks."""
    run_id = chunks[0].run
    await a_campaign(database, rows(9), run_id)
    async with linked(database.place) as db:
        await begin(db, run_id, chunks, endpoint=endpoint, submitted="x")
        yield db


def holds(database: Database, seq: int, *, run_id: str = RUN, spent: bool = False) -> None:
    """The row has a place."""
    database.execute("INSERT INTO slot VALUES (%s, 'changing', %s, 1, %s)", run_id, seq, spent)


def fence_of(database: Database, key: str = lane_key(Lane("1", "a")), holder: str = "w") -> Fence:
    database.execute("INSERT INTO lease VALUES (%s, 1, %s, clock_timestamp())", key, holder)
    return Fence(key=key, epoch=1)


def is_there(database: Database, *holders: str, endpoint: str | None = None, since: str = "0 s") -> None:
    """These workers take up work, and gave the last sign of life so long ago."""
    for each in holders:
        database.execute(
            "INSERT INTO lease VALUES (%s, 1, %s, clock_timestamp() - %s::interval)",
            worker_key(endpoint, each),
            each,
            since,
        )


async def the(db: Db, n: int) -> Chunk:
    return (await chunks_of(db, RUN, n))[0]


async def test_nothing_is_taken_up_in_a_lane_before_its_rescues(database: Database) -> None:
    """Of whatever run, for the same service; what has only spent places needs none."""
    async with of_campaign(database, a_chunk(1), a_chunk(2), a_chunk(3, region="b")) as db:
        fence = fence_of(database)
        holds(database, 2, spent=True)
        assert await take_up(db, await the(db, 1), fence, rescue=False)
        database.execute("UPDATE slot SET spent = false")
        holder = await the(db, 2)
        assert [await take_up(db, await the(db, n), fence, rescue=False) for n in (1, 2, 3)] == [False, False, True]
        assert await take_up(db, holder, fence, rescue=True)
        assert [one.attempts for one in await chunks_of(db, RUN)] == [1, 1, 1]
        async with of_campaign(database, a_chunk(5, run_id=OTHER), endpoint=ENDPOINT):
            (other,) = await chunks_of(db, OTHER)
            assert await take_up(db, other, fence, rescue=False)
            database.execute("UPDATE campaign SET endpoint = NULL")
            assert not await take_up(db, other, fence, rescue=False)
            await conclude(db, holder, fence, State.DONE)
            assert await take_up(db, other, fence, rescue=False)
            holds(database, 1)
            assert not await take_up(db, other, fence, rescue=False)
            database.execute("UPDATE campaign SET state = 'ended' WHERE run = %s", RUN)
            assert await take_up(db, other, fence, rescue=False)


@pytest.mark.parametrize("endpoint", [None, ENDPOINT])
async def test_what_holds_places_has_a_queue_of_its_own(database: Database, endpoint: str | None) -> None:
    """It goes first in its lane, then what was begun; each where workers for that endpoint look for it."""
    async with of_campaign(database, *map(a_chunk, range(1, 4)), endpoint=endpoint) as db:
        holds(database, 2)
        holds(database, 1, spent=True)
        database.execute("UPDATE chunk SET attempts = 1 WHERE n = 3")
        await enqueue_due(manager_without_pool(), db)
        jobs = "SELECT args ->> 'n', task_name, queue_name, priority FROM procrastinate_jobs ORDER BY id"
        assert database.execute(jobs) == [
            (None, "conduct", queue_of("runs", endpoint), 0),
            ("1", "chunk", queue_of("lanes", endpoint), 0),
            ("2", "rescue", queue_of("rescues", endpoint), 2),
            ("3", "chunk", queue_of("lanes", endpoint), 1),
        ]
        assert len({lock for (lock,) in database.execute("SELECT lock FROM procrastinate_jobs")}) == 2


def test_queues_of_endpoints_differ() -> None:
    """And are short enough for a channel of PostgreSQL."""
    names = {queue_of("rescues", endpoint) for endpoint in (None, ENDPOINT, "https://f", "https://" + 99 * "x")}
    assert len(names) == 4
    assert max(map(len, names)) < 63 - len("procrastinate_queue_v1#")


def test_a_chunk_is_left_after_some_tries_and_a_minute() -> None:
    """Each later than the one before; others try it at once."""
    pauses = [next_try(tries, 0.0, others=False) for tries in range(1, 9)]
    assert {state for state, _ in pauses} == {State.READY}
    assert [later for _, later in pauses] == [FIRST, 8.0, 16.0, 32.0, MOST, MOST, MOST, MOST]
    assert sum(later for _, later in pauses[: TRIES - 1]) >= LEAST
    assert next_try(TRIES, LEAST, others=False) == (State.LEFT, 0.0)
    assert next_try(TRIES - 1, 9 * LEAST, others=False)[0] is State.READY
    assert next_try(TRIES, LEAST, others=True) == (State.READY, 0.0)


def test_a_worker_rests_longer_each_time() -> None:
    """Failures at the same time are one, and it is short again after a success."""
    now = 0.0
    rest, lasted = Rest(lambda: now), list[float]()
    for n in range(8):
        if n == 7:
            rest.forget()
        for _ in range(2):
            rest.begin()
        began = now
        while rest.is_on:
            now += 1.0
        lasted.append(now - began)
    assert lasted == [2.0, 4.0, 8.0, 16.0, 32.0, MOST, MOST, 2.0]


async def test_others_are_those_at_work_for_the_same_endpoint(database: Database) -> None:
    async with of_campaign(database, a_chunk(1)) as db:
        assert not await others_than(db, RUN, ["me"])
        is_there(database, "me")
        is_there(database, "other", endpoint=ENDPOINT)
        is_there(database, "dead", since="6 s")
        assert not await others_than(db, RUN, ["me"])
        assert await others_than(db, RUN, ["you"])
        is_there(database, "you")
        assert await others_than(db, RUN, ["me"])
        assert not await others_than(db, RUN, ["me", "you"])
        database.execute("UPDATE lease SET holder = NULL WHERE holder = 'you'")
        assert not await others_than(db, RUN, ["me"])


async def test_a_refused_chunk_is_for_others_then_for_an_operator(database: Database) -> None:
    """Who refused it is known, each once; a chunk that is left with places stops its run."""
    async with of_campaign(database, a_chunk(1), a_chunk(2)) as db:
        fence = fence_of(database)
        is_there(database, "one", "two")
        due = "SELECT not_before <= now() FROM chunk WHERE n = 1"
        assert await refuse(db, await the(db, 1), fence, "no key", by="one") == (State.READY, True)
        assert database.execute(due) == [(True,)]
        for _ in range(2):
            assert await refuse(db, await the(db, 1), fence, "nor here", by="two") == (State.READY, False)
        assert database.execute(due) == [(False,)]
        chunk = await the(db, 1)
        assert (chunk.refused, chunk.troubles, chunk.trouble) == (["one", "two"], 3, "nor here")
        database.execute("UPDATE chunk SET troubles = 4, troubled_at = now() - interval '61 s'")
        assert await refuse(db, await the(db, 2), fence, "no", by="one") == (State.READY, True)
        is_there(database, "three")
        assert (await refuse(db, await the(db, 1), fence, "no", by="one"))[0] is State.READY
        database.execute("DELETE FROM lease WHERE holder = 'three'")
        assert (await refuse(db, await the(db, 1), fence, "no", by="one"))[0] is State.LEFT
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert campaign.stopping is None
        holds(database, 2)
        assert (await refuse(db, await the(db, 2), Fence(key=fence.key, epoch=9), "no", by="two"))[0] is State.LEFT
        assert (await the(db, 2)).state is State.READY
        assert database.execute("SELECT stopping FROM campaign") == [(None,)]
        assert (await refuse(db, await the(db, 2), fence, "no", by="two"))[0] is State.LEFT
        assert (await the(db, 2)).state is State.LEFT
        assert database.execute("SELECT stopping FROM campaign") == [("store",)]


async def test_a_chunk_that_was_worked_on_was_refused_by_nobody(database: Database) -> None:
    """Its trouble is not told any more while somebody is at it."""
    async with of_campaign(database, a_chunk(1)) as db:
        fence = fence_of(database)
        await refuse(db, await the(db, 1), fence, "no key", by="one")
        assert await take_up(db, await the(db, 1), fence, rescue=False)
        chunk = await the(db, 1)
        assert (chunk.trouble, chunk.troubles, chunk.refused) == (None, 1, ["one"])
        await conclude(db, chunk, fence, State.READY)
        chunk = await the(db, 1)
        assert (chunk.troubles, chunk.refused) == (0, [])
        assert database.execute("SELECT troubled_at, not_before <= now() FROM chunk") == [(None, True)]


async def test_only_places_that_others_may_wait_for_stop_a_run(database: Database) -> None:
    """Spent ones are gone for good."""
    async with of_campaign(database, a_chunk(1), a_chunk(2)) as db:
        fence = fence_of(database)
        holds(database, 1, spent=True)
        holds(database, 2)
        await stop_for(db, await the(db, 1), fence, StoppedBy.WINDOW)
        assert database.execute("SELECT stopping FROM campaign") == [(None,)]
        await stop_for(db, await the(db, 2), fence, StoppedBy.WINDOW)
        assert database.execute("SELECT stopping FROM campaign") == [("window",)]


async def test_a_campaign_that_a_worker_cannot_conduct_is_for_others_at_once(database: Database) -> None:
    """And is tried again for ever, later each time, when there are none."""
    async with of_campaign(database, a_chunk(1)) as db:
        fence = fence_of(database, f"run:{RUN}")
        is_there(database, "one", "two")
        due = "SELECT not_before <= now() FROM campaign"
        assert await put_off(db, RUN, fence, "no directory", by="one")
        assert database.execute(due) == [(True,)]
        for _ in range(2 * TRIES):
            assert not await put_off(db, RUN, fence, "no directory", by="two")
        assert database.execute(due) == [(False,)]
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert campaign.is_open
        assert (campaign.refused, campaign.troubles) == (["one", "two"], 2 * TRIES + 1)
        await begin(db, RUN, [], endpoint=None, submitted="x")
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert (campaign.refused, campaign.troubles) == ([], 0)


async def test_a_campaign_for_which_no_worker_is_there_says_so(database: Database) -> None:
    """Until there is one; what else stands in its way is not hidden."""
    said = "no worker for the endpoint https://e is there: see worker --endpoint"
    async with of_campaign(database, a_chunk(1), endpoint=ENDPOINT) as db:
        is_there(database, "vendor's")
        is_there(database, "of old", endpoint=ENDPOINT, since="2 h")
        is_there(database, "ended", endpoint=ENDPOINT)
        database.execute("UPDATE lease SET holder = NULL WHERE holder = 'ended'")
        await tell_unserved(db)
        assert database.execute("SELECT trouble FROM campaign") == [(said,)]
        assert database.execute("SELECT holder FROM lease ORDER BY key") == [("vendor's",), (None,)]
        is_there(database, "right", endpoint=ENDPOINT)
        await tell_unserved(db)
        assert database.execute("SELECT trouble FROM campaign") == [(None,)]
        database.execute("DELETE FROM lease")
        database.execute("UPDATE campaign SET trouble = 'another'")
        await tell_unserved(db)
        assert database.execute("SELECT trouble FROM campaign") == [("another",)]


async def test_a_loop_ends_though_its_cancellation_was_swallowed() -> None:
    """As psycopg does it, when the connection breaks at that moment."""
    begun = asyncio.Event()

    async def loop() -> None:
        while goes_on():
            with suppress(asyncio.CancelledError):
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(loop())
    await begun.wait()
    task.cancel()
    await asyncio.wait_for(task, 10)


async def test_a_worker_is_there_for_as_long_as_it_renews_its_leases(database: Database) -> None:
    async with of_campaign(database, a_chunk(1)) as db, Leases(database.place, holder="w") as leases:
        lease = await leases.take(worker_key(None, "w"))
        assert lease is not None
        assert await others_than(db, RUN, ["me"])
        await lease.release()
        assert not await others_than(db, RUN, ["me"])
