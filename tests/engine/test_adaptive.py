"""How much of a quota is used, known, cut or unknown, measured on replicas of the service, without waiting."""

import pytest
from quota_replica import Replica, play

from batchmod.engine.adaptive import FIRST, Found
from batchmod.engine.arrivals import Arrivals
from batchmod.model.values import Rate, parse_rate

KINDS = ("sliding", "fixed", "tokens")
QUOTAS = ("40/1s", "300/1s", "200/60s", "50/60s")
BOUNDS = {1.0: (25.0, 90.0, 0.90, 0.02), 60.0: (180.0, 420.0, 0.80, 0.05)}  # by period: seconds to converge, seconds to
# measure, the least share used in those, the largest share refused over all


@pytest.mark.parametrize("quota", ["40/1s", "1000/1s", "200/60s"])
@pytest.mark.parametrize("stalls", [(), (3.02, 3.4, 9.0)])
def test_a_known_quota_is_used_and_never_exceeded_on_arrival(quota: str, stalls: tuple[float, ...]) -> None:
    """In no window of its period; also when the machine stalls, so that calls arrive late and all at once."""
    rate = parse_rate(quota)
    replica = Replica("sliding", rate)
    (pace,) = play(replica, rate, 10 * rate.period, latency=0.01, stalls=stalls).paces()
    assert replica.most() <= rate.calls
    assert replica.throttled == 0
    assert replica.used(replica.accepted[0], replica.accepted[-1]) >= 0.95
    assert pace.used == pytest.approx(replica.used(replica.accepted[0], replica.accepted[-1]), abs=0.01)
    assert (pace.rate, pace.found) == (str(rate), False)


@pytest.mark.parametrize("quota", ["1/1s", "40/1s", "300/1s"])
def test_it_is_never_exceeded_by_what_was_held_up_for_longer_than_its_period(quota: str) -> None:
    """A journal that hangs, a connection that is made anew: what was granted meanwhile arrives at once."""
    rate = parse_rate(quota)
    replica = Replica("sliding", rate)
    play(replica, rate, 14.0, latency=0.02, stalls=(2.0, 6.0), stall=2.5)
    assert replica.most() <= rate.calls
    assert replica.used(8.5, 14.0) >= 0.8


@pytest.mark.parametrize("latency", [1.2, 3.0])
def test_a_slow_service_is_not_waited_for_more_than_it_takes(latency: float) -> None:
    """As many calls are in flight as fit into a window, and each counts for a period after its answer."""
    rate = parse_rate("40/1s")
    replica = Replica("sliding", rate)
    play(replica, rate, 20.0, latency=latency, spread=0.1)
    assert replica.most() <= rate.calls
    assert len(replica.accepted) >= 0.75 * 20.0 * rate.calls / (rate.period + latency)


def test_a_call_may_have_arrived_as_late_as_its_answer_came() -> None:
    """And the next one may arrive at once, however long all before it took: a machine that was busy until now."""
    arrivals = Arrivals()
    for number in range(8):
        arrivals.granted(number / 10)
        arrivals.answered(number / 10, number / 10 + 0.1, counts=True)
    assert arrivals.room_at(8, 1.0, 0.9) == 0.1 + 1.0
    assert arrivals.room_at(9, 1.0, 0.9) == 0.9


@pytest.mark.parametrize(("latency", "spread"), [(0.06, 0.3), (0.06, 0.8), (0.2, 0.8)])
@pytest.mark.parametrize("quota", ["40/1s", "300/1s", "200/60s"])
def test_it_is_never_exceeded_however_much_round_trips_vary(quota: str, latency: float, spread: float) -> None:
    """Nor where lanes go from one process to another, each as soon as the one before has had its answers."""
    rate = parse_rate(quota)
    replica = Replica("sliding", rate)
    play(replica, rate, 12 * rate.period, latency=latency, spread=spread, holders=3)
    assert replica.most() <= rate.calls
    assert replica.throttled == 0
    assert replica.used(replica.accepted[0], replica.accepted[-1]) >= 0.5


@pytest.mark.parametrize("quota", QUOTAS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_quota_is_found(quota: str, kind: str) -> None:
    """Whether it is counted over a second or a minute, in windows of any kind."""
    rate = parse_rate(quota)
    settling, measured, used, throttled = BOUNDS[rate.period]
    replica = Replica(kind, rate)
    play(replica, None, settling + measured)
    assert replica.used(settling, settling + measured) >= used
    assert replica.throttled <= throttled


@pytest.mark.parametrize("quota", QUOTAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_that_was_cut_to_a_quarter_is_found_again(quota: str, kind: str) -> None:
    """The same, in the middle of a run."""
    rate = parse_rate(quota)
    settling, measured, used, throttled = BOUNDS[rate.period]
    at, less = rate.period * 3, Rate(calls=rate.calls // 4, period=rate.period)
    replica = Replica(kind, rate)
    (pace,) = play(replica, rate, at + settling + measured, cut=(at, less)).paces()
    assert replica.used(at + settling, at + settling + measured) >= used
    assert replica.throttled <= (throttled if kind == "sliding" else 0.06)
    assert pace.found


@pytest.mark.parametrize("quota", ["40/1s", "200/60s"])
def test_what_the_service_says_of_its_window_helps(quota: str) -> None:
    """With x-acs-retry-after an unknown period is known at the first refusal."""
    rate = parse_rate(quota)
    settling, measured, used, _ = BOUNDS[rate.period]
    replica = Replica("sliding", rate, tell=True)
    play(replica, None, settling + measured)
    assert replica.used(settling, settling + measured) >= used
    assert replica.throttled <= 0.01


@pytest.mark.parametrize(("quota", "seconds", "at"), [("1000/1s", 40.0, 5.0), ("200/60s", 600.0, 200.0)])
def test_a_stray_refusal_costs_little_and_not_for_long(quota: str, seconds: float, at: float) -> None:
    """Of somebody else's making: the quota that was told is soon used as before."""
    rate = parse_rate(quota)
    replica = Replica("sliding", rate, stray=[at])
    (pace,) = play(replica, rate, seconds, latency=0.01).paces()
    assert replica.used(at, at + seconds / 4) >= 0.85
    assert replica.used(at + seconds / 4, seconds) >= 0.95
    assert (pace.rate, pace.found, pace.throttled) == (str(rate), False, 1)


def test_one_event_is_one_cut() -> None:
    """Refusals of calls that were granted before the last one tell nothing new; the first of a later one does."""
    found = Found(Rate(calls=100, period=1.0), now=0.0)
    for _ in range(50):
        found.refused(9.0, 10.0, lambda _: 80)
    assert (found.calls, found.asking, found.most) == (80, True, 80)
    found.refused(10.5, 11.0, lambda _: 40)
    assert (found.calls, found.most) == (80, 38), "waits until the window is emptier"
    found.accepted(9.0, 11.1)
    assert found.asking, "an older one tells nothing"
    found.accepted(11.05, 11.1)
    assert (found.asking, found.most) == (False, 80)


def test_what_was_found_starts_the_next_run_and_never_above_what_is_told() -> None:
    """Also in another notation; without any of it a run begins low."""
    assert Found(None, now=0.0).calls == FIRST
    assert Found(None, now=0.0, start=Rate(calls=70, period=60.0)).calls == 70
    assert Found(Rate(calls=200, period=60.0), now=0.0, start=Rate(calls=50, period=60.0)).calls == 50
    above = Found(Rate(calls=20, period=1.0), now=0.0, start=Rate(calls=70, period=1.0))
    assert (above.calls, above.free) == (20, True)
    assert Found(Rate(calls=120, period=60.0), now=0.0, start=Rate(calls=1, period=1.0)).calls == 60


def test_an_unused_quota_is_not_found_to_be_larger() -> None:
    """A run that sends little learns nothing of what it might send."""
    found = Found(None, now=0.0)
    for second in range(1, 20):
        found.grow(float(second), lambda _: 2)
    assert found.calls == FIRST
    assert not found.known
