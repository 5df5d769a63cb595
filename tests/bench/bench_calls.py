"""API calls per change, plan and settling included, with the simulator's own lag and durations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import bench_jobs
from bench_book import WRITES, accepted, counted
from bench_lab import Sim, simulator
from bench_part import Check, Part, middle

CHANGES = {
    "name": "{attributes: {name: 'calls-{id}'}}",
    "password": "{password: {generate: {length: 24}}}",
    "protection": "{attributes: {release_protection: true}}",
    "TDE": "{tde: {}}",
}
LIMITS = {"name": 1.15, "password": 1.2, "protection": 3.2, "TDE": 3.2}
Round = Mapping[str, Mapping[str, float]]  # change -> API -> calls per change


def measure(folder: Path, *, rounds: int, size: int) -> Part:
    return part([_round(folder / f"calls{number}", size) for number in range(rounds)], size=size)


def _round(folder: Path, size: int) -> Round:
    """Every change once on every instance of a new fleet: what is encrypted stays so."""
    with simulator(folder, instances=size) as sim:
        return {change: _calls(sim, change, size) for change in CHANGES}


def _calls(sim: Sim, change: str, size: int) -> Mapping[str, float]:
    sim.mark()
    bench_jobs.run(sim, bench_jobs.manifest(CHANGES[change]), "--accept-irreversible", str(size))
    book = sim.book()
    return {api: times / len(accepted(book)) for api, times in counted(book).items()}


def part(rounds: Sequence[Round], *, size: int) -> Part:
    apis = sorted({api for found in rounds for calls in found.values() for api in calls})
    columns = [*(api for api in apis if api not in WRITES), *(api for api in apis if api in WRITES)]
    sums = {change: middle([sum(found[change].values()) for found in rounds]) for change in CHANGES}
    return Part(
        title="API calls per change",
        size=f"{len(rounds)} rounds of {size} instances, no quota",
        columns=("change", "all", *columns),
        rows=[
            (
                change,
                f"{sums[change]:.3f}",
                *(f"{middle([found[change].get(api, 0.0) for found in rounds]):.3f}" for api in columns),
            )
            for change in CHANGES
        ],
        checks=[
            Check(what=f"calls per change: {change}", value=sums[change], limit=limit, at_most=True)
            for change, limit in LIMITS.items()
        ],
        rounds=list(rounds),
    )
