"""The same schedules with the passwords on a real OpenBao server: what its store adds must not lose or guess anything."""

import itertools
from pathlib import Path

import pytest
from bao_server import BaoServer
from bao_support import opened
from breaking_play import World, make_world
from breaking_process import Process
from breaking_schedule import Schedule, Task, drawn, killed, singles
from schedule_tally import Record
from test_schedules import Round

from batchmod.secrets.store import SecretStore

BATCHES = 2
CRASHES = 14  # of one instance, each with another fault, level and boundary
FLEETS = 6
STRIDE = 10  # of the 140 shapes and faults with a password


def with_passwords() -> list[Schedule]:
    """Twenty: one instance killed at boundaries that lie apart, and fleets as the dice have them."""
    asks = {Task.PASSWORD, Task.CHOSEN}
    crashed = [
        next(itertools.islice(killed(single, 16), 7 * number % 64, None))
        for number, single in enumerate(each for each in singles() if asks & set(each.tasks))
        if number % STRIDE == 3
    ]
    fleets = (drawn(str(seed)) for seed in itertools.count())
    drawn_ones = (each for each in fleets if asks & set(each.tasks) and any(life.crash for life in each.lives))
    return crashed + list(itertools.islice(drawn_ones, FLEETS))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_schedules_on_openbao(batch: int, bao: BaoServer, tmp_path: Path, record_property: Record) -> None:
    """Nothing is lost, nothing mis-stated."""

    async def open_store(world: World, process: Process) -> SecretStore:
        return await opened(bao, f"{tmp_path.name}-{world.folder.name}", clock=process.wall)

    def made(schedule: Schedule, folder: Path) -> World:
        world = make_world(schedule, folder)
        world.opens = open_store
        return world

    schedules = with_passwords()
    assert len(schedules) == CRASHES + FLEETS
    batch_of = Round(tmp_path, made)
    for schedule in schedules[batch::BATCHES]:
        batch_of.play(schedule)
    batch_of.finish(record_property)
