"""Which passwords are left alone, by what is known of their age."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.ages import youth
from batchmod.model.secret import Generation, InstanceKey, Stage

DAY = 86_400.0
NOW = 1_800_000_000.0
KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
ONE = Generation(
    key=KEY, generation=1, stage=Stage.CURRENT, login="r-1", run_id="a", created_at=NOW - DAY, updated_at=NOW
)


def told(*stages: Generation, max_age: float = 3 * DAY, began: float | None = None) -> str | None:
    """What is said; each was made by a process that began with it, or at `began`."""
    return youth(stages, began=lambda one: one.created_at if began is None else began, now=NOW, max_age=max_age)


def test_a_young_password_is_left_alone_and_the_reason_says_how_young() -> None:
    """In words that a person reads in the report."""
    assert told(replace(ONE, created_at=NOW - DAY - 7380)) == "rotated 1d 2h ago; max_age 3d"
    assert told(ONE, began=NOW) == "rotated 0s ago; max_age 3d"


@pytest.mark.parametrize(
    "stages",
    [
        (),
        (replace(ONE, stage=Stage.PENDING),),
        (replace(ONE, stage=Stage.CANDIDATE),),
        (ONE, replace(ONE, generation=2, stage=Stage.PENDING)),
        (ONE, replace(ONE, generation=2, stage=Stage.CANDIDATE)),
        (replace(ONE, stage=Stage.PREVIOUS),),
    ],
)
def test_what_may_not_be_live_is_no_young_password(stages: tuple[Generation, ...]) -> None:
    """None is stored, or a younger one than the proved one may be what the instance has: due."""
    assert told(*stages) is None


def test_the_youngest_counts_and_not_the_others() -> None:
    """Candidates and a previous one below it say nothing."""
    old = replace(ONE, stage=Stage.CANDIDATE, created_at=NOW - 99 * DAY)
    assert told(old, replace(ONE, generation=2)) is not None
    assert told(replace(ONE, stage=Stage.PREVIOUS), replace(ONE, generation=2, created_at=NOW - 99 * DAY)) is None


def test_an_age_that_nobody_knows_is_due() -> None:
    """So is one from the future, beyond what two clocks that a run accepts may differ by."""
    assert youth((ONE,), began=lambda _: None, now=NOW, max_age=3 * DAY) is None
    assert told(ONE, began=NOW + 119) == "rotated 0s ago; max_age 3d"
    assert told(ONE, began=NOW + 121) is None


@given(
    jitters=st.lists(st.floats(-29.0, 29.0), min_size=30, max_size=30),
    takes=st.floats(0.0, 3 * 3600.0),
    nights=st.integers(1, 5),
)
def test_a_nightly_job_rotates_every_nth_night(jitters: list[float], takes: float, nights: int) -> None:
    """Whatever the run took and however the scheduler trembles, by less than half a minute: it never drifts."""
    rotated: list[int] = []
    began = None
    for night, jitter in enumerate(jitters):
        now = night * DAY + jitter
        one = replace(ONE, created_at=(began or 0.0) + takes)
        stages = () if began is None else (one,)
        if youth(stages, began=lambda _, at=began: at, now=now, max_age=nights * DAY) is None:  # type: ignore[misc]
            rotated.append(night)
            began = now
    assert rotated == list(range(0, len(jitters), nights))


@given(max_age=st.floats(1.0, 1e8), age=st.floats(0.0, 1e8))
def test_nothing_is_due_long_before_its_age(max_age: float, age: float) -> None:
    """At most a minute and at most a hundredth of it."""
    if told(ONE, max_age=max_age, began=NOW - age) is None:
        assert age >= max_age - 60.001
        assert age >= max_age * 0.99 - 0.001
    else:
        assert age < max_age
