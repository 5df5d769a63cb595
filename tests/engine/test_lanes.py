"""The quota is the clock: many lanes at once, with a fresh plan or an old one whose rows are looked at before they are sent."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from breaking_time import run_skipping
from engine_support import LIMITS, a_run

from batchmod.engine.accounts import Accounts
from batchmod.engine.budget import Budget
from batchmod.engine.clock import Clock
from batchmod.engine.context import Context
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.engine.runner import run_all
from batchmod.engine.watcher import Sight, Watcher
from batchmod.journal.memory import MemoryJournal
from batchmod.model.events import Kind, Phase, Proof
from batchmod.model.plan import Lane, PlannedRow, Values
from batchmod.model.record import first_states
from batchmod.model.secret import Secret
from batchmod.model.values import parse_rate

ROUND_TRIP, CHANGE = 0.05, 3.0  # seconds
RATE = parse_rate("200/60s")
NOW = 1e9


@dataclass(frozen=True)
class Seen:
    status: str


@dataclass
class Service:
    """One lane of a service that answers after a while; `sent`: when each change was accepted."""

    pacing: Pacing
    halt: Halt
    clock: Clock
    sent: dict[str, float] = field(default_factory=dict)
    looks: int = 0

    def __post_init__(self) -> None:
        self.watcher: Watcher[Seen] = Watcher(self._look, self.halt)

    async def _call(self, api: str, before: Callable[[], Awaitable[None]] | None = None) -> None:
        granted = await self.pacing.enter(api)
        try:
            if before is not None:
                await before()
            await asyncio.sleep(ROUND_TRIP)
            self.pacing.answered(api, granted, None)
        finally:
            self.pacing.leave(api)

    async def _look(self, ids: Sequence[str]) -> Mapping[str, Seen]:
        self.looks += 1
        await self._call("Describe")
        settled = self.clock.now() - CHANGE
        return {name: Seen("Normal" if self.sent.get(name, settled) <= settled else "Changing") for name in ids}

    async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:  # noqa: ARG002  as Hands has it
        with self.watcher.coming():
            await self._call("Modify", before)
        self.sent[row.instance_id] = self.clock.now()
        return "request"

    async def look(self, instance_id: str, *, after: float = 0.0, sending: bool = False) -> Seen | None:
        return await self.watcher.look(instance_id, after=after, sending=sending)

    async def read_back(self, row: PlannedRow, sight: Sight) -> Values:  # noqa: ARG002  as Hands has it
        return row.after if row.instance_id in self.sent else row.before


def a_row(seq: int, lane: Lane) -> PlannedRow:
    return PlannedRow(
        seq=seq,
        account="default",
        account_id=lane.account_id,
        region=lane.region,
        instance_id=f"r-{seq}",
        instance_name="old",
        login=f"r-{seq}",
        kind=Kind.ATTRIBUTES,
        wave=1,
        before={"name": "old"},
        after={"name": "new"},
    )


async def played(lanes: Sequence[Lane], each: int, observed_at: float) -> list[Service]:
    loop = asyncio.get_running_loop()
    clock = Clock(now=loop.time, wall=lambda: NOW + loop.time(), dice=lambda: 0.5)
    halt, slots = Halt(), asyncio.Semaphore(64)
    services = {
        lane: Service(
            Pacing(lambda _: RATE, slots=slots, halt=halt, writes=frozenset({"Modify"}), clock=clock), halt, clock
        )
        for lane in lanes
    }
    rows = [a_row(at * each + number, lane) for at, lane in enumerate(lanes) for number in range(each)]
    journal = MemoryJournal()
    await journal.open_run(a_run("a"), rows)
    context = Context(
        run_id="a",
        hands=services,
        ledger=journal,
        vault=None,
        prover=None,
        new_password=lambda: Secret("none"),
        level=Proof.SETTLED,
        limits=LIMITS,
        budget=Budget(None),
        changing=Budget(None),
        accounts=Accounts(),
        leftovers={},
        halt=halt,
        clock=clock,
        notify=lambda _: None,
        ended=lambda *_: False,
        trouble=lambda error: pytest.fail(str(error)),
        observed_at=observed_at,
    )
    await run_all(context, first_states(rows), ahead=64, watchers=[each.watcher.run for each in services.values()])
    assert {state.phase for _, state in journal.states("a")} == {Phase.CHANGED}
    return list(services.values())


@pytest.mark.parametrize("age", [0.0, 1000.0], ids=["fresh", "old"])
@pytest.mark.parametrize("lanes", [1, 16])
def test_every_lane_uses_its_quota(lanes: int, age: float) -> None:
    """However many there are, and whether or not each row is looked at before it is sent; looks are few."""
    names = [Lane("1", f"cn-{number}") for number in range(lanes)]
    for service in run_skipping(played(names, 150, NOW - age)):
        sent = sorted(service.sent.values())
        assert (len(sent) - 1) / (sent[-1] - sent[0]) >= 0.96 * RATE.per_second
        assert service.looks <= (0.10 if age == 0 else 0.16) * len(sent)
