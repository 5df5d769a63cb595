"""The table of a row's life keeps the rules that make a change safe."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.machine import TABLE, IllegalStepError, Seen, diagram, resume_phase, step
from batchmod.model.events import NO_DOUBT, TERMINAL, Phase

SENDING = {Phase.ARMED, Phase.REARMED}


def reachable(start: Phase) -> set[Phase]:
    found, todo = {start}, [start]
    while todo:
        todo += [after for after in TABLE[todo.pop()].values() if after not in found and not found.add(after)]  # type: ignore[func-returns-value]  # add and go on
    return found


def test_every_phase_has_its_line_and_terminal_ones_have_no_exit() -> None:
    """The table is whole."""
    assert set(TABLE) == set(Phase) - {Phase.PROVING}
    assert {phase for phase, moves in TABLE.items() if not moves} == TERMINAL


@pytest.mark.parametrize("phase", sorted(set(TABLE) - TERMINAL))
def test_from_every_phase_an_end_is_reachable(phase: Phase) -> None:
    """No row can be caught for ever."""
    assert reachable(phase) & TERMINAL


def test_nothing_in_doubt_is_sent_again_without_a_look_that_clears_it() -> None:
    """The only way from doubt to a send is CLEARED, and it leads to REARMED, which remembers the doubt.

    A refused request that is said again stays in its phase: nothing was in doubt about it.
    """
    for phase, (seen, after) in ((phase, move) for phase, moves in TABLE.items() for move in moves.items()):
        if seen is Seen.SAID_AGAIN:
            assert phase is after
        elif after in SENDING and phase not in NO_DOUBT:
            assert (phase, seen, after) == (Phase.IN_DOUBT, Seen.CLEARED, Phase.REARMED)


def test_what_was_ever_in_doubt_or_accepted_fails_only_when_denied() -> None:
    """A refusal settles only its own attempt: after doubt, FAILED needs the old value read back."""
    for phase in reachable(Phase.IN_DOUBT) | reachable(Phase.SETTLING):
        for seen, after in TABLE[phase].items():
            if after is Phase.FAILED:
                assert seen is Seen.DENIED
    assert not reachable(Phase.IN_DOUBT) & NO_DOUBT
    assert Phase.NOT_STARTED not in reachable(Phase.IN_DOUBT)


def test_changed_is_reached_by_proof_and_promotion_only() -> None:
    """Nothing but a value that was read back, or PROVED then PROMOTED, leads to CHANGED."""
    into = {(phase, seen) for phase, moves in TABLE.items() for seen, after in moves.items() if after is Phase.CHANGED}
    looked = {Phase.IN_DOUBT, Phase.WATCHING, Phase.SETTLING}
    assert into == {(Phase.PROVED, Seen.PROMOTED), *((phase, Seen.READ_BACK) for phase in looked)}
    proved = {seen for moves in TABLE.values() for seen, after in moves.items() if after is Phase.PROVED}
    assert proved == {Seen.PROVED}


@given(st.lists(st.sampled_from(Seen), max_size=40))
def test_any_story_keeps_to_the_table(story: list[Seen]) -> None:
    """An illegal step is a loud bug and changes nothing; a crash in any phase resumes in a phase that can go on."""
    phase = Phase.PLANNED
    doubted = False
    for seen in story:
        if seen not in TABLE[phase]:
            with pytest.raises(IllegalStepError):
                step(phase, seen)
            continue
        phase = step(phase, seen)
        doubted = doubted or phase is Phase.IN_DOUBT
        assert not (doubted and phase in NO_DOUBT)
        assert resume_phase(phase) not in SENDING
        assert resume_phase(resume_phase(phase)) is resume_phase(phase)


def test_armed_without_an_outcome_is_in_doubt_after_a_crash() -> None:
    """Never "not sent"."""
    assert resume_phase(Phase.ARMED) is resume_phase(Phase.REARMED) is Phase.IN_DOUBT


def test_a_proof_that_an_older_version_was_making_is_made_anew() -> None:
    """Its journal is taken up."""
    assert resume_phase(Phase.PROVING) is Phase.SETTLING


def test_the_diagram_shows_every_move() -> None:
    """What the README draws is the table."""
    drawn = diagram()
    for phase, moves in TABLE.items():
        for seen, after in moves.items():
            line = next(
                line
                for line in drawn.splitlines()
                if line.strip().startswith(f"{phase.value.replace(' ', '_')} --> {after.value.replace(' ', '_')}:")
            )
            assert seen.value in line
    assert len([*product(TERMINAL)]) == drawn.count("--> [*]")
