"""A service that counts calls, on a loop where waiting costs nothing: sliding windows, fixed ones, a bucket of tokens."""

import asyncio
import math
import random
import selectors
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.errors import CallError, Verdict
from batchmod.model.values import Rate

API = "ModifyInstanceAttribute"
WORKERS = 128
PHASE = 17.3  # seconds: a fixed window begins at no round moment of ours


class Skipping(selectors.DefaultSelector):
    """Never sleeps: the clock jumps."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, for nothing"
        self.now += timeout
        return []


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skipping = Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.now


@dataclass
class Replica:
    """`arrived` and `accepted` are moments since the start."""

    kind: str
    quota: Rate
    tell: bool = False
    stray: list[float] = field(default_factory=list)  # refusals that somebody else has caused
    arrived: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    _taken: deque[float] = field(default_factory=deque)
    _window: tuple[int, int] = (-1, 0)
    _bucket: tuple[float, float] = (0.0, math.inf)

    def call(self, now: float) -> CallError | None:
        self.arrived.append(now)
        if self.stray and now >= self.stray[0]:
            self.stray.pop(0)
            return _refusal(None)
        if getattr(self, f"_{self.kind}")(now):
            self.accepted.append(now)
            return None
        return _refusal(self._taken[0] + self.quota.period - now if self.tell else None)

    def _sliding(self, now: float) -> bool:
        taken = self._taken
        while taken and taken[0] <= now - self.quota.period:
            taken.popleft()
        if fits := len(taken) < self.quota.calls:
            taken.append(now)
        return fits

    def _fixed(self, now: float) -> bool:
        window = int((now + PHASE) // self.quota.period)
        calls = self._window[1] + 1 if self._window[0] == window else 1
        if fits := calls <= self.quota.calls:
            self._window = window, calls
        return fits

    def _tokens(self, now: float) -> bool:
        at, tokens = self._bucket
        tokens = min(float(self.quota.calls), tokens + (now - at) * self.quota.per_second)
        fits = tokens >= 1
        self._bucket = now, tokens - fits
        return fits

    @property
    def throttled(self) -> float:
        return 1 - len(self.accepted) / len(self.arrived)

    def most(self) -> int:
        """Calls that arrived in any window of the quota's period."""
        window: deque[float] = deque()
        most = 0
        for at in self.arrived:
            window.append(at)
            while window[0] <= at - self.quota.period:
                window.popleft()
            most = max(most, len(window))
        return most

    def used(self, since: float, until: float) -> float:
        """The share of the quota that was accepted between two moments."""
        return sum(since < at <= until for at in self.accepted) / (self.quota.per_second * (until - since))


def _refusal(retry_after: float | None) -> CallError:
    return CallError(Verdict.SLOW_DOWN, code="Throttling.User", message="", retry_after=retry_after)


def play(
    replica: Replica,
    told: Rate | None,
    seconds: float,
    *,
    cut: tuple[float, Rate] | None = None,
    latency: float = 0.06,
    spread: float = 0.3,
    stalls: Sequence[float] = (),
    stall: float = 0.06,
    holders: int = 1,
) -> Pacing:
    """Clients that always have something to send do so for a while; `cut`: when the quota becomes another one.

    Round trips are log-normal, each way by itself. In a stall of the machine nothing that is granted goes out until
    its end, and everything then. So many `holders` share the time, one after the other: each begins once the one before has had all its answers.
    """

    async def work() -> Pacing:
        loop, dice = asyncio.get_running_loop(), random.Random(1)
        began = loop.time()

        async def call(pace: Pacing, granted: float) -> None:
            out, back = (latency / 2 * math.exp(dice.gauss(0, spread)) for _ in range(2))
            now = loop.time() - began
            held = next((at + stall - now for at in stalls if at <= now < at + stall), 0.0)
            await asyncio.sleep(held + out)
            error = replica.call(loop.time() - began)
            await asyncio.sleep(back)
            pace.answered(API, granted, error)
            pace.leave(API)

        async def client(pace: Pacing, flying: set[asyncio.Future[None]]) -> None:
            while True:
                flying.add(flight := asyncio.ensure_future(call(pace, await pace.enter(API))))
                await asyncio.shield(flight)
                flying.remove(flight)

        async def hold(seconds: float, written: float) -> Pacing:
            pace = _pacing(told, Clock(now=loop.time, wall=loop.time, dice=dice.random), written)
            flying: set[asyncio.Future[None]] = set()
            clients = [asyncio.ensure_future(client(pace, flying)) for _ in range(WORKERS)]
            await asyncio.wait(clients, timeout=seconds)
            for each in clients:
                each.cancel()
            await asyncio.wait([*clients, *flying])
            return pace

        if cut is not None:
            loop.call_later(cut[0], setattr, replica, "quota", cut[1])
        pace = await hold(seconds / holders, -math.inf)
        for _ in range(holders - 1):
            pace = await hold(seconds / holders, pace.last_write())
        return pace

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(work())


def _pacing(told: Rate | None, clock: Clock, written: float) -> Pacing:
    return Pacing(
        lambda _: told,
        slots=asyncio.Semaphore(WORKERS),
        halt=Halt(),
        writes=frozenset({API}),
        clock=clock,
        written=written,
    )
