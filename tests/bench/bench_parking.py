"""A tenth of the instances is busy for ten minutes of the cloud's time: what that costs beyond what it must."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bench_jobs
from bench_book import accepted
from bench_lab import simulator
from bench_part import Check, Part, middle

from batchmod.engine.turnstile import SHARE

BUSY = 600.0  # seconds of the cloud's time
CALLS, SECONDS = 200, 60.0
LIMIT = 1.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Seconds of the cloud's time. `ideal`: the larger of what the share of the quota that is used on purpose and what the
    busy instances need.
    """

    case: str
    makespan: float  # from the first change to the last, as the simulator accepted them
    ideal: float

    @property
    def ratio(self) -> float:
        return self.makespan / self.ideal

    def kept(self) -> dict[str, float | str]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`speed`: how many times as fast as the real cloud the simulator is, but not batchmod: so its errors count more."""

    name: str
    instances: int
    speed: float

    @property
    def slow(self) -> bool:
        """Takes as long as in the real cloud: it has one round."""
        return self.speed == 1


CASES = (
    Case(name="the quota takes longer", instances=3000, speed=10.0),
    Case(name="the busy take longer", instances=200, speed=1.0),
)


def measure(folder: Path, *, rounds: int, size: int) -> Part:  # noqa: ARG001  the time decides how many there are
    """The slow case beside the rounds of the other: each has a simulator of its own, and none has much to do."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        jobs = [pool.submit(_rounds, folder / case.name, case, 1 if case.slow else rounds) for case in CASES]
        return part([each for job in jobs for each in job.result()])


def _rounds(folder: Path, case: Case, rounds: int) -> list[Parked]:
    return [_one(folder / str(number), case) for number in range(rounds)]


def _one(folder: Path, case: Case) -> Parked:
    faults = (
        f"quotas: {{default: {CALLS}/{SECONDS:g}s}}\nregions: [cn-hangzhou]\n"
        f"busy: [{{fraction: 0.1, seconds: {BUSY:g}}}]\n"
    )
    limits = f"{{rate: {CALLS}/{SECONDS / case.speed:g}s, connections: 64}}"
    with simulator(folder, instances=case.instances, faults=faults, speed=case.speed) as sim:
        bench_jobs.run(sim, bench_jobs.manifest("{attributes: {name: 'parked-{id}'}}", limits=limits))
        times = [each.at for each in accepted(sim.book())]
        busy_until = float(sim.said["began"]) + BUSY / case.speed
    quota = (len(times) - 1) / (CALLS * SHARE) * SECONDS
    return Parked(
        case=case.name,
        makespan=(times[-1] - times[0]) * case.speed,
        ideal=max(quota, (busy_until - times[0]) * case.speed),
    )


def part(found: Sequence[Parked]) -> Part:
    cases = [(case, [each for each in found if each.case == case.name]) for case in CASES]
    return Part(
        title="A tenth of the instances busy for ten minutes",
        size=f"quota {CALLS}/{SECONDS:g}s; both cases at once; the one at real speed has one round",
        columns=("case", "rounds", "instances", "speed", "makespan, s", "ideal, s", "ratio"),
        rows=[
            (
                case.name,
                str(len(its)),
                str(case.instances),
                f"{case.speed:g}",
                f"{middle([each.makespan for each in its]):.1f}",
                f"{middle([each.ideal for each in its]):.1f}",
                f"{middle([each.ratio for each in its]):.3f}",
            )
            for case, its in cases
        ],
        checks=[
            Check(
                what=f"makespan ÷ ideal: {case.name}",
                value=middle([each.ratio for each in its]),
                limit=LIMIT,
                at_most=True,
            )
            for case, its in cases
        ],
        rounds=[each.kept() for each in found],
    )
