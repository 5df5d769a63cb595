"""What more targets, lanes and events cost: CPU and memory of processes, which hardly depend on who else works here."""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import bench_jobs
from bench_lab import HERE, NO_QUOTA, Sim, Used, child, complaint, simulator
from bench_part import Bars, Check, Part, middle

STEPS = (10, 1, 0.1)  # of the size: with 10,000 instances 100,000, 10,000 and 1,000 targets
LANES = 20
EVENTS = 100  # of the size: with 10,000 instances 1,000,000
EVENTS_A_ROW = 5
PACER_SECONDS = 5
STARTS = 20
MB = 1_000_000.0
Round = Mapping[str, float]


def measure(folder: Path, *, rounds: int, size: int) -> Part:
    sizes = [round(size * step) for step in STEPS]
    _python(folder, "bench_replay.py", "make", str(folder / "journal"), str(size * EVENTS // EVENTS_A_ROW))
    for targets in sizes:
        _write_yaml(folder, targets)
    parts: Sequence[Callable[[Path], Round]] = (_starts, _pacers, _replay)
    found: list[Round] = []
    with (
        simulator(folder / "fleet", instances=sizes[0]) as fleet,
        simulator(folder / "lanes", instances=size // LANES * LANES, faults=_regions()) as lanes,
    ):
        for number in range(rounds):
            values = _validating(folder, sizes) | _running(fleet, sizes, number) | _laning(lanes, number)
            for each in parts:
                values |= each(folder)
            found.append(values)
    return part(found, sizes)


def _regions() -> str:
    names = ", ".join(f"cn-bench-{number:02d}" for number in range(LANES))
    return NO_QUOTA.replace("[cn-hangzhou]", f"[{names}]")


def _python(folder: Path, script: str, *arguments: str) -> Used:
    return _done(child([sys.executable, str(HERE / script), *arguments], {"HOME": str(folder)}, folder), folder)


def _done(used: Used, folder: Path) -> Used:
    if used.code != 0:
        raise RuntimeError(f"ended with {used.code}: {complaint(folder)}")
    return used


def _write_yaml(folder: Path, targets: int) -> None:
    with (folder / f"{targets}.yaml").open("w", encoding="utf-8") as file:
        file.write("version: 1\nname: bench\ndefaults: {region: cn-hangzhou}\n")
        file.write("changes:\n  - attributes: {name: '{team}-{id}'}\ntargets:\n")
        file.writelines(f"  - {{id: r-sim{number:06d}, vars: {{team: pay}}}}\n" for number in range(targets))


def _validating(folder: Path, sizes: Sequence[int]) -> dict[str, float]:
    """`validate` and libyaml's bare events, of each size in turn."""
    values: dict[str, float] = {}
    for targets in sizes:
        path = str(folder / f"{targets}.yaml")
        used = _done(child([bench_jobs.BATCHMOD, "validate", path], {"HOME": str(folder)}, folder), folder)
        bare = _python(folder, "bench_events.py", path)
        values |= {f"validate cpu {targets}": used.cpu, f"validate rss {targets}": used.max_rss / MB}
        values |= {f"events cpu {targets}": bare.cpu, f"validate ratio {targets}": used.cpu / bare.cpu}
    return values


def _renamed(sim: Sim, name: str, targets: Sequence[Sequence[str]]) -> Used:
    """These targets have been renamed by one run."""
    with (sim.folder / "some.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "region"), *targets])
    sim.mark()
    change = f"{{attributes: {{name: '{name}-{{id}}'}}}}"
    return bench_jobs.run(sim, bench_jobs.manifest(change, targets="some.csv")).used


def _fleet(sim: Sim) -> list[list[str]]:
    with (sim.folder / "fleet.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _running(sim: Sim, sizes: Sequence[int], number: int) -> dict[str, float]:
    """Plan, run and report of each size; CPU per target is what it takes beyond a run of one target."""
    fleet = _fleet(sim)
    values: dict[str, float] = {}
    start = _renamed(sim, f"s{number}", fleet[:1])
    for targets in sizes:
        used = _renamed(sim, f"r{number}-{targets}", fleet[:targets])
        values |= {
            f"run cpu {targets}": (used.cpu - start.cpu) / targets * 1e6,
            f"run rss {targets}": used.max_rss / MB,
        }
        values |= {f"run wall {targets}": used.wall}
    values["flatness"] = max(values[f"run cpu {each}"] for each in sizes) / min(
        values[f"run cpu {each}"] for each in sizes
    )
    return values


def _laning(sim: Sim, number: int) -> dict[str, float]:
    """All lanes in one run, and each in one of its own; CPU beyond a run of one target."""
    fleet = _fleet(sim)
    start = _renamed(sim, f"o{number}", fleet[:1]).cpu
    together = _renamed(sim, f"t{number}", fleet).cpu - start
    regions = sorted({region for _, region in fleet})
    alone = sum(_renamed(sim, f"a{number}", [row for row in fleet if row[1] == each]).cpu - start for each in regions)
    return {"lanes together": together, "lanes alone": alone, "lanes ratio": together / alone}


def _starts(folder: Path) -> dict[str, float]:
    """`--help` and a Python that does nothing, in turn; the medians."""
    pairs = []
    for _ in range(STARTS):
        ours = _done(child([bench_jobs.BATCHMOD, "--help"], {"HOME": str(folder)}, folder), folder)
        bare = _done(child([sys.executable, "-c", "pass"], {"HOME": str(folder)}, folder), folder)
        pairs.append((ours, bare))
    return {
        "help ms": middle([ours.wall for ours, _ in pairs]) * 1e3,
        "pass ms": middle([bare.wall for _, bare in pairs]) * 1e3,
        "help ratio": middle([ours.wall / bare.wall for ours, bare in pairs]),
        "help cpu ratio": middle([ours.cpu / bare.cpu for ours, bare in pairs]),
    }


def _pacers(folder: Path) -> dict[str, float]:
    return {"pacers": float(_python(folder, "bench_pacers.py", str(LANES), str(PACER_SECONDS)).out)}


def _replay(folder: Path) -> dict[str, float]:
    used = _python(folder, "bench_replay.py", "read", str(folder / "journal"))
    cpu, rows = used.out.split()
    return {"replay cpu": float(cpu), "replay rows": float(rows), "replay rss": used.max_rss / MB}


def part(rounds: Sequence[Round], sizes: Sequence[int]) -> Part:
    def of(name: str) -> float:
        return middle([each[name] for each in rounds])

    most = sizes[0]
    limits = {
        f"validate rss {most}": (f"MB of `validate`, {most:,} targets", 150.0),
        f"validate ratio {most}": (f"CPU of `validate` ÷ libyaml's events, {most:,} targets", 4.0),
        f"run rss {most}": (f"MB of plan, run and report, {most:,} targets", 400.0),
        "flatness": ("CPU a target, dearest ÷ cheapest size", 1.2),
        "lanes ratio": (f"CPU of {LANES} lanes at once ÷ one by one", 1.1),
        "pacers": (f"share of a core of {LANES} waiting pacers", 0.05),
        "help ratio": ("`batchmod --help` ÷ `python -c pass`", 6.0),
    }
    return Part(
        title="Scale",
        size=f"{len(rounds)} rounds, no quota; CPU of a run is what it takes beyond one of one target",
        columns=("", "cost"),
        rows=_rows(of, sizes),
        checks=[Check(what=what, value=of(name), limit=limit, at_most=True) for name, (what, limit) in limits.items()],
        bars=[
            Bars(
                title="CPU of a run by number of targets",
                axis="µs a target",
                labels=[f"{each:,}" for each in reversed(sizes)],
                values=[round(of(f"run cpu {each}")) for each in reversed(sizes)],
            )
        ],
        rounds=list(rounds),
    )


def _rows(of: Callable[[str], float], sizes: Sequence[int]) -> list[tuple[str, str]]:
    validated = {
        each: f"{of(f'validate cpu {each}'):.2f} s CPU, {of(f'validate rss {each}'):.0f} MB, "
        f"{of(f'validate ratio {each}'):.1f} times libyaml's bare events"
        for each in reversed(sizes)
    }
    ran = {
        each: f"{of(f'run cpu {each}'):.0f} µs CPU a target, {of(f'run rss {each}'):.0f} MB, "
        f"{of(f'run wall {each}'):.1f} s"
        for each in reversed(sizes)
    }
    events = of("replay rows") * EVENTS_A_ROW
    return [
        *((f"`validate` of {each:,} targets in YAML", cost) for each, cost in validated.items()),
        *((f"`run` of {each:,} renames", cost) for each, cost in ran.items()),
        (f"{LANES} lanes in one run", f"{of('lanes together'):.2f} s CPU; one by one {of('lanes alone'):.2f} s"),
        (f"{LANES} waiting pacers", f"{of('pacers'):.2%} of a core"),
        (f"replay of {events:,.0f} events", f"{of('replay cpu'):.1f} s CPU, {of('replay rss'):.0f} MB"),
        (
            "`batchmod --help`",
            f"{of('help ms'):.0f} ms; `python -c pass` {of('pass ms'):.0f} ms; by CPU {of('help cpu ratio'):.1f} times",
        ),
    ]
