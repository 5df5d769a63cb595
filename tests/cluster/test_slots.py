"""Reservations hold over all processes, whoever dies: never more than there are, and none is lost."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest
from journal_records import a_row, a_step, rows
from lease_support import DEADLOCKS, RUN, Process, a_campaign, a_process, until
from postgres import Database

from batchmod.cluster import slots as module
from batchmod.cluster.places import CHANGING, FAILURES, Caps, Pool, spend
from batchmod.cluster.slots import SharedSlots
from batchmod.cluster.taking_up import TakenUp, take_up
from batchmod.cluster.turns import SharedGroups
from batchmod.engine.halt import HaltedError
from batchmod.engine.ports import Slots, Turns
from batchmod.journal.postgres import StaleError
from batchmod.model.events import Phase
from batchmod.model.record import RowState
from batchmod.pg.link import connect

LANES = ("lane:1/a", "lane:1/b")
UNLIMITED = Caps(run=None)


@asynccontextmanager
async def two_processes(database: Database, count: int = 20) -> AsyncIterator[tuple[Process, Process]]:
    """On two lanes of one campaign."""
    await a_campaign(database, rows(count))
    one, other = (a_process(database, lane) for lane in LANES)
    yield one, other
    one.close()
    other.close()


def shared(process: Process, cap: int | None = 1, *, pool: str = CHANGING, **other: object) -> SharedSlots:
    known: dict[str, object] = {"wave": 1, "caps": Caps(run=cap)}
    return SharedSlots(process.view, RUN, pool, **known | other)  # type: ignore[arg-type]  # as each test names it


def table(database: Database, pool: str | None = None) -> list[tuple[object, ...]]:
    """(seq, wave, spent) of every row that has a place."""
    return database.execute("SELECT seq, wave, spent FROM slot WHERE pool = coalesce(%s, pool) ORDER BY seq", pool)


@contextmanager
def watched(database: Database, query: str) -> Iterator[list[int]]:
    """Every answer that a third connection sees meanwhile."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        with psycopg.connect(database.url, autocommit=True, options="-c search_path=batchmod") as connection:
            while not done.is_set():
                ((count,),) = connection.execute(query.encode()).fetchall()
                seen.append(count)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def never(what: str) -> Callable[[], None]:
    return lambda: pytest.fail(what)


async def test_they_keep_the_engines_protocols(database: Database) -> None:
    async with two_processes(database) as (one, _):
        slots: Slots = shared(one, 2)
        turns: Turns = SharedGroups(one.view, RUN, wave=1)
        assert slots.limit == 2
        assert not slots.free
        assert turns.of(a_row()) is None


async def test_without_a_limit_nothing_is_written(database: Database) -> None:
    """And nothing is asked."""
    async with two_processes(database) as (one, _):
        slots = shared(one, None, pool=FAILURES, exhausted=never("spent"))
        before = one.journal.commits
        await slots.reserve(0)
        assert await slots.claim(1)
        slots.give_back(0)
        slots.spend(1)
        assert slots.free
        await one.view.flush()
        assert one.journal.commits == before
        assert table(database) == []


async def test_two_processes_never_hold_more_than_there_are(database: Database) -> None:
    """At every moment, at any share of failures, whoever asks; and when all is spent, everybody hears it."""
    count, limit = 60, 5
    async with two_processes(database, 2 * count) as processes:
        dice = random.Random(1)
        ended = {Phase.CHANGED: 0, Phase.FAILED: 0}
        used = f"SELECT count(*) FROM slot WHERE pool = '{FAILURES}'"
        told: list[int] = []

        async def work(number: int, seq: int, budget: SharedSlots, changing: SharedSlots) -> None:
            view = processes[number].view
            try:
                await budget.reserve(seq)
            except HaltedError:
                return
            await changing.reserve(seq)
            await view.step(RUN, a_step(Phase.ARMED, seq))
            phase = Phase.FAILED if dice.random() < 0.1 else Phase.CHANGED
            view.note(RUN, a_step(phase, seq))
            ended[phase] += 1
            (budget.spend if phase is Phase.FAILED else budget.give_back)(seq)
            changing.give_back(seq)

        def pools(number: int) -> tuple[SharedSlots, SharedSlots]:
            budget = shared(processes[number], limit, pool=FAILURES, exhausted=lambda: end(number))
            return budget, shared(processes[number], 3)

        def end(number: int) -> None:
            told.append(number)
            every[number][0].close()

        every = [pools(number) for number in (0, 1)]
        with watched(database, used) as failures, watched(database, used.replace(FAILURES, CHANGING)) as changing:
            await asyncio.gather(
                *(work(number, 2 * seq + number, *every[number]) for seq in range(count) for number in (0, 1))
            )
        await asyncio.gather(*(process.view.flush() for process in processes))
        assert max(failures) <= limit
        assert max(changing) <= 3
        assert ended[Phase.FAILED] == limit
        assert set(told) == {0, 1}
        assert [spent for _, _, spent in table(database)] == [True] * limit
        assert database.execute(DEADLOCKS) == [(0,)]


async def test_a_database_that_shows_old_counts_is_not_believed(database: Database) -> None:
    """Whatever its owner's default is, who waited for his turn counts what was reserved meanwhile."""
    for level in ("repeatable read", "serializable"):
        database.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = '{level}'")
        with connect(database.place) as connection:
            assert connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]


async def test_a_wave_has_a_share_of_the_runs_budget(database: Database) -> None:
    """Both hold: at most two in a wave, at most three in all."""
    async with two_processes(database) as (one, other):
        caps = Caps(run=3, wave=2)
        first, second = (shared(one, pool=FAILURES, wave=wave, caps=caps) for wave in (1, 2))
        assert first.limit == 2
        assert [await first.claim(seq) for seq in (0, 1, 2)] == [True, True, False]
        assert [await second.claim(seq) for seq in (3, 4)] == [True, False]
        assert not await shared(other, pool=FAILURES, wave=2, caps=caps).claim(5)


async def test_a_row_that_holds_its_place_gets_it_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a takeover, say; it takes no second one."""
    async with two_processes(database) as (one, _):
        assert await shared(one, 2).claim(0)
        assert await shared(one, 2).claim(0)
        await shared(one, 1).reserve(0)
        assert table(database) == [(0, 1, False)]
        monkeypatch.setattr(module, "FIRST", 600.0)  # nobody asks again by himself
        slots = shared(one, 2)
        await asyncio.wait_for(asyncio.gather(slots.reserve(0), slots.reserve(1)), 10)


async def test_within_a_process_it_is_first_come_first_served(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that is given back here is taken at once, and who gave up takes none."""
    for name in ("FIRST", "MOST"):
        monkeypatch.setattr(module, name, 600.0)  # nobody asks again by himself
    async with two_processes(database) as (one, _):
        slots, order = shared(one), list[int]()
        await slots.reserve(0)

        async def want(seq: int) -> None:
            await slots.reserve(seq)
            order.append(seq)
            slots.give_back(seq)

        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(want(seq)) for seq in range(1, 5)]
            await asyncio.sleep(0)
            await one.view.flush()
            waiting[1].cancel()
            slots.give_back(0)
        assert order == [1, 3, 4]
        await one.view.flush()
        assert table(database) == []


async def test_a_place_that_another_process_gives_back_is_found(database: Database) -> None:
    """By asking again."""
    async with two_processes(database) as (one, other):
        slots, theirs = shared(one), shared(other)
        await theirs.reserve(0)
        waiting = asyncio.ensure_future(slots.reserve(1))
        assert not await slots.claim(2)
        theirs.give_back(0)
        await asyncio.wait_for(waiting, 10)
        assert table(database) == [(1, 1, False)]


async def test_a_grant_that_is_cancelled_meanwhile_is_not_lost(database: Database) -> None:
    """Neither of who waits, nor of who tries once."""
    async with two_processes(database) as (one, _):
        for ask in (shared(one).reserve, shared(one).claim):
            asking = asyncio.ensure_future(ask(0))
            while not table(database):  # the place is taken, and nobody could be told yet
                await asyncio.sleep(0)
                one.view.post(lambda _: None)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            for _ in range(3):
                await one.view.flush()
            assert table(database) == []


async def test_a_grant_that_is_cancelled_in_the_same_moment_is_not_lost(database: Database) -> None:
    """It goes back before who waited for it could hear of it."""
    async with two_processes(database) as (one, _):
        slots = shared(one)
        asking = asyncio.ensure_future(slots.reserve(0))
        await asyncio.sleep(0)
        turn = slots._waiting[0][1]  # who is told wakes up one turn of the loop later: there is no other way between
        while not turn.done():  # noqa: ASYNC110  the very next turn of the loop
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await one.view.flush()
        assert table(database) == []


async def test_who_waits_when_it_is_closed_leaves(database: Database) -> None:
    """Nobody gets one by waiting any more; who holds one ends as it may, and what ends badly may still claim one."""
    async with two_processes(database) as (one, _):
        slots = shared(one)
        await slots.reserve(0)
        waiting = asyncio.ensure_future(slots.reserve(1))
        await asyncio.sleep(0)
        slots.close()
        for refused in (waiting, slots.reserve(2)):
            with pytest.raises(HaltedError):
                await refused
        slots.give_back(0)
        assert await slots.claim(3)
        assert table(database) == [(3, 1, False)]


async def test_a_limit_that_is_set_later_counts_who_holds_a_place_already(database: Database) -> None:
    """None of them loses it; when it is lifted, everybody who waits goes on."""
    async with two_processes(database) as (one, other):
        slots, theirs = shared(one, None), shared(other, None)
        for seq in range(3):
            await slots.reserve(seq)
        for each in (slots, theirs):
            each.set_limit(2)
        await one.view.flush()
        assert not await theirs.claim(4)
        waiting = asyncio.ensure_future(theirs.reserve(5))
        for seq in range(2):
            slots.give_back(seq)
        await asyncio.wait_for(waiting, 10)
        assert [seq for seq, _, _ in table(database)] == [2, 5]
        waiting = asyncio.ensure_future(theirs.reserve(6))
        await asyncio.sleep(0)
        theirs.set_limit(None)
        await asyncio.wait_for(waiting, 10)
        theirs.give_back(5)
        theirs.give_back(6)
        await other.view.flush()
        assert [seq for seq, _, _ in table(database)] == [2]


async def test_a_spent_budget_stops_the_campaign(database: Database) -> None:
    """Of the run or of a wave; in the transaction of the last failure, once, and everybody who asks hears it."""
    async with two_processes(database) as (one, other):
        told, told_too = asyncio.Event(), asyncio.Event()
        caps = Caps(run=5, wave=1)
        budget = shared(one, pool=FAILURES, caps=caps, exhausted=told.set)
        await budget.reserve(0)
        said = "SELECT stopping, said FROM campaign"
        assert database.execute(said) == [(None, 0)]
        budget.spend(0)
        await asyncio.wait_for(told.wait(), 10)
        await one.view.flush()
        assert database.execute(said) == [("max_failures", 1)]
        assert not await shared(other, pool=FAILURES, caps=caps, exhausted=told_too.set).claim(1)
        assert told_too.is_set()
        budget.spend(2)
        await one.view.flush()
        assert database.execute(said) == [("max_failures", 1)]
        assert await shared(other, pool=FAILURES, wave=2, caps=caps, exhausted=never("of another wave")).claim(3)
        budget.give_back(0)
        await one.view.flush()
        assert (0, 1, True) in table(database), "what is spent is gone for good"


async def test_two_last_failures_at_once_stop_the_campaign(database: Database) -> None:
    """Neither overlooks the other."""
    async with two_processes(database) as (one, _):
        told, caps = asyncio.Event(), Caps(run=2)
        with psycopg.connect(database.url, options="-c search_path=batchmod") as theirs:
            assert not spend(theirs.cursor(), Pool(run=RUN, name=FAILURES, wave=1, caps=caps), 0)
            shared(one, pool=FAILURES, caps=caps, exhausted=told.set).spend(1)
            written = asyncio.ensure_future(one.view.flush())
            waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            await until(lambda: written.done() or database.execute(waits))
            theirs.commit()
        await asyncio.wait_for(told.wait(), 10)
        await written
        assert database.execute("SELECT stopping FROM campaign") == [("max_failures",)]


async def test_a_place_is_free_when_the_journal_has_why(database: Database) -> None:
    """Who gets it next finds the step that ended the row before."""
    async with two_processes(database) as (one, other):
        slots = shared(one)
        await slots.reserve(0)
        waiting = asyncio.ensure_future(shared(other).reserve(1))
        one.view.note(RUN, a_step(Phase.CHANGED, 0))
        slots.give_back(0)
        await asyncio.wait_for(waiting, 10)
        assert [step.phase for step in other.journal.steps(RUN)] == [Phase.CHANGED]


async def test_who_was_replaced_takes_nothing(database: Database) -> None:
    """Nor gives back, nor spends: its successor has the rows."""
    async with two_processes(database) as (one, other):
        slots = shared(one, 2, pool=FAILURES)
        await slots.reserve(0)
        await shared(other, 2, pool=FAILURES).reserve(1)
        waiting = asyncio.ensure_future(slots.reserve(2))
        a_process(database, LANES[0]).close()
        await shared(other, 3, pool=FAILURES).reserve(3)
        with pytest.raises(StaleError):
            await asyncio.wait_for(waiting, 10)
        for refused in (slots.reserve(4), slots.claim(5), taken_up(one, [])):
            with pytest.raises(StaleError):
                await refused
        slots.give_back(0)
        slots.spend(0)
        assert table(database) == [(0, 1, False), (1, 1, False), (3, 1, False)]


def stands(phase: Phase, seq: int, at: float = 1.0, **other: object) -> tuple[object, RowState]:
    state = RowState(phase=phase, finished_at=at)
    return a_row(seq, **other), state


async def taken_up(process: Process, known: list[tuple[object, RowState]], **other: object) -> TakenUp:
    given: dict[str, object] = {"wave": 1, "failures": Caps(run=9)}
    return await take_up(process.view, RUN, known, **given | other)  # type: ignore[arg-type]  # as each test names it


async def test_the_places_of_who_died_stay_until_its_rows_are_taken_up(database: Database) -> None:
    """Then each row has what its last phase says, whatever the table said, and others' rows are left alone."""
    async with two_processes(database) as (one, other):
        for pool in (FAILURES, CHANGING, "group:pay"):
            slots = shared(one, 9, pool=pool)
            for seq in range(6):
                await slots.reserve(seq)
            await shared(other, 9, pool=pool).reserve(19)
        slots.spend(5)
        one.close()
        successor = a_process(database, LANES[0])
        assert not await shared(other, 7, pool=FAILURES).claim(18)
        held = await taken_up(
            successor,
            [
                stands(Phase.PLANNED, 0),
                stands(Phase.WAITING, 1),
                stands(Phase.CHANGED, 2),
                stands(Phase.ARMED, 3, group="pay"),
                stands(Phase.WATCHING, 6),
                stands(Phase.FAILED, 4),
                stands(Phase.UNRESOLVED, 7, 2.0),
                stands(Phase.FAILED, 5, 2.0, verdict=Phase.FAILED),
            ],
            reset_at=1.5,
            failures=Caps(run=2),
        )
        assert [row.seq for row in held.held] == [3, 6]
        assert not held.exhausted
        assert table(database, FAILURES) == [(3, 1, False), (6, 1, False), (7, 1, True), (19, 1, False)]
        assert [seq for seq, _, _ in table(database, CHANGING)] == [3, 6, 19]
        assert [seq for seq, _, _ in table(database, "group:pay")] == [3, 19]
        budget = shared(successor, 4, pool=FAILURES)
        budget.give_back(3)
        assert await budget.claim(8)
        assert not await budget.claim(9)
        successor.close()


async def test_without_a_failure_budget_no_place_of_it_is_written(database: Database) -> None:
    """Of the instances in change each is, since a limit of these may still be set."""
    async with two_processes(database) as (one, _):
        known = [stands(Phase.ARMED, 0), stands(Phase.FAILED, 1)]
        assert not (await taken_up(one, known, failures=UNLIMITED)).exhausted
        assert table(database, FAILURES) == []
        assert table(database, CHANGING) == [(0, 1, False)]


async def test_a_budget_that_was_spent_before_stops_the_campaign_again(database: Database) -> None:
    """Until it is reset."""
    async with two_processes(database) as (one, _):
        known = [stands(Phase.FAILED, 0), stands(Phase.ARMED, 1)]
        assert (await taken_up(one, known, failures=Caps(run=1))).exhausted
        assert database.execute("SELECT stopping FROM campaign") == [("max_failures",)]
        database.execute("DELETE FROM slot WHERE run = %s AND spent", RUN)
        assert table(database, FAILURES) == [(1, 1, False)]
        assert not (await taken_up(one, known, failures=Caps(run=1), reset_at=1.0)).exhausted


async def test_of_a_group_one_is_in_change_whoever_works_on_it(database: Database) -> None:
    """Also a group that no database could name; the others do not wait for it."""
    async with two_processes(database) as (one, other):
        mine, theirs = (SharedGroups(each.view, RUN, wave=1) for each in (one, other))
        odd = "\0\ud800ü"
        for number, group in enumerate(("pay", odd)):
            turn = mine.of(a_row(number, group=group))
            their_turn = theirs.of(a_row(10 + number, group=group))
            assert turn is not None
            assert their_turn is not None
            assert not turn.free
            await turn.reserve(number)
            assert not await their_turn.claim(10 + number)
            waiting = asyncio.ensure_future(their_turn.reserve(10 + number))
            turn.give_back(number)
            await asyncio.wait_for(waiting, 10)


async def test_a_turn_that_was_held_when_its_process_died_is_given_back(database: Database) -> None:
    """And a turn that is first asked for after the end is closed too."""
    async with two_processes(database) as (one, _):
        row, next_row = (a_row(seq, group="pay") for seq in (0, 1))
        await taken_up(one, [(row, RowState(phase=Phase.ARMED))])
        groups = SharedGroups(one.view, RUN, wave=1)
        turn = groups.of(row)
        assert turn is not None
        assert not await turn.claim(1)
        turn.give_back(0)
        assert groups.of(next_row) is turn
        assert await turn.claim(1)
        groups.close()
        late = groups.of(a_row(2, group="late"))
        assert late is not None
        for each, seq in ((turn, 3), (late, 2)):
            with pytest.raises(HaltedError):
                await each.reserve(seq)


@pytest.mark.parametrize("limit", [1, 3])
async def test_places_go_round(database: Database, limit: int) -> None:
    """Who asks again as soon as it has given one back keeps them from nobody, however long it has more to do."""
    async with two_processes(database, 400) as (one, other):
        busy, late = shared(one, limit), shared(other, limit)
        got: list[str] = []
        done = asyncio.Event()

        async def change(slots: SharedSlots, seq: int, name: str) -> None:
            await slots.reserve(seq)
            got.append(name)
            await asyncio.sleep(0.005)
            if not done.is_set():
                slots.give_back(seq)

        more = [asyncio.ensure_future(change(busy, seq, "busy")) for seq in range(300)]
        await until(lambda: len(got) > 2 * limit)
        before = len(got)
        await asyncio.wait_for(asyncio.gather(*(change(late, seq, "late") for seq in range(300, 303))), 20)
        assert got[before:].count("busy") <= 6 * limit + 6
        done.set()
        for each in more:
            each.cancel()
        await asyncio.gather(*more, return_exceptions=True)


async def test_who_waits_no_more_is_not_waited_for(database: Database) -> None:
    """A process that died while it waited; and one that needs no place any more leaves at once."""
    async with two_processes(database) as (one, other):
        dead, alive = shared(one), shared(other)
        await alive.reserve(0)
        for leaves in (True, False):
            gone = asyncio.ensure_future(dead.reserve(1))
            await until(lambda: database.execute("SELECT 1 FROM waiter"))
            if not leaves:
                one.close()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            if leaves:
                database.execute(
                    "UPDATE waiter SET asked_at = asked_at + interval '1 minute'"
                )  # it would be waited for
                await until(lambda: not database.execute("SELECT 1 FROM waiter"))
        alive.give_back(0)
        await asyncio.wait_for(alive.reserve(2), 10)
        assert database.execute("SELECT 1 FROM waiter") == []


async def test_what_those_before_one_do_not_want_is_free(database: Database) -> None:
    """Who comes first, and asks seldom, keeps others from as many places as it wants."""
    async with two_processes(database) as (one, other):
        first, second = shared(one, 3), shared(other, 3)
        for seq in (0, 1, 2):
            await second.reserve(seq)
        waiting = asyncio.ensure_future(first.reserve(3))
        await until(lambda: database.execute("SELECT wants FROM waiter") == [(1,)])
        database.execute("UPDATE waiter SET asked_at = asked_at + interval '1 minute'")  # it asks no more for now
        one.journal.close()
        for seq in (0, 1):
            second.give_back(seq)
        await second.reserve(4)
        late = asyncio.ensure_future(second.reserve(5))
        await until(lambda: database.execute("SELECT count(*) FROM waiter") == [(2,)])
        assert not late.done()
        assert {seq for seq, *_ in table(database)} == {2, 4}
        late.cancel()
        waiting.cancel()
        await asyncio.gather(late, waiting, return_exceptions=True)
