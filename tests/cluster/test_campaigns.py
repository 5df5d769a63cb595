"""What workers share of a run: its rows in chunks, and what was said to it."""

from dataclasses import replace
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st
from journal_records import a_row, rows
from lease_support import RUN, a_campaign
from postgres import Database
from soaking import examples

from batchmod.cluster.campaigns import (
    SIZE,
    Chunk,
    State,
    begin,
    campaign_of,
    chunked,
    chunks_of,
    lane_key,
    next_number,
    run_key,
    stop,
)
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.plan import Lane, PlannedRow
from batchmod.pg.link import linked

KINDS = (Kind.ATTRIBUTES, Kind.PASSWORD, Kind.TDE)


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedRow]:
    """Instances of some lanes and waves, each with its kinds as neighbours, some of which are not sent."""
    planned: list[PlannedRow] = []
    for number in range(draw(st.integers(0, 40))):
        account, region = draw(st.sampled_from("ab")), draw(st.sampled_from(("r", "s")))
        wave = draw(st.integers(1, 3))
        for kind in KINDS[: draw(st.integers(1, 3))]:
            sent = draw(st.booleans())
            planned.append(
                a_row(
                    len(planned),
                    account=account,
                    account_id=f"id of {account}",
                    region=region,
                    instance_id=f"r-{number}",
                    kind=kind,
                    wave=wave if sent else None,
                    verdict=Phase.PLANNED if sent else Phase.UNCHANGED,
                )
            )
    return planned


@examples(60)
@given(planned=plans(), size=st.integers(1, 7), first=st.integers(1, 9))
def test_chunks(planned: list[PlannedRow], size: int, first: int) -> None:
    """Each row that is sent is in one chunk, with all of its instance; a chunk is of one lane and wave, and not too large;
    they are numbered by wave.
    """
    chunks = chunked(planned, run_id=RUN, first=first, size=size)
    assert sorted(seq for chunk in chunks for seq in chunk.rows) == [row.seq for row in planned if row.wave is not None]
    assert [chunk.n for chunk in chunks] == list(range(first, first + len(chunks)))
    assert [chunk.wave for chunk in chunks] == sorted(chunk.wave for chunk in chunks)
    homes: dict[object, int] = {}
    for chunk in chunks:
        mine = [planned[seq] for seq in chunk.rows]
        assert chunk.state is State.WAITING
        assert {(row.account, row.lane, row.wave) for row in mine} == {(chunk.account, chunk.lane, chunk.wave)}
        assert list(chunk.rows) == sorted(chunk.rows)
        instances = [key for key, _ in groupby(mine, key=lambda row: row.key)]
        assert 1 <= len(instances) <= size
        for key in instances:
            assert homes.setdefault(key, chunk.n) == chunk.n


@examples(30)
@given(planned=plans(), size=st.integers(1, 7))
def test_only_the_last_chunk_of_a_lane_and_wave_is_smaller(planned: list[PlannedRow], size: int) -> None:
    """No worker starts for less than there is to do."""
    of_one: dict[object, list[int]] = {}
    for chunk in chunked(planned, run_id=RUN, size=size):
        instances = {planned[seq].key for seq in chunk.rows}
        of_one.setdefault((chunk.account, chunk.lane, chunk.wave), []).append(len(instances))
    assert all(count == size for counts in of_one.values() for count in counts[:-1])


def test_a_chunk_is_a_few_minutes_of_work() -> None:
    """500 instances, whatever number of rows each has."""
    planned = [a_row(2 * n + k, instance_id=f"r-{n}", kind=KINDS[k]) for n in range(501) for k in (0, 1)]
    assert [len(chunk.rows) for chunk in chunked(planned, run_id=RUN)] == [2 * SIZE, 2]


def test_what_leases_are_called() -> None:
    assert lane_key(Lane("1", "cn-hangzhou")) == "lane:1/cn-hangzhou"
    assert run_key(RUN) == f"run:{RUN}"


def a_chunk(n: int, *, state: State = State.READY) -> Chunk:
    return Chunk(run=RUN, n=n, account="prod", account_id="1", region="r", wave=2, rows=(0, 3), state=state)


async def test_a_campaign_begins_with_its_chunks(database: Database) -> None:
    """All of it is there, or nothing."""
    await a_campaign(database, rows(4))
    async with linked(database.place) as db:
        assert await next_number(db, RUN) == 1
        await begin(db, RUN, [a_chunk(1), a_chunk(2)], endpoint="https://e", submitted="x")
        assert await next_number(db, RUN) == 3
        assert [chunk.n for chunk in await chunks_of(db, RUN)] == [1, 2]
        assert await chunks_of(db, RUN, 2) == [replace(a_chunk(2), rows=[0, 3])]
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert campaign.is_open
        assert (campaign.endpoint, campaign.submitted, campaign.stopping) == ("https://e", "x", None)
        assert await campaign_of(db, "another") is None
        assert await chunks_of(db, "another") == []


async def test_a_campaign_that_begins_again_forgets_what_was_said(database: Database) -> None:
    """And keeps what is done; who went by the old number looks again."""
    await a_campaign(database, rows(4))
    async with linked(database.place) as db:
        await begin(db, RUN, [a_chunk(1, state=State.DONE), a_chunk(2)], endpoint=None, submitted="x")
        before = await campaign_of(db, RUN)
        await stop(db, RUN, StoppedBy.CONTROL)
        await db.execute(
            "UPDATE campaign SET state = 'ended', closing = true, paused = true, rate = '1/1s', changing = '1'"
        )
        await db.execute("UPDATE campaign SET troubles = 3, trouble = 'no', job = 7")
        await db.execute("INSERT INTO heard VALUES (%s, 'k', 1, 1)", (RUN,))
        await begin(db, RUN, [a_chunk(await next_number(db, RUN))], endpoint=None, submitted="x")
        assert [(chunk.n, chunk.state) for chunk in await chunks_of(db, RUN)] == [(1, State.DONE), (3, State.READY)]
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert before is not None
        assert campaign.said > before.said + 1
        assert campaign.is_open
        told = (campaign.closing, campaign.stopping, campaign.paused, campaign.rate, campaign.changing)
        assert told == (False, None, False, None, None)
        assert (campaign.troubles, campaign.trouble) == (0, None)
        assert await (await db.execute("SELECT 1 FROM heard")).fetchall() == []


async def test_a_campaign_is_stopped_for_the_first_reason(database: Database) -> None:
    """One that has ended is not stopped."""
    await a_campaign(database, rows(1))
    async with linked(database.place) as db:
        for reason in (StoppedBy.CONTROL, StoppedBy.MAX_FAILURES):
            await stop(db, RUN, reason)
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert (campaign.stopping, campaign.said) == (StoppedBy.CONTROL, 2)
        await db.execute("UPDATE campaign SET state = 'ended', stopping = NULL")
        await stop(db, RUN, StoppedBy.CONTROL)
        campaign = await campaign_of(db, RUN)
        assert campaign is not None
        assert campaign.stopping is None
