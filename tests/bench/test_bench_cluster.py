"""What the figures of many machines are judged by."""

from dataclasses import replace

from bench_cluster import COUNTS, Found, name_of, part

ONE = Found(changes=80.0, throttled=0.0, cpu=1500.0, cores=0.1, database=1000.0, busy=0.5, hand_over=0.2, idle=0.8)


def a_round(*, busy: float, share: float) -> dict[str, Found]:
    """Each as fast as linear, but four workers, which reach so much of it."""
    linear = {count: replace(ONE, changes=80.0 * count, busy=busy) for count in COUNTS}
    found = {name_of(count, alone=True): linear[count] for count in COUNTS} | {
        name_of(count): linear[count] for count in COUNTS
    }
    return found | {name_of(4): replace(linear[4], changes=320.0 * share)}


def judged(*rounds: dict[str, Found]) -> tuple[float, str]:
    (check,) = [each for each in part(rounds, each=100).checks if each.what.startswith("changes/s of 4 workers ÷")]
    return round(check.value, 3), check.bound


def test_a_round_in_which_the_cpu_was_full_does_not_judge() -> None:
    """Unless there is no other; either way the line says so."""
    full, left = a_round(busy=0.99, share=0.5), a_round(busy=0.7, share=0.95)
    assert judged(left) == (0.95, "")
    assert judged(full, left) == (0.95, "1 of 2 rounds: in the others the machine's CPU was full")
    assert judged(full) == (0.5, "the machine's CPU was full")
