"""The quota is never exceeded, nobody barges in, and a stop ends the wait of what would send."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt, HaltedError, PausedError
from batchmod.engine.pacing import Pacing
from batchmod.engine.turnstile import NAP, SHARE, WINDOW, Pacer, batch_of
from batchmod.errors import CallError, Verdict
from batchmod.model.events import StoppedBy
from batchmod.model.pace import Pace, Remembered
from batchmod.model.plan import Lane
from batchmod.model.values import Rate


@asynccontextmanager
async def turn(pace: Pacing, api: str) -> AsyncIterator[None]:
    """A grant and a slot, as the client holds them."""
    granted = await pace.enter(api)
    try:
        yield
    finally:
        pace.answered(api, granted, None)
        pace.leave(api)


def pacing(rate: Rate, halt: Halt, slots: int = 64) -> Pacing:
    return Pacing(
        lambda _: rate,
        slots=asyncio.Semaphore(slots),
        halt=halt,
        writes=frozenset({"Modify"}),
        clock=Clock(),
    )


async def test_no_window_holds_more_grants_than_the_rate() -> None:
    """In any period at most the rate, and grants in the order in which they were asked for."""
    pace = pacing(Rate(calls=20, period=0.5), Halt())
    granted: list[tuple[float, int]] = []

    async def call(number: int) -> None:
        async with turn(pace, "Describe"):
            granted.append((time.monotonic(), number))

    async with asyncio.TaskGroup() as group:
        for number in range(45):
            group.create_task(call(number))
    assert [number for _, number in granted] == list(range(45))
    times = [at for at, _ in granted]
    assert all(later - earlier > 0.5 for earlier, later in zip(times, times[20:], strict=False))


@given(st.integers(1, 100_000), st.sampled_from([1.0, 10.0, 60.0]))
def test_batches_fit_the_quotas_own_window(calls: int, period: float) -> None:
    """However batches fall into a window, the quota is not exceeded, and there is room for a little jitter."""
    per_second = calls / period * SHARE
    batch = batch_of(per_second, calls)
    assert 1 <= batch <= max(1, per_second * WINDOW * 1.05)
    assert calls // batch * batch / per_second >= period * 1.02


async def test_a_stop_ends_the_wait_of_writes_and_of_nothing_else() -> None:
    """Whoever would send is told at once, however long the queue; a read goes on."""
    halt = Halt()
    pace = pacing(Rate(calls=1, period=3600.0), halt)
    async with turn(pace, "Modify"):
        pass

    async def write() -> None:
        async with turn(pace, "Modify"):
            pytest.fail("sent")

    writes = [asyncio.ensure_future(write()) for _ in range(100)]
    await asyncio.sleep(0)
    halt.stop(StoppedBy.SIGNAL)
    results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 5)
    assert all(isinstance(result, HaltedError) for result in results)
    async with turn(pace, "Describe"):
        pass
    halt.leave()
    with pytest.raises(HaltedError):
        async with turn(pace, "Describe"):
            pytest.fail("read")


async def test_a_connection_slot_is_held_inside_the_turn_only() -> None:
    """Waiting for a grant holds at most one slot an API; a turn that ends gives it back."""
    slots = asyncio.Semaphore(1)
    pace = Pacing(lambda _: Rate(calls=1000, period=1.0), slots=slots, halt=Halt(), writes=frozenset(), clock=Clock())
    for _ in range(3):
        async with turn(pace, "Describe"):
            assert slots.locked()
        assert not slots.locked()


async def test_nothing_goes_out_before_the_service_said() -> None:
    """And nobody sleeps for so long that a stop or another rate would not be noticed."""
    now = 0.0
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        nonlocal now
        waits.append(max(0.0, seconds))
        now += max(0.0, seconds)

    pacer = Pacer(Rate(calls=100, period=1.0), clock=Clock(now=lambda: now), wait=wait)
    granted = await pacer.grant(asyncio.Semaphore(1))
    pacer.answered(granted, throttled=True, retry_after=7.5)
    assert await pacer.grant(asyncio.Semaphore(1)) == pytest.approx(7.5)
    assert max(waits) <= NAP


async def test_a_call_that_was_never_sent_says_nothing_and_holds_nothing() -> None:
    """Nor does one that was given up hold anything for longer than one that was answered."""
    now = 0.0

    async def wait(seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    pacer = Pacer(Rate(calls=5, period=10.0), clock=Clock(now=lambda: now), wait=wait)
    for number in range(50):
        granted = await pacer.grant(asyncio.Semaphore(1))
        if number % 2:
            pacer.answered(granted, throttled=False, sent=False)
        else:
            pacer.given_up(granted)
    assert now == pytest.approx(49 * 10 / (5 * SHARE), rel=0.1)
    assert pacer.tally.calls == 0


async def test_only_a_refusal_by_quota_slows_down() -> None:
    """Other errors say nothing about the rate."""
    pace = pacing(Rate(calls=100, period=1.0), Halt())
    for verdict in Verdict:
        if verdict is not Verdict.SLOW_DOWN:
            pace.answered("Modify", 0.0, CallError(verdict, code="x", message=""))
    pace.answered("Modify", 0.0, None)
    assert pace.pacer("Modify").per_second == pytest.approx(97)
    granted = await pace.enter("Modify")
    pace.answered("Modify", granted, CallError(Verdict.SLOW_DOWN, code="Throttling", message=""))
    assert pace.pacer("Modify").per_second < 97


async def test_a_pause_ends_the_wait_of_writes_and_holds_nothing() -> None:
    """Whoever would send goes back to where it came from, with no turn, grant or slot; a read goes on."""
    halt, slots = Halt(), asyncio.Semaphore(1)
    pace = Pacing(
        lambda _: Rate(calls=1, period=60.0), slots=slots, halt=halt, writes=frozenset({"Modify"}), clock=Clock()
    )
    async with turn(pace, "Modify"):
        pass

    async def write() -> None:
        async with turn(pace, "Modify"):
            pytest.fail("sent")

    writes = [asyncio.ensure_future(write()) for _ in range(20)]
    await asyncio.sleep(0)
    halt.pause()
    results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 5)
    assert all(isinstance(result, PausedError) for result in results)
    assert not slots.locked()
    async with turn(pace, "Describe"):
        pass
    halt.go_on()
    again = asyncio.ensure_future(write())
    await asyncio.sleep(0)
    assert not again.done()
    halt.stop(StoppedBy.CONTROL)
    with pytest.raises(HaltedError):
        await again


class Played:
    """A clock of its own that goes on when somebody waits, and the moments of all grants."""

    def __init__(self, rate: Rate) -> None:
        self.now = 1000.0
        self.granted: list[float] = []
        self.pacer = Pacer(rate, clock=Clock(now=lambda: self.now), wait=self._wait)
        self._slots = asyncio.Semaphore(1)

    async def _wait(self, seconds: float) -> None:
        self.now += seconds + 1e-9 if seconds > 0 else 0.0  # more than nothing, however far the clock has come

    async def grants(self, seconds: float) -> None:
        """So many as are given until then, each answered at once."""
        until = self.now + seconds
        while self.now < until:
            granted = await self.pacer.grant(self._slots)
            self.pacer.answered(granted, throttled=False)
            self._slots.release()
            self.granted.append(granted)

    def most_in(self, period: float, *, after: float = 0.0) -> int:
        """The most calls of any window of this length that ends after a moment."""
        return max(
            (sum(end - period < at <= end for at in self.granted) for end in self.granted if end > after), default=0
        )


@pytest.mark.parametrize("at", [0.3, 7.0, 25.0, 61.0])
@pytest.mark.parametrize(("old", "new"), [((60, 10.0), (20, 10.0)), ((20, 10.0), (60, 10.0)), ((50, 10.0), (30, 20.0))])
async def test_a_changed_rate_exceeds_neither_quota_around_the_change(
    old: tuple[int, float], new: tuple[int, float], at: float
) -> None:
    """No window that ends later holds more than the new one, or than was granted already; none more than the faster."""
    before, after = (Rate(calls=calls, period=period) for calls, period in (old, new))
    played = Played(before)
    await played.grants(at)
    assert played.most_in(before.period) <= before.calls
    changed = played.now
    already = sum(changed - after.period < each <= changed for each in played.granted)
    played.pacer.set_quota(after)
    await played.grants(25.0)
    assert played.most_in(before.period) <= max(before.calls, after.per_second * before.period)
    assert played.most_in(after.period, after=changed) <= max(already, after.calls)
    assert played.most_in(after.period, after=changed + after.period) <= after.calls
    assert len(played.granted) > already, "goes on"


async def test_a_raised_rate_is_felt_by_who_waits_already() -> None:
    """Not only after the long wait that the old one asked for; a rate of its own stays."""
    rates = {"Modify": Rate(calls=1, period=3600.0), "Own": Rate(calls=7, period=1.0)}
    halt = Halt()
    pace = Pacing(rates.__getitem__, slots=asyncio.Semaphore(9), halt=halt, writes=frozenset(), clock=Clock())
    for _ in range(2):
        async with turn(pace, "Own"):
            pass
    async with turn(pace, "Modify"):
        pass

    async def call() -> None:
        async with turn(pace, "Modify"):
            pass

    waiting = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    own = pace.pacer("Own").per_second
    pace.set_rates(lambda api: Rate(calls=7, period=1.0) if api == "Own" else Rate(calls=100, period=1.0))
    halt.leave()  # a pending wait is not what is tested
    with pytest.raises(HaltedError):
        await asyncio.wait_for(waiting, 5)
    assert pace.pacer("Own").per_second == own
    assert pace.pacer("Modify").per_second == pytest.approx(97)
    assert pace.pacer("New").per_second == pytest.approx(97)


async def test_a_rate_that_the_service_cut_is_not_made_faster_by_hand() -> None:
    """A higher ceiling is probed upwards; a lower one holds at once."""
    pacer = Pacer(Rate(calls=100, period=1.0), clock=Clock(), wait=asyncio.sleep)
    pacer.answered(await pacer.grant(asyncio.Semaphore(1)), throttled=True)
    slow = pacer.per_second
    pacer.set_quota(Rate(calls=200, period=1.0))
    assert pacer.per_second == slow
    pacer.set_quota(Rate(calls=10, period=1.0))
    assert pacer.per_second == pytest.approx(9.7)


async def test_news_of_a_lane_is_told_once_a_second() -> None:
    """With what was found, and how much of what was allowed was used."""
    now = 0.0
    told: list[Pace] = []
    pace = Pacing(
        lambda _: Rate(calls=10, period=1.0),
        slots=asyncio.Semaphore(9),
        halt=Halt(),
        writes=frozenset(),
        clock=Clock(now=lambda: now),
        lane=Lane("1", "cn-hangzhou"),
        found={"Describe": Remembered(Rate(calls=4, period=1.0), 7.0)},
        tell=told.append,
    )
    for _ in range(5):
        granted = await pace.enter("Describe")
        now += 0.5
        pace.answered("Describe", granted, None)
        pace.leave("Describe")
    assert [(each.rate, each.found, each.calls, each.allowed) for each in told] == [
        ("4/1s", True, 1, 1.0),
        ("4/1s", True, 3, 5.0),
        ("4/1s", True, 5, 9.0),
    ]
    assert (told[-1].key, told[-1].used) == (("1", "cn-hangzhou", "Describe"), 0.5556)
    assert pace.paces() == told[-1:]


async def test_a_quota_was_found_when_the_service_last_said_so() -> None:
    """Beginning with it again is no news of it, nor is a rate that is not told any more; a refusal is."""
    clock = Clock(now=lambda: 0.0, wall=lambda: 1000.0)
    start = Remembered(Rate(calls=4, period=1.0), 7.0)
    pacer = Pacer(Rate(calls=10, period=1.0), clock=clock, wait=asyncio.sleep, start=start)
    assert (pacer.pace("A", None).found, pacer.pace("A", None).found_at) == (True, 7.0)
    pacer.answered(await pacer.grant(asyncio.Semaphore(1)), throttled=True)
    assert (pacer.pace("A", None).found, pacer.pace("A", None).found_at) == (True, 1000.0)
    told = Pacer(Rate(calls=10, period=1.0), clock=clock, wait=asyncio.sleep)
    told.set_quota(None)
    assert not told.pace("A", None).found
