"""What follows from the stages of an instance and from who logs in: every line of the table, by value alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.reconciling import (
    CANNOT_TELL,
    NOT_LIVE,
    Conclusion,
    Tried,
    in_order,
    reconciled,
    untried,
    verified,
)
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Generation, InstanceKey, Stage

KEY = InstanceKey(account_id="1", region="cn-hangzhou", instance_id="r-1")
STAGES = {"p": Stage.PENDING, "c": Stage.CURRENT, "o": Stage.PREVIOUS, "x": Stage.CANDIDATE}
STORED_AT, LANDS_FOR = 1000.0, 60.0
IN_FENCE, AFTER = STORED_AT + LANDS_FOR - 1, STORED_AT + LANDS_FOR
ALONE = "generation 1 is refused, and nothing else is stored"
UNTIL = "fence until 1970-01-01T00:17:40Z"
ROW = PlannedRow(
    seq=0,
    account="default",
    account_id="1",
    region="cn-hangzhou",
    instance_id="r-1",
    instance_name=None,
    login="r-1",
    kind=Kind.PASSWORD,
    wave=None,
    before={},
    after={},
)


def stored(letters: str) -> tuple[Generation, ...]:
    """Generations 1, 2, … at the stages that the letters mean."""
    return tuple(
        Generation(
            key=KEY,
            generation=number,
            stage=STAGES[letter],
            login="r-1",
            run_id=f"run-{number}",
            created_at=STORED_AT,
            updated_at=STORED_AT,
        )
        for number, letter in enumerate(letters, 1)
    )


def tried(stages: tuple[Generation, ...], live: int) -> Tried:
    return Tried(live=stages[live - 1] if live else None)


@pytest.mark.parametrize(
    ("letters", "live", "status", "phase", "code", "detail"),
    [
        ("xoc", 3, None, Phase.UNCHANGED, None, "generation 3 is live"),
        ("ocp", 2, "Restarting", Phase.UNCHANGED, None, "generation 2 is live"),
        ("ocp", 3, None, Phase.FAILED, NOT_LIVE, "generation 3 (pending) is live: resume run run-3, or reconcile"),
        (
            "oc",
            1,
            None,
            Phase.FAILED,
            NOT_LIVE,
            "generation 1 (previous) is live: reconcile makes it current, or rotate again",
        ),
        (
            "xx",
            2,
            None,
            Phase.FAILED,
            NOT_LIVE,
            "generation 2 (candidate) is live: reconcile makes it current, or rotate again",
        ),
        ("c", 0, None, Phase.FAILED, NOT_LIVE, ALONE),
        ("oc", 0, None, Phase.FAILED, NOT_LIVE, "none of the 2 stored passwords logs in"),
        (
            "oc",
            0,
            "Changing",
            Phase.UNRESOLVED,
            CANNOT_TELL,
            "none of the 2 stored passwords logs in, but the instance is Changing: again when it is Normal",
        ),
        (
            "p",
            0,
            None,
            Phase.UNRESOLVED,
            CANNOT_TELL,
            f"no current password is stored, and {ALONE}",
        ),
    ],
)
def test_verify(letters: str, live: int, status: str | None, phase: Phase, code: str | None, detail: str) -> None:
    """Live is what logs in; what is refused while the instance is busy may be right in a moment."""
    stages = stored(letters)
    found = verified(stages, tried(stages, live), status=status)
    assert (found.phase, found.code, found.detail) == (phase, code, detail)
    assert found.proved == (phase is Phase.UNCHANGED)


@pytest.mark.parametrize(
    ("letters", "live", "now", "phase", "current", "candidate", "detail"),
    [
        ("ocp", 3, IN_FENCE, Phase.CHANGED, 3, None, "generation 3 (pending) is live: current now"),
        ("p", 1, AFTER, Phase.CHANGED, 1, None, "generation 1 (pending) is live: current now"),
        ("oc", 2, AFTER, Phase.UNCHANGED, None, None, "generation 2 is live"),
        ("oc", 1, AFTER, Phase.CHANGED, 1, None, "generation 1 (previous) is live: current now"),
        ("xx", 1, AFTER, Phase.CHANGED, 1, None, "generation 1 (candidate) is live: current now"),
        (
            "cp",
            1,
            AFTER,
            Phase.CHANGED,
            None,
            2,
            "generation 1 is live; generation 2 (pending) is not, and is a candidate now",
        ),
        (
            "ocp",
            1,
            AFTER,
            Phase.CHANGED,
            1,
            3,
            "generation 1 (previous) is live: current now; generation 3 (pending) is not, and is a candidate now",
        ),
        (
            "cp",
            1,
            IN_FENCE,
            Phase.UNRESOLVED,
            None,
            None,
            f"generation 1 is live; generation 2 (pending) may still land, {UNTIL}: reconcile again then",
        ),
        ("oc", 0, AFTER, Phase.UNRESOLVED, None, None, "none of the 2 stored passwords logs in"),
        (
            "p",
            0,
            IN_FENCE,
            Phase.UNRESOLVED,
            None,
            None,
            f"{ALONE}; generation 1 (pending) may still land, {UNTIL}: reconcile again then",
        ),
        (
            "cp",
            0,
            AFTER,
            Phase.UNRESOLVED,
            None,
            2,
            "none of the 2 stored passwords logs in; generation 2 (pending) is a candidate now: a run can set another",
        ),
    ],
)
def test_reconcile(
    letters: str, live: int, now: float, phase: Phase, current: int | None, candidate: int | None, detail: str
) -> None:
    """What is live becomes current; what may still land stays pending; the rest is named."""
    stages = stored(letters)
    found = reconciled(stages, tried(stages, live), status=None, now=now, lands_for=LANDS_FOR)
    assert (found.phase, moved(found.current), moved(found.candidate), found.detail) == (
        phase,
        current,
        candidate,
        detail,
    )


def moved(one: Generation | None) -> int | None:
    return one.generation if one else None


@pytest.mark.parametrize(("letters", "live"), [("cp", 2), ("cp", 1), ("oc", 1), ("oc", 0)])
def test_only_a_normal_instance_is_reconciled(letters: str, live: int) -> None:
    """On any other a change may be under way."""
    stages = stored(letters)
    found = reconciled(stages, tried(stages, live), status="Changing", now=AFTER, lands_for=LANDS_FOR)
    assert found == Conclusion(
        phase=Phase.UNRESOLVED,
        code=CANNOT_TELL,
        detail="the instance is Changing: again when it is Normal",
        about=next(one for one in stages if one.stage is Stage.CURRENT),
    )


@given(
    letters=st.sampled_from(["c", "p", "cp", "oc", "ocp", "xocp", "xx", "xp", "xoc"]),
    live=st.integers(0, 4),
    now=st.sampled_from([IN_FENCE, AFTER]),
    status=st.sampled_from([None, "Changing"]),
)
def test_nothing_that_may_be_live_is_moved_away(letters: str, live: int, now: float, status: str | None) -> None:
    """Only what logged in is made current, only what neither logged in nor may land stops being pending; cannot-tell
    moves nothing.
    """
    stages = stored(letters)
    who = tried(stages, min(live, len(stages)))
    found = reconciled(stages, who, status=status, now=now, lands_for=LANDS_FOR)
    assert found.current in {None, who.live}
    assert found.candidate is None or (found.candidate is not who.live and now >= AFTER and status is None)
    blind = Tried(reason="no route")
    for said in (
        verified(stages, blind, status=status),
        reconciled(stages, blind, status=status, now=now, lands_for=LANDS_FOR),
    ):
        assert (said.phase, said.code, said.detail) == (Phase.UNRESOLVED, CANNOT_TELL, "no route")
        assert (said.current, said.candidate, said.proved) == (None, None, False)


def test_they_are_tried_from_the_likeliest_on() -> None:
    """Pending, current, previous, candidates, youngest first; or the current one before all."""
    stages = stored("xxocp")
    assert [one.generation for one in in_order(stages, first=Stage.PENDING)] == [5, 4, 3, 2, 1]
    assert [one.generation for one in in_order(stages, first=Stage.CURRENT)] == [4, 5, 3, 2, 1]


@pytest.mark.parametrize(
    ("verdict", "code", "letters", "phase"),
    [
        (Phase.FAILED, "InvalidInstanceId.NotFound", "c", Phase.FAILED),
        (Phase.FAILED, "Forbidden.RAM", "c", Phase.UNRESOLVED),
        (Phase.NOT_STARTED, "NoCredentials", "c", Phase.NOT_STARTED),
        (Phase.SKIPPED, None, "c", Phase.UNRESOLVED),
        (Phase.SKIPPED, "NoPlace", "", Phase.UNRESOLVED),
        (Phase.SKIPPED, None, "", Phase.SKIPPED),
        (Phase.PLANNED, None, "", Phase.SKIPPED),
        (Phase.PLANNED, None, "c", None),
    ],
)
def test_what_is_known_without_a_login(verdict: Phase, code: str | None, letters: str, phase: Phase | None) -> None:
    """An instance that is gone, cannot be read or has nothing stored is not logged in to."""
    found = untried(replace(ROW, verdict=verdict, error_code=code), stored(letters))
    assert (found.phase if found else None) == phase
