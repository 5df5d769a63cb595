"""The schedules that have a name: what each peer gets wrong, and what was once wrong here."""

from pathlib import Path

import pytest
from breaking_play import World, play
from breaking_rules import broken_rules
from breaking_schedule import LEVELS, MINUTE, Act, Broken, Life, Port, Schedule, Task, drawn, failing
from breaking_time import run_skipping

from batchmod.model.events import Kind, Outcome, Proof
from batchmod.sim.scenario import Fault, FaultKind

RESET_AFTER = Fault(kind=FaultKind.RESET_AFTER)
RESET_BEFORE = Fault(kind=FaultKind.RESET_BEFORE, landed=False)
REFUSE = Fault(kind=FaultKind.REFUSE, code="Some.NewRefusal")
TASK_EXISTS = Fault(kind=FaultKind.TASK_EXISTS)
LATE = Fault(kind=FaultKind.LATE, landed=False, seconds=5 * MINUTE)


def played(folder: Path, *faults: Fault, tasks: tuple[Task, ...] = (Task.PASSWORD,), **more: object) -> World:
    """The world after a schedule of one instance that broke no rule."""
    schedule = Schedule(name="named", tasks=tasks, faults=((0, faults),), **more)  # type: ignore[arg-type]  # by name
    world = run_skipping(play(schedule, folder))
    assert broken_rules(world) == []
    return world


def outcomes(world: World) -> list[list[str]]:
    return [[state.outcome.value for _, state in rows] for rows in world.states().values()]


@pytest.mark.parametrize("level", LEVELS)
def test_lost_but_landed_then_refused_is_never_failed(tmp_path: Path, level: Proof) -> None:
    """A refusal settles its own attempt; the first one is settled by proof or not at all."""
    world = played(tmp_path, RESET_AFTER, *[REFUSE] * 9, level=level)
    expected = Outcome.CHANGED if level is Proof.LOGIN else Outcome.UNRESOLVED
    assert outcomes(world) == [[expected]]


@pytest.mark.parametrize("level", LEVELS)
def test_somebody_elses_task_after_a_lost_call_is_no_proof(tmp_path: Path, level: Proof) -> None:
    """The value is not promoted before it was sent again and taken; (f) of the rules has looked at each promotion."""
    world = played(tmp_path, RESET_BEFORE, TASK_EXISTS, TASK_EXISTS, level=level)
    assert outcomes(world) == [[Outcome.CHANGED]]
    assert [each.answered for each in world.sent] == [False, True, True, True]
    assert list(world.stages.values()) == ["current"]


@pytest.mark.parametrize("task", [Task.NAME, Task.CHOSEN])
def test_a_copy_that_may_still_land_fences_what_was_proved_too(tmp_path: Path, task: Task) -> None:
    """Attempt one is on its way, attempt two was taken and proved: another value is not sent until one cannot land."""
    lives = (Life(), Life(act=Act.ANEW, pause=MINUTE), Life(act=Act.ANEW, pause=17 * MINUTE))
    world = played(tmp_path, LATE, tasks=(task,), lives=lives)
    assert outcomes(world) == [[Outcome.CHANGED], [Outcome.SKIPPED], [Outcome.CHANGED]]


def test_a_jump_of_the_clock_does_not_shorten_the_fence(tmp_path: Path) -> None:
    """The wall clock is set fourteen minutes ahead while TDE is in doubt: it is not sent again."""
    world = played(tmp_path, LATE, tasks=(Task.TDE,), lives=(Life(jump=(14, 14 * MINUTE)),))
    assert outcomes(world) == [[Outcome.CHANGED]]
    assert len([each for each in world.sent if each.kind is Kind.TDE]) == 1


def test_a_clock_that_is_set_back_does_not_make_an_older_attempt_older(tmp_path: Path) -> None:
    """Found by seed 5324: attempt one may land for 15 minutes, attempt two was dated before it and refused for that."""
    world = run_skipping(play(drawn("5324"), tmp_path))
    assert broken_rules(world) == []


@pytest.mark.parametrize("crash", range(1, 31))
def test_a_run_that_is_given_up_by_a_process_that_dies_has_its_report(tmp_path: Path, crash: int) -> None:
    """Wherever abandon is killed, the next process writes what is missing: the rules read that report."""
    lives = (Life(crash=14), Life(act=Act.ABANDON, crash=crash))
    world = played(tmp_path, RESET_AFTER, tasks=(Task.PASSWORD, Task.TDE), lives=lives)
    assert not world.unfinished()


@pytest.mark.parametrize("landed", [False, True])
def test_a_store_that_is_lost_before_the_escrow_stops_all_sends(tmp_path: Path, landed: bool) -> None:
    """Nothing was sent by that process; the next one, with the store back, changes it."""
    broken = Broken(port=Port.ESCROW, nth=1, landed=landed)
    world = played(tmp_path, lives=(Life(broken=broken), Life(pause=100.0)))
    assert outcomes(world) == [[Outcome.CHANGED]]
    assert [each.at > 100 for each in world.sent] == [True]


@pytest.mark.parametrize("landed", [False, True])
def test_a_store_that_is_lost_before_the_promotion_loses_nothing(tmp_path: Path, landed: bool) -> None:
    """The value is live and pending; the next process makes it current."""
    broken = Broken(port=Port.PROMOTE, nth=1, landed=landed)
    world = played(tmp_path, lives=(Life(broken=broken), Life()))
    assert outcomes(world) == [[Outcome.CHANGED]]
    assert list(world.stages.values()) == ["current"]


def test_a_leftover_that_turns_out_to_be_live_is_promoted_by_the_next_run(tmp_path: Path) -> None:
    """Killed with its call landed, given up while no login could tell: the run after the fence proves it first."""
    lives = (Life(crash=14), Life(act=Act.ABANDON, blind=1_000_000), Life(pause=17 * MINUTE))
    world = played(tmp_path, lives=lives)
    assert outcomes(world) == [[Outcome.UNRESOLVED], [Outcome.CHANGED]]
    assert [world.stages[place] for place in sorted(world.stages)] == ["previous", "current"]


def test_what_holds_a_slot_is_driven_before_what_waits_for_it(tmp_path: Path) -> None:
    """Found by failing8: as many rows as there are connections waited for the slot of a row that stood behind them."""
    world = run_skipping(play(failing("8"), tmp_path))
    assert broken_rules(world) == []


def test_a_window_that_is_too_short_for_the_fleet(tmp_path: Path) -> None:
    """It closes in mid-run and opens again the next day: each row is sent once, none outside, and all are changed."""
    schedule = Schedule(
        name="named", instances=12, seconds=100.0, changing=1, window=("05:00", "05:20"), lives=(Life(),)
    )
    world = run_skipping(play(schedule, tmp_path))
    assert broken_rules(world) == []
    assert outcomes(world) == [[Outcome.CHANGED] * 12]
    assert len({each.instance for each in world.sent}) == len(world.sent) == 12
    assert {round(each.at // 86_400) for each in world.sent} == {0, 1}
