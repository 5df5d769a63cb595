"""How much of a quota is used, and how often it is exceeded: known, unknown, and cut to a quarter in mid-run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_jobs
from bench_book import Called, most_in_window, of_api, throttled_share, used_share
from bench_lab import Sim, child, simulator
from bench_part import Check, Part, middle

API = "ModifyInstanceAttribute"
MINUTE = 60.0  # from this period on a case has one round: it takes minutes
CUT = 4  # to a quarter
LOOK = 0.2  # seconds between two looks at the book


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A quota, whether the manifest knows it, and when it is cut; shares count from `settled` seconds on."""

    name: str
    calls: int
    seconds: float
    instances: int
    known: bool = True
    cut_after: float | None = None  # seconds since the first change
    settled: float = 0.0  # seconds, since the first change or the cut
    least_used: float
    most_throttled: float

    @property
    def last_calls(self) -> int:
        return self.calls if self.cut_after is None else self.calls // CUT

    @property
    def strict(self) -> bool:
        """The quota is known and stays: never more than it in any window."""
        return self.known and self.cut_after is None


CASES = (
    Case(name="known 40/1s", calls=40, seconds=1, instances=1000, least_used=0.95, most_throttled=0.01),
    Case(name="known 1000/1s", calls=1000, seconds=1, instances=15000, least_used=0.95, most_throttled=0.01),
    Case(
        name="unknown 40/1s",
        calls=40,
        seconds=1,
        instances=1900,
        known=False,
        settled=25,
        least_used=0.9,
        most_throttled=0.02,
    ),
    Case(
        name="40/1s cut to 10/1s",
        calls=40,
        seconds=1,
        instances=900,
        cut_after=10,
        settled=25,
        least_used=0.9,
        most_throttled=0.02,
    ),
    Case(name="known 200/60s", calls=200, seconds=60, instances=600, least_used=0.95, most_throttled=0.01),
    Case(
        name="unknown 200/60s",
        calls=200,
        seconds=60,
        instances=950,
        known=False,
        settled=180,
        least_used=0.8,
        most_throttled=0.05,
    ),
    Case(
        name="200/60s cut to 50/60s",
        calls=200,
        seconds=60,
        instances=450,
        cut_after=60,
        settled=180,
        least_used=0.8,
        most_throttled=0.05,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Shares of one run; `fullest`: the most arrivals in any window of the period, of the quota, whatever the API."""

    used: float
    throttled: float
    fullest: float
    seconds: float

    def kept(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__}


def measure(folder: Path, *, rounds: int, size: int) -> Part:  # noqa: ARG001  a case has the size that its time needs
    """Cases of a second one after the other, all of a minute at once: they cost next to nothing."""
    refused = [] if _knows_auto(folder) else [case for case in CASES if not case.known]
    cases = [case for case in CASES if case not in refused]
    found: dict[str, list[Found]] = {case.name: [] for case in cases}
    with ThreadPoolExecutor(len(cases)) as pool:
        slow = {
            case.name: pool.submit(_one, folder / case.name.replace("/", "-"), case) for case in _slow(cases, slow=True)
        }
        for number in range(rounds):
            for case in _slow(cases, slow=False):
                found[case.name].append(_one(folder / f"{number} {case.name.replace('/', '-')}", case))
        for name, future in slow.items():
            found[name].append(future.result())
    return part(cases, found, refused)


def _slow(cases: Sequence[Case], *, slow: bool) -> Iterator[Case]:
    return (case for case in cases if (case.seconds >= MINUTE) is slow)


def _limits(case: Case) -> str:
    rate = f"{case.calls}/{case.seconds:g}s" if case.known else "auto"
    return f"{{rate: {rate}, connections: 64}}"


def _text(case: Case) -> str:
    return bench_jobs.manifest("{attributes: {name: 'quota-{id}'}}", limits=_limits(case))


def _knows_auto(folder: Path) -> bool:
    """Whether this version takes a rate that nobody knows."""
    unknown = next(case for case in CASES if not case.known)
    job = folder / "auto.yaml"
    job.write_text(_text(unknown).replace("{from: fleet.csv}", "r-sim000000"), encoding="utf-8")
    return child([bench_jobs.BATCHMOD, "validate", str(job)], {"HOME": str(folder)}, folder).code == 0


def _one(folder: Path, case: Case) -> Found:
    faults = f"quotas: {{default: {case.calls}/{case.seconds:g}s}}\nregions: [cn-hangzhou]\n"
    with simulator(folder, instances=case.instances, faults=faults) as sim, ThreadPoolExecutor(1) as pool:
        sim.mark()
        ran = pool.submit(bench_jobs.run, sim, _text(case))
        cut_at = None
        if case.cut_after is not None and _reached(sim, ran, case.cut_after):
            cut_at = sim.set_quota(API, case.last_calls, case.seconds)
        ran.result()
        return judged(case, sim.book(), cut_at)


def _reached(sim: Sim, ran: Future[Any], seconds: float) -> bool:
    """So much time has passed since the first change was asked for; False when the run ended before."""
    while not ran.done():
        times = [each.at for each in of_api(sim.book(), API)]
        if times and time.time() - times[0] >= seconds:
            return True
        time.sleep(LOOK)
    return False


def judged(case: Case, book: Sequence[Called], cut_at: float | None) -> Found:
    writes = of_api(book, API)
    begin = (cut_at or writes[0].at) + case.settled
    taken = [each.at for each in writes if each.code == "OK" and each.at >= begin]
    apis = {each.api for each in book if case.seconds >= MINUTE or each.api != "GetCallerIdentity"}
    fullest = max(most_in_window([each.at for each in of_api(book, api)], case.seconds) for api in apis)
    return Found(
        used=used_share(taken, calls=case.last_calls, seconds=case.seconds),
        throttled=throttled_share(writes),
        fullest=fullest / case.calls,
        seconds=writes[-1].at - writes[0].at,
    )


def part(cases: Sequence[Case], found: Mapping[str, Sequence[Found]], refused: Sequence[Case]) -> Part:
    def middle_of(case: Case, name: str) -> float:
        return middle([getattr(each, name) for each in found[case.name]])

    checks = []
    for case in cases:
        used, throttled = middle_of(case, "used"), middle_of(case, "throttled")
        checks += [
            Check(what=f"{case.name}: share used", value=used, limit=case.least_used, at_most=False),
            Check(what=f"{case.name}: share throttled", value=throttled, limit=case.most_throttled, at_most=True),
        ]
        if case.strict:
            most = max(each.fullest for each in found[case.name])
            checks.append(Check(what=f"{case.name}: fullest window of any round", value=most, limit=1.0, at_most=True))
    return Part(
        title="Use of the quota",
        size="renames; cases of a minute: 1 round, all at once",
        columns=("quota", "rounds", "instances", "used", "throttled", "fullest window", "seconds"),
        rows=[
            (
                case.name,
                str(len(found[case.name])),
                str(case.instances),
                f"{middle_of(case, 'used'):.1%}",
                f"{middle_of(case, 'throttled'):.2%}",
                f"{middle_of(case, 'fullest'):.1%}",
                f"{middle_of(case, 'seconds'):.0f}",
            )
            for case in cases
        ],
        checks=checks,
        notes=[f"{case.name}: not measured, the manifest refuses `rate: auto`." for case in refused],
        rounds=[{case.name: [each.kept() for each in found[case.name]] for case in cases}],
    )
