"""Which instance is changed in which wave."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from random import Random

import pytest
from engine_support import row
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.rollout import in_waves, wave_count
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import InstanceKey
from batchmod.model.values import Share, parse_share


def fleet(*sizes: int) -> list[PlannedRow]:
    """One lane of so many instances each; one row an instance."""
    rows = [
        replace(row(instance=f"r-{lane}-{number}"), region=f"cn-{lane}", wave=None)
        for lane, size in enumerate(sizes)
        for number in range(size)
    ]
    return [replace(one, seq=seq) for seq, one in enumerate(rows)]


def shares(*written: int | str) -> list[Share]:
    return [parse_share(one) for one in written]


def sizes(rows: Sequence[PlannedRow]) -> list[int]:
    """Instances in each wave."""
    counted = Counter(wave for wave, _ in {(one.wave, one.key) for one in rows if one.wave is not None})
    return [counted[wave] for wave in sorted(counted)]


@pytest.mark.parametrize(
    ("waves", "instances", "expected"),
    [
        (["100%"], 7, [7]),
        ([1, "10%", "100%"], 100, [1, 9, 90]),
        ([1, "10%", "100%"], 101, [1, 10, 90]),
        ([1, "10%", "100%"], 10, [1, 9]),
        ([1, "10%", "100%"], 1, [1]),
        ([1], 5, [1, 4]),
        ([5], 5, [5]),
        ([9, "100%"], 5, [5]),
        (["50%", "10%", 2, "60%"], 10, [5, 1, 4]),
        (["100%", 1], 5, [5]),
        (["0.1%"], 10, [1, 9]),
        (["33.3%"], 3, [1, 2]),
        ([1, 2, 2, 3], 4, [1, 1, 1, 1]),
        ([1, "10%"], 0, []),
    ],
)
def test_waves_are_cumulative_and_end_with_all(waves: list[int | str], instances: int, expected: list[int]) -> None:
    """Percentages are rounded up, what adds none is dropped, and 100 % is implied."""
    planned = in_waves(fleet(instances), shares(*waves))
    assert sizes(planned) == expected
    assert wave_count(planned) == len(expected)


def test_canaries_go_round_the_lanes() -> None:
    """In a lane the least digest first; a lane that has no more is passed over."""
    rows = fleet(5, 1, 3)
    planned = in_waves(rows, shares(1, 2, 3, 4, 5, 6, 7, 8))
    order = [one.instance_id for one in sorted(planned, key=lambda one: one.wave or 0)]
    assert [name[:4] for name in order] == ["r-0-", "r-1-", "r-2-", "r-0-", "r-2-", "r-0-", "r-2-", "r-0-", "r-0-"]
    first = [name for name in order if name.startswith("r-0-")]
    assert first == sorted(first, key=lambda name: sha256(name.encode()).digest())
    assert first != sorted(first)


def test_rows_that_are_not_sent_neither_count_nor_have_a_wave() -> None:
    """The share is of what would change; an instance with one row to send and one without is in a wave once."""
    rows = [
        replace(row(Kind.ATTRIBUTES, instance="r-1"), verdict=Phase.UNCHANGED),
        replace(row(Kind.PASSWORD, instance="r-1"), seq=1),
        replace(row(Kind.ATTRIBUTES, instance="r-2"), seq=2, verdict=Phase.SKIPPED),
        replace(row(Kind.TDE, instance="r-3"), seq=3),
    ]
    planned = in_waves(rows, shares("50%"))
    assert [one.wave is None for one in planned] == [True, False, True, False]
    assert sizes(planned) == [1, 1]


@st.composite
def fleets(draw: st.DrawFn) -> list[PlannedRow]:
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from("12"), st.sampled_from(["cn-a", "cn-b", "cn-c"]), st.integers(0, 30)),
            unique=True,
            max_size=30,
        )
    )
    verdicts = st.sampled_from([Phase.PLANNED, Phase.PLANNED, Phase.PLANNED, Phase.UNCHANGED, Phase.SKIPPED])
    rows = [
        replace(row(kind, instance=f"r-{number}"), account_id=account, region=region, verdict=draw(verdicts))
        for account, region, number in keys
        for kind in (Kind.ATTRIBUTES, Kind.PASSWORD)
    ]
    return [replace(one, seq=seq) for seq, one in enumerate(rows)]


SHARES = st.lists(
    (st.integers(1, 40) | st.integers(1, 1000).map(lambda number: f"{number / 10}%")).map(parse_share), min_size=1
)


def waves_of(rows: Sequence[PlannedRow]) -> dict[tuple[InstanceKey, Kind], int | None]:
    return {(one.key, one.kind): one.wave for one in rows}


@given(fleets(), SHARES, st.randoms(use_true_random=False))
def test_every_row_that_is_sent_has_the_wave_of_its_instance(
    rows: list[PlannedRow], waves: list[Share], dice: Random
) -> None:
    """Nothing else of a row is touched; waves count from 1 without a hole; the order of the rows decides nothing."""
    planned = in_waves(rows, waves)
    assert [replace(one, wave=before.wave) for one, before in zip(planned, rows, strict=True)] == rows
    assert all((one.wave is not None) == one.will_send for one in planned)
    assert len({(one.key, one.wave) for one in planned if one.will_send}) == len(
        {one.key for one in planned if one.will_send}
    )
    assert {one.wave for one in planned if one.will_send} == set(range(1, wave_count(planned) + 1))
    shuffled = list(rows)
    dice.shuffle(shuffled)
    assert waves_of(in_waves(shuffled, waves)) == waves_of(planned)


@given(fleets(), SHARES)
def test_each_share_is_the_end_of_a_wave(rows: list[PlannedRow], waves: list[Share]) -> None:
    """The ends are the shares' running maximum, each once, and the whole."""
    total = len({one.key for one in rows if one.will_send})
    wanted = sorted({max(share.up_of(total) for share in waves[:n]) for n in range(1, len(waves) + 1)} | {total})
    ends = [end for end in wanted if 0 < end < total] + [total] * (total > 0)
    counted = sizes(in_waves(rows, waves))
    assert [sum(counted[: n + 1]) for n in range(len(counted))] == ends


@given(fleets(), SHARES)
def test_the_first_waves_meet_as_many_lanes_as_they_can(rows: list[PlannedRow], waves: list[Share]) -> None:
    """At the end of each wave no lane is ahead of another that still has instances by more than one."""
    planned = in_waves(rows, waves)
    of_lane = Counter(lane for lane, _ in {(one.lane, one.key) for one in planned if one.will_send})
    for wave in range(1, wave_count(planned) + 1):
        done = Counter(
            lane for lane, _ in {(one.lane, one.key) for one in planned if one.wave is not None and one.wave <= wave}
        )
        unfinished = [done[lane] for lane, size in of_lane.items() if done[lane] < size]
        assert max(done.values()) - min(unfinished, default=max(done.values())) <= 1
