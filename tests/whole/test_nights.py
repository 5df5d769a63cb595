"""A cron line that rotates what is due, night after night, on a clock that is moved; nobody watches."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whole_support import Bench, Result, bench

from batchmod.model.secret import Generation, Stage
from batchmod.secrets.embedded import EmbeddedStore

MODIFY = "ModifyInstanceAttribute"
DAY = 86_400.0
TWO_O_CLOCK = 1_900_000_800.0
NIGHTS = 3  # max_age
JITTER = (20.0, -10.0, 5.0, -20.0, 0.0, 25.0, -25.0)  # seconds that each night's job begins late, or early
ROTATE = {"password": {"generate": {"length": 24}, "max_age": f"{NIGHTS}d"}}
RETRY = {"attempts": 1, "max_delay": "200ms", "fence": "2s", "settle_timeout": "3s", "busy_timeout": "5s"}
PRELUDE = """
import sys, time
ahead, real = float(sys.argv.pop(1)), time.time
time.time = lambda: real() + ahead
from batchmod.cli import main
sys.exit(main(sys.argv[1:]))
"""
LATE, NEVER = "r-sim000000", "r-sim000002"  # on the first night: in doubt, and applied after it; in doubt, and never
FAULTS: Mapping[str, Any] = {
    "scripts": [
        {"api": MODIFY, "match": LATE, "play": [{"fault": "late", "seconds": 30}]},
        {"api": MODIFY, "match": NEVER, "play": ["reset_before"]},
        # The other six of the first night, one of the second; then three that the fourth night dies of.
        {
            "api": MODIFY,
            "play": [
                {"fault": "ok", "times": 7},
                {"fault": "hang", "seconds": 60},
                {"fault": "hang", "seconds": 60, "landed": False},
                {"fault": "hang", "seconds": 60},
            ],
        },
    ]
}


@dataclass
class Nights:
    """What a clock shows on whichever night it is, and from then on as time goes by."""

    ahead: float = field(default_factory=lambda: TWO_O_CLOCK - time.time())

    def clock(self) -> float:
        return time.time() + self.ahead

    def begin(self, night: int) -> None:
        self.ahead = TWO_O_CLOCK + night * DAY + JITTER[night] - time.time()


async def stored(folder: Path) -> dict[str, list[tuple[Generation, str]]]:
    """The generations of each instance, oldest first, with their passwords."""
    store = EmbeddedStore.open(folder / ".batchmod", environ=os.environ, say=lambda _: None, create=False)
    try:
        found: dict[str, list[tuple[Generation, str]]] = {}
        for one in await store.all():
            secret = await store.reveal(one.key, one.generation)
            found.setdefault(one.key.instance_id, []).append((one, secret.reveal()))
    finally:
        await store.close()
    return found


def counted(known: Mapping[str, list[tuple[Generation, str]]]) -> dict[str, int]:
    return {name: len(generations) for name, generations in known.items()}


@dataclass
class Oracle:
    """On which night each instance is due, from what happened to it, and from nothing that batchmod says of ages."""

    since: dict[str, int | None]  # the night of the process that escrowed its live password; None: nobody knows

    def due(self, night: int) -> set[str]:
        return {name for name, at in self.since.items() if at is None or night - at >= NIGHTS}


@dataclass
class Play:
    bench: Bench
    nights: Nights
    oracle: Oracle
    manifest: Path

    async def start(self, night: int) -> Any:
        self.nights.begin(night)
        arguments = ("run", str(self.manifest), "--resume", "--yes", "--quiet")
        return await self.bench.start_program(PRELUDE, str(self.nights.ahead), *arguments)

    async def night(self, night: int) -> Result:
        process = await self.start(night)
        out, err = await process.communicate()
        return Result(process.returncode, out.decode(), err.decode())

    def rotated(self) -> set[str]:
        """By the newest report."""
        return {row["instance_id"] for row in self.bench.report()["rows"] if row["outcome"] == "changed"}

    async def ordinary(self, number: int) -> None:
        """Exactly what is due is rotated, once; all that is live is current; one line says so."""
        due, before = self.oracle.due(number), counted(await stored(self.bench.folder))
        result = await self.night(number)
        assert result.code == 0, result.err
        assert (result.out, result.err.count("\n")) == ("", 1), result.err
        after = await stored(self.bench.folder)
        assert self.rotated() == due
        assert {name for name, count in counted(after).items() if count != before.get(name, 0)} == due
        self.oracle.since.update(dict.fromkeys(due, number))
        self.all_current(after)

    def all_current(self, known: Mapping[str, list[tuple[Generation, str]]]) -> None:
        for name in self.oracle.since:
            live = self.bench.sim.cloud.passwords[name]
            assert [one.stage for one, password in known[name] if password == live] == [Stage.CURRENT], name


async def test_seven_nights(tmp_path: Path) -> None:
    """One ends with rows in doubt, one is killed and continued by the next: everything is rotated on the night it is due,
    or on the next where that night continued the killed run; nothing a second time before; each exit code is right.
    """
    nights = Nights()
    async with bench(tmp_path, instances=16, faults=FAULTS, clock=nights.clock) as b:
        targets = b.targets(16)[::2]
        manifest = b.manifest(
            targets=targets,
            changes=[ROTATE],
            proof={"password": "login"},
            retry=RETRY,
            limits={"rate": "3000/1s", "connections": 3},
        )
        play = Play(b, nights, Oracle(dict.fromkeys(one["id"] for one in targets)), manifest)
        await first_night(play)
        await ordinary_after_doubt(play)
        await play.ordinary(2)
        assert play.rotated() == set()
        escrowed = await killed_night(play)
        await continued_night(play, escrowed)
        await play.ordinary(5)
        assert play.rotated() == {NEVER}  # due on the night that continued another's plan
        await play.ordinary(6)
        assert play.rotated() == escrowed


async def first_night(play: Play) -> None:
    """Nothing is known of any instance: all are due. Two stay in doubt, and one of them is applied after the end."""
    b, since = play.bench, play.oracle.since
    result = await play.night(0)
    assert result.code == 4, result.err
    assert b.outcomes() == {"changed": 6, "unresolved": 2}
    assert play.rotated() == {*since} - {LATE, NEVER}
    since.update({name: 0 for name in since if name != NEVER})
    play.nights.ahead += 60
    b.sim.cloud.advance()  # what was late has landed


async def ordinary_after_doubt(play: Play) -> None:
    """The login proves what was late: it is as old as the others and stays. What never landed is rotated anew."""
    await play.ordinary(1)
    assert play.rotated() == {NEVER}
    rows = {row["instance_id"]: row for row in play.bench.report()["rows"]}
    assert rows[LATE]["outcome"] == "unchanged"
    assert rows[LATE]["detail"].startswith("rotated 23h 59m ago; max_age 3d")


async def killed_night(play: Play) -> set[str]:
    """What was escrowed before the kill; seven are due, three at a time."""
    b, due = play.bench, play.oracle.due(3)
    assert due == {*play.oracle.since} - {NEVER}
    before, live = counted(await stored(b.folder)), dict(b.sim.cloud.passwords)
    process = await play.start(3)

    def landed() -> int:
        return sum(password != live[name] for name, password in b.sim.cloud.passwords.items())

    while process.returncode is None and landed() < 2:  # noqa: ASYNC110  the simulator has no event for it
        await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()
    assert process.returncode == -signal.SIGKILL
    after = counted(await stored(b.folder))
    escrowed = {name for name, count in after.items() if count != before[name]}
    assert 2 <= len(escrowed) <= 3
    assert escrowed < due
    play.oracle.since.update(dict.fromkeys(escrowed, 3))
    return escrowed


async def continued_night(play: Play, escrowed: set[str]) -> None:
    """The plan of the killed night is done, and nothing else: what fell due since then is for the next."""
    due = play.oracle.due(4)
    assert NEVER in due
    before = counted(await stored(play.bench.folder))
    result = await play.night(4)
    assert result.code == 0, result.err
    after = await stored(play.bench.folder)
    assert play.rotated() == {*play.oracle.since} - {NEVER}
    assert {name for name, count in counted(after).items() if count != before[name]} == due - {NEVER}
    assert not escrowed & due
    play.oracle.since.update(dict.fromkeys(due - {NEVER}, 4))
    play.all_current(after)
