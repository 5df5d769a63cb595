"""A row is looked at when it can have settled, and seldom before."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import examples

from batchmod.engine.usual import CAP, SOON, Usual, next_glance
from batchmod.model.events import Kind


def looks(usual: Usual, takes: float) -> list[float]:
    """When a row is looked at whose change takes so long, to the look that finds it settled."""
    due = [usual.next_look(Kind.TDE, 0.0, accepted=True)]
    while due[-1] < takes:
        due.append(usual.next_look(Kind.TDE, due[-1], accepted=True))
    usual.settled(Kind.TDE, due[-1])
    return due


@given(st.floats(0.1, 1800.0))
def test_a_change_that_takes_as_long_as_the_others_needs_less_than_two_looks(takes: float) -> None:
    """Once some have settled; and none is noticed much later than it could be."""
    usual = Usual()
    rows = [looks(usual, takes) for _ in range(2000)]
    later = rows[1000:]
    assert sum(map(len, later)) <= 1.5 * len(later)
    assert all(row[-1] <= max(takes * 1.35, takes + SOON) + SOON for row in later)


@examples(20)
@given(st.floats(1.0, 600.0), st.floats(1.0, 600.0))
def test_what_has_become_quicker_or_slower_is_learnt(before: float, now: float) -> None:
    """The cloud may have a bad day."""
    usual = Usual()
    for takes in (before, now):
        for _ in range(10_000):
            last = looks(usual, takes)
    assert len(last) <= 3
    assert last[-1] <= max(now * 1.35, now + SOON) + SOON


def test_of_the_first_rows_nothing_is_known() -> None:
    """Few looks however long it takes: as many rows may be under way as do not settle soon."""
    for takes in (0.4, 3.0, 30.0, 600.0):
        assert len(looks(Usual(), takes)) <= 8 + ceil(takes / CAP)


@given(st.floats(0.0, 900.0))
def test_a_row_in_doubt_is_no_usual_one(due: float) -> None:
    """It is looked at more and more seldom, whatever the others take."""
    usual = Usual()
    for _ in range(100):
        usual.settled(Kind.TDE, 300.0)
    step = usual.next_look(Kind.TDE, due, accepted=False) - due
    assert step == pytest.approx(min(CAP, max(SOON, due / 4)))


@given(st.floats(1.0, 600.0))
def test_quiet_needs_few_looks_and_is_noticed_when_it_is_over(quiet: float) -> None:
    """Five for the usual minute; the last one not before the quiet is long enough."""
    due, count = SOON, 1
    while due < SOON + quiet:
        due = next_glance(due, abnormal=False, quiet=SOON + quiet)
        count += 1
    assert count <= 7
    assert due == pytest.approx(max(SOON + quiet, 2 * SOON), abs=SOON)


def glances(usual: Usual, takes: float) -> list[float]:
    """When a row is looked at that is in change for so long and cannot be read, to the look that finds it settled."""
    due = [SOON]
    while due[-1] < takes:
        due.append(usual.next_glance(Kind.PASSWORD, due[-1], abnormal=True, quiet=60.0, accepted=True))
    usual.settled(Kind.PASSWORD, due[-1])
    return due


@given(st.floats(1.0, 600.0))
def test_a_change_that_nothing_can_prove_is_seen_in_change_and_then_settled(takes: float) -> None:
    """Two looks for most once some have settled, and none much later than it could be."""
    usual = Usual()
    rows = [glances(usual, takes) for _ in range(2000)]
    later = rows[1000:]
    assert sum(map(len, later)) <= 2.5 * len(later)
    assert all(row[-1] <= max(takes * 1.6, takes + SOON) + SOON for row in later)


@pytest.mark.parametrize(("abnormal", "accepted"), [(False, True), (True, False)])
def test_what_was_not_seen_in_change_or_is_in_doubt_is_no_usual_one(abnormal: bool, accepted: bool) -> None:
    """It is looked at as if nothing were known of the others."""
    usual = Usual()
    usual.settled(Kind.PASSWORD, 300.0)
    due = usual.next_glance(Kind.PASSWORD, SOON, abnormal=abnormal, quiet=60.0, accepted=accepted)
    assert due == next_glance(SOON, abnormal=abnormal, quiet=60.0)
    assert due < usual.next_glance(Kind.PASSWORD, SOON, abnormal=True, quiet=60.0, accepted=True)


@given(st.floats(SOON, 3600.0))
def test_what_was_seen_in_change_is_followed_closely(due: float) -> None:
    """No more than half as much again later, nor than half a minute."""
    step = next_glance(due, abnormal=True, quiet=60.0) - due
    assert step == pytest.approx(min(CAP, max(SOON, due / 2)))
