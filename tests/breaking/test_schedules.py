"""Everything that can go wrong at every moment, and whether the three promises hold. One line at the end counts them.

`SOAK=n` in the environment plays n times as many; a failure prints the one line that plays its schedule alone.
"""

import itertools
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from breaking_kms import KMS, kms_world
from breaking_play import World, make_world, play
from breaking_rules import broken_rules
from breaking_schedule import Schedule, drawn, failing, killed, named, singles, windowed
from breaking_time import run_skipping
from schedule_tally import Record, book
from soaking import FACTOR

BATCHES = 12
LONGEST = 60  # boundaries of one process: what comes after them looks at the instance again and again
DRAWN = 48 * FACTOR
FAILING = 18 * FACTOR
WINDOWED = 16 * FACTOR
STRIDE = max(1, 151 // FACTOR)  # of the schedules that kill one instance's process at each boundary, one in so many


class Round:
    """Schedules that are played one after the other, and what came of them."""

    def __init__(self, folder: Path, made: Callable[[Schedule, Path], World] = make_world, prefix: str = "") -> None:
        """`prefix`: before a schedule's name, it is played in a world that is made so."""
        self._folder = folder
        self._made, self._prefix = made, prefix
        self._played = self._crashes = self._lost = self._mis_stated = 0
        self._broken: list[str] = []

    def play(self, schedule: Schedule) -> World:
        with TemporaryDirectory(dir=self._folder) as place:
            world = run_skipping(play(schedule, Path(place), self._made))
            problems = broken_rules(world)
        self._played += 1
        self._crashes += world.crashes
        self._lost += any(problem.startswith("nothing_is_lost") for problem in problems)
        self._mis_stated += any(not problem.startswith("nothing_is_lost") for problem in problems)
        again = f".venv/bin/python tests/breaking/replay.py {self._prefix}{schedule.name}"
        self._broken += [f"{again}: {problem}" for problem in problems[:3]]
        return world

    def finish(self, record: Record) -> None:
        """Fails with every schedule that broke a rule, and how to play it alone."""
        book(record, played=self._played, crashes=self._crashes, lost=self._lost, mis_stated=self._mis_stated)
        assert not self._broken, "\n".join(self._broken[:20])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fleets_by_the_dice(batch: int, tmp_path: Path, record_property: Record) -> None:
    """Faults, crashes, signals, full disks, jumps of the clock, other people and other runs, as the seed has it."""
    batch_of = Round(tmp_path)
    for seed in range(batch, DRAWN, BATCHES):
        batch_of.play(drawn(str(seed)))
    batch_of.finish(record_property)


@pytest.mark.parametrize("batch", range(BATCHES // 2))
def test_budgets_hold_in_every_wave_and_over_resumes(batch: int, tmp_path: Path, record_property: Record) -> None:
    """Fleets that fail a lot, at any concurrency: never one row too many, and never a wait for nothing."""
    batch_of = Round(tmp_path)
    for seed in range(batch, FAILING, BATCHES // 2):
        batch_of.play(failing(str(seed)))
    batch_of.finish(record_property)


@pytest.mark.parametrize("batch", range(2))
def test_a_window_that_closes_and_opens_again(batch: int, tmp_path: Path, record_property: Record) -> None:
    """Nothing is sent outside of it, and all is done in the end, by whichever nights it takes."""
    batch_of = Round(tmp_path)
    for seed in range(batch, WINDOWED, 2):
        batch_of.play(windowed(str(seed)))
    batch_of.finish(record_property)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_one_instance_with_every_fault_killed_at_every_boundary(
    batch: int, tmp_path: Path, record_property: Record
) -> None:
    """Each kind of change at each level of proof, each fault of the first call; then the same killed before and after
    each write and request, and gone on with at once, after the fence, or with a run of other values.
    """
    batch_of = Round(tmp_path)
    for single in itertools.islice(singles(), batch, None, BATCHES):
        boundaries = batch_of.play(single).boundaries[0]
        first = zlib.crc32(single.name.encode()) % STRIDE
        for schedule in itertools.islice(killed(single, min(boundaries, LONGEST)), first, None, STRIDE):
            batch_of.play(schedule)
    batch_of.finish(record_property)


ON_KMS = (
    *("0", "7", "9", "13", "22", "25", "56", "30", "35", "38", "49", "52", "55", "61", "failing6", "failing12"),
    "password/login/reset_after+0/14/go5",
    "password/login/ok+0/45/go5",
    "password/settled/ok+0/30/anew1020",
    "password/settled/late-90/60/go1200",
)


@pytest.mark.parametrize("batch", range(4))
def test_the_same_with_the_passwords_in_kms(batch: int, tmp_path: Path, record_property: Record) -> None:
    """Every call of the store is a boundary too, and its replies are lost, refused and late like all others."""
    batch_of = Round(tmp_path, kms_world, KMS)
    for name in ON_KMS[batch::4]:
        world = batch_of.play(named(name))
        assert any(record.api == "PutSecretValue" for record in world.cloud.calls), f"{name} keeps no password"
    batch_of.finish(record_property)


@pytest.mark.parametrize("name", ["3", "password/login/late-90/12/anew5"])
def test_a_schedule_plays_the_same_twice(name: str, tmp_path: Path) -> None:
    """The name is all that is needed to see it again: the same steps at the same times."""
    told = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        world = run_skipping(play(named(name), tmp_path / place))
        states = [
            (run, row.instance_id, row.kind, state.phase, state.attempts, state.finished_at)
            for run, rows in world.states().items()
            for row, state in rows
        ]
        told.append((states, [(each.at, each.instance, each.answered) for each in world.sent], world.boundaries))
    assert told[0] == told[1]
