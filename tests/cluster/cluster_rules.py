"""What must hold of a campaign, whatever happened to its workers and their database. Each rule returns what breaks it."""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster_support import Cluster

from batchmod.sim.book import CallRecord

ARMED = frozenset({"armed", "rearmed"})
BUSY = 0.2  # seconds that a change takes in the simulator of these tests


@dataclass(frozen=True, kw_only=True)
class Written:
    """One step, as the database's book has it."""

    n: int
    seq: int
    phase: str
    epoch: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Row:
    seq: int
    account_id: str
    region: str
    instance: str
    kind: str

    @property
    def lane(self) -> str:
        return f"lane:{self.account_id}/{self.region}"


@dataclass(frozen=True)
class Ended:
    """A campaign that has ended, and all that is known of it. `stored`: every password, by instance."""

    cluster: Cluster
    run_id: str
    stored: dict[str, list[dict[str, Any]]]

    @cached_property
    def rows(self) -> dict[int, Row]:
        query = "SELECT seq, account_id, region, instance_id, kind FROM planned WHERE run = %s ORDER BY seq"
        names = ("seq", "account_id", "region", "instance", "kind")
        found = self.cluster.database.execute(query, self.run_id)
        return {one[0]: Row(**dict(zip(names, one, strict=True))) for one in found}  # type: ignore[misc, arg-type]

    @cached_property
    def steps(self) -> list[Written]:
        query = "SELECT n, seq, phase, epoch, noted_at FROM step WHERE run = %s AND epoch IS NOT NULL ORDER BY n"
        names = ("n", "seq", "phase", "epoch", "at")
        found = self.cluster.database.execute(query, self.run_id)
        return [Written(**dict(zip(names, one, strict=True))) for one in found]  # type: ignore[arg-type]

    @cached_property
    def report(self) -> dict[str, Any]:
        path = next((self.cluster.bench.folder / "reports").glob(f"*{self.run_id}.json"))
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report

    @cached_property
    def writes(self) -> list[CallRecord]:
        """Every call that asked for a change, as it arrived."""
        return [call for call in self.cluster.sim.cloud.calls if call.api == "ModifyInstanceAttribute"]

    @cached_property
    def taken(self) -> dict[str, list[tuple[int, float, str]]]:
        """By lease: each epoch, since when, and of whom."""
        found: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
        for key, epoch, at, holder in self.cluster.database.execute(
            "SELECT key, epoch, at, holder FROM taken ORDER BY key, epoch"
        ):
            found[str(key)].append((epoch, at, str(holder)))  # type: ignore[arg-type]
        return found

    def most(self, pool: str, *, wave: int | None = None) -> int:
        """How many places were ever taken at once."""
        query = "SELECT max(places) FROM most WHERE run = %s AND pool = %s AND wave IS NOT DISTINCT FROM %s"
        ((found,),) = self.cluster.database.execute(query, self.run_id, pool, wave)
        return int(found or 0)  # type: ignore[call-overload, no-any-return]


def broken(ended: Ended, *, rate: int, changing: int | None, max_failures: int | None) -> list[str]:
    """Nothing, when all is well. `rate`: writes a second in each lane."""
    found = [f"{rule.__name__.strip('_')}: {each}" for rule in RULES for each in rule(ended)]
    found += [f"quota: {each}" for each in _over_the_quota(ended, rate)]
    for pool, limit in (("changing", changing), ("failures", max_failures)):
        if limit is not None and (most := ended.most(pool)) > limit:
            found.append(f"{pool}: {most} places of {limit}")
    if changing is not None and (most := _at_once(ended)) > changing:
        found.append(f"changing: {most} instances in the cloud, {changing} were allowed")
    return found


def _rows_are_true(ended: Ended) -> Iterator[str]:
    """What is called changed is so, and what is not was never accepted."""
    cloud, report = ended.cluster.sim.cloud, ended.report
    live = cloud.passwords
    for row in report["rows"]:
        name, outcome = row["instance_id"], row["outcome"]
        instance, place = cloud.instances[name], f"{name} {row['change']} is {outcome}"
        renamed = instance.tasks_done - instance.password_generation
        if row["change"] == "attributes":
            there, accepted = instance.name == f"new-{name}", renamed
        else:
            current = [each["password"] for each in ended.stored.get(name, ()) if each["stage"] == "current"]
            there, accepted = current == [live[name]], instance.password_generation
        if outcome == "changed" and not (there and accepted):
            yield f"{place}, and it is not there"
        if outcome not in {"changed", "unresolved"} and accepted:
            yield f"{place}, and was accepted"
        if row["change"] == "attributes" and accepted > 1:
            yield f"{place}, and was accepted {accepted} times"


def _all_is_counted(ended: Ended) -> Iterator[str]:
    counts, rows = ended.report["run"]["counts"], ended.report["rows"]
    if not len(rows) == sum(counts.values()) == len(ended.rows):
        yield f"{len(rows)} rows in the report, {sum(counts.values())} counted, {len(ended.rows)} planned"
    if Counter(row["outcome"] for row in rows) != Counter({name: count for name, count in counts.items() if count}):
        yield f"counts are {counts}"
    finished = ended.cluster.database.execute(
        "SELECT body FROM mark WHERE run = %s AND body LIKE '%%finished%%'", ended.run_id
    )
    if len(finished) != 1:
        yield f"finished {len(finished)} times"


def _no_password_is_lost(ended: Ended) -> Iterator[str]:
    """Every value that ever arrived in the cloud is in the store, and there is one of each generation."""
    for name, instance in ended.cluster.sim.cloud.instances.items():
        known = {hashlib.sha256(each["password"].encode()).hexdigest() for each in ended.stored.get(name, ())}
        if lost := instance.passwords_sent - known:
            yield f"{name}: {len(lost)} passwords were sent that are not stored"
        generations = [each["generation"] for each in ended.stored.get(name, ())]
        if len(set(generations)) != len(generations) or len(instance.passwords_sent) > 1:
            yield f"{name}: generations {generations}, {len(instance.passwords_sent)} passwords sent"


def _epochs_go_up(ended: Ended) -> Iterator[str]:
    """Once a later holder has written for a lane, no earlier one does."""
    highest: dict[str, int] = {}
    for step in ended.steps:
        lane = ended.rows[step.seq].lane
        if step.epoch < highest.get(lane, 0):
            yield f"{lane}: step {step.n} of epoch {step.epoch} after one of {highest[lane]}"
        highest[lane] = max(step.epoch, highest.get(lane, 0))


def _armed_before_sent(ended: Ended) -> Iterator[str]:
    """Every call that arrived was armed before, once each, and by who held the lane when it arrived."""
    armed: dict[str, list[tuple[float, int]]] = defaultdict(list)
    lanes = {row.instance: row.lane for row in ended.rows.values()}
    for step in ended.steps:
        if step.phase in ARMED:
            armed[ended.rows[step.seq].instance].append((step.at, step.epoch))
    sent: Counter[str] = Counter()
    for call in ended.writes:
        assert call.instance is not None
        sent[call.instance] += 1
        before = armed[call.instance][: bisect_right(armed[call.instance], (call.at, 10**9))]
        if sent[call.instance] > len(before):
            yield f"{call.instance}: call {sent[call.instance]} at {call.at:.3f}, armed {len(before)} times by then"
            continue
        for epoch, at, _ in ended.taken[lanes[call.instance]]:
            if at < call.at and epoch > before[-1][1]:
                yield f"{call.instance}: sent under epoch {before[-1][1]}, {call.at - at:.3f} s after {epoch} began"


def _never_two_at_once(ended: Ended) -> Iterator[str]:
    """Nobody else changes these instances: a task that was in the way was ours."""
    for call in ended.writes:
        if call.code == "TaskExists":
            yield f"{call.instance} was in change when it was sent the next one, at {call.at:.3f}"


def _not_sent_blindly(ended: Ended) -> Iterator[str]:
    """What was accepted is not sent again, unless nobody saw the answer: then the row was looked at before."""
    again = Counter(ended.rows[step.seq].instance for step in ended.steps if step.phase == "rearmed")
    for name, instance in ended.cluster.sim.cloud.instances.items():
        if instance.password_generation > 1 + again[name]:
            yield f"{name}: {instance.password_generation} passwords accepted, sent again {again[name]} times"
    before: dict[int, Written] = {}
    for step in ended.steps:
        last = before.get(step.seq)
        if last is not None and last.epoch != step.epoch and last.phase in ARMED and step.phase == "armed":
            yield f"row {step.seq}: armed under {last.epoch} and again under {step.epoch} without a look"
        before[step.seq] = step


def _over_the_quota(ended: Ended, rate: int) -> Iterator[str]:
    """In no second more calls of a lane arrive than its quota, and none is refused by it."""
    lanes = {row.instance: row.lane for row in ended.rows.values()}
    arrived: dict[str, list[float]] = defaultdict(list)
    for call in ended.writes:
        assert call.instance is not None
        arrived[lanes[call.instance]].append(call.at)
        if call.code is not None and "hrottl" in call.code:
            yield f"{call.instance}: {call.code} at {call.at:.3f}"
    for lane, times in arrived.items():
        worst = max((bisect_left(times, at + 1.0) - n, at) for n, at in enumerate(times))
        if worst[0] > rate:
            near = [f"{at - worst[1]:.3f}" for at in times if worst[1] - 1 <= at < worst[1] + 1]
            holders = [f"{epoch} at {at - worst[1]:.3f}" for epoch, at, _ in ended.taken[lane]]
            yield f"{lane}: {worst[0]} calls in a second: {' '.join(near)}; held as {', '.join(holders)}"


def _at_once(ended: Ended) -> int:
    """How many instances were in change together, in the cloud."""
    events = sorted(
        event for call in ended.writes if call.code is None for event in ((call.at, 1), (call.at + BUSY - 0.001, -1))
    )
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


RULES = (
    _rows_are_true,
    _all_is_counted,
    _no_password_is_lost,
    _epochs_go_up,
    _armed_before_sent,
    _never_two_at_once,
    _not_sent_blindly,
)


def hand_overs(ended: Ended, killed: Sequence[tuple[float, Sequence[str]]]) -> list[float]:
    """Seconds from each death to the first step of somebody else in each lane that was held. `killed`: when, and the
    lanes; one that the next holder died with, or while somebody stood still, does not count, and
    while the database was away it counts from the end of that.
    """
    found = []
    moments = [(at, set(lanes)) for at, lanes in killed]
    written: dict[str, list[Written]] = defaultdict(list)
    for step in ended.steps:
        written[ended.rows[step.seq].lane].append(step)
    for at, lanes in moments:
        for lane in lanes:
            epochs = [one[0] for one in ended.taken[lane] if one[1] <= at]
            after = [step.at for step in written[lane] if step.at > at and step.epoch > max(epochs, default=0)]
            if not after or any(at < other <= after[0] and lane in its for other, its in moments):
                continue
            if any(begin <= after[0] and end >= at for begin, end, _ in ended.cluster.frosts):
                continue  # who stood still may have had it meanwhile
            away = [end for begin, end in ended.cluster.outages if begin <= after[0] and end >= at]
            found.append(after[0] - max([at, *away]))
    return sorted(found)
