"""Changes per second with no quota, beside the vendor's clients: interleaved, against one simulator."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_jobs
from bench_book import accepted, counted, span
from bench_lab import HERE, Sim, child, complaint, simulator
from bench_part import Bars, Check, Part, middle

BUSY = 0.9  # of the time: from here on the simulator is the bottleneck
LONGER = 3  # times the usual fleet: what is under way at the end of a run is to be a small part of it
SLOW_SHARE = 15  # the vendor's clients make one call where the others make fifteen
RENAMES, PASSWORDS = "batchmod renames", "batchmod passwords"
KINDS = {"raw": "raw signed loop", "sdk-async": "vendor async", "sdk-sync": "vendor sync", "rpc": "vendor RPC"}
CLIENTS = (  # side by side what is compared: a machine's speed changes within a minute
    RENAMES,
    KINDS["raw"],
    PASSWORDS,
    *(title for kind, title in KINDS.items() if kind != "raw"),
)
CHANGES = {
    RENAMES: "{{attributes: {{name: '{name}-{{id}}'}}}}",
    PASSWORDS: "{{password: {{generate: {{length: 24}}}}}}",
}

COLUMNS = (
    "client",
    "",
    "changes/s",  # from the first change to the last, as the simulator accepted them
    "of raw",
    "by the whole command",
    "started to finished",
    "client CPU µs",
    "simulator CPU µs",
    "simulator busy",
    "calls per change",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One turn of one client. Rates are per second, CPU in seconds per change."""

    client: str
    tls: bool
    changes: int
    rate: float  # from the first change to the last, as the simulator accepted them
    wall_rate: float | None  # of the whole command
    run_rate: float | None  # from the report's started_at to finished_at
    client_cpu: float
    sim_cpu: float
    sim_busy: float  # share of the time from first call to last
    calls: Mapping[str, float]  # per change, by API

    @property
    def limited(self) -> bool:
        return self.sim_busy > BUSY

    def kept(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def measure(folder: Path, *, rounds: int, size: int) -> Part:
    turns: list[list[Asked]] = []
    size *= LONGER
    with simulator(folder / "throughput", instances=size) as sim:
        for number in range(rounds):
            turn = [
                _ask(sim, client, tls=tls, size=size, name=f"n{number}{'st'[tls]}{at}")
                for tls in (False, True)
                for at, client in _rotated(number)
            ]
            turns.append(turn)
    return part(turns, size=size)


def _rotated(number: int) -> list[tuple[int, str]]:
    """Every client goes first once in a while."""
    named = list(enumerate(CLIENTS))
    first = number % len(named)
    return named[first:] + named[:first]


def _ask(sim: Sim, client: str, *, tls: bool, size: int, name: str) -> Asked:
    """One client has changed its share of the fleet."""
    before = sim.mark()
    wall_rate = run_rate = None
    if client in CHANGES:
        ran = bench_jobs.run(sim, bench_jobs.manifest(CHANGES[client].format(name=name)), tls=tls)
        cpu, wall_rate, run_rate = ran.used.cpu, ran.changed / ran.used.wall, ran.changed / ran.seconds
    else:
        (kind,) = (kind for kind, title in KINDS.items() if title == client)
        cpu = _other(sim, kind, tls=tls, size=size if kind == "raw" else max(1, size // SLOW_SHARE), name=name)
    used, book = sim.usage() - before, sim.book()
    made, seconds = accepted(book), span(book)
    changes = len(made)
    if changes < 2:
        raise RuntimeError(f"{client} changed too few: {complaint(sim.folder)}")
    return Asked(
        client=client,
        tls=tls,
        changes=changes,
        rate=(changes - 1) / (made[-1].at - made[0].at),
        wall_rate=wall_rate,
        run_rate=run_rate,
        client_cpu=cpu / changes,
        sim_cpu=used / changes,
        sim_busy=used / seconds,
        calls={api: times / changes for api, times in counted(book).items()},
    )


def _other(sim: Sim, kind: str, *, tls: bool, size: int, name: str) -> float:
    """CPU seconds of the client's calls alone, without its start."""
    fleet = str(sim.folder / "fleet.csv")
    arguments = [sys.executable, str(HERE / "bench_clients.py"), kind, fleet, str(size), name]
    used = child(arguments, sim.environment(tls=tls), sim.folder)
    if used.code != 0:
        raise RuntimeError(f"{kind} ended with {used.code}: {complaint(sim.folder)}")
    return float(json.loads(used.out)["cpu"])


def part(turns: Sequence[Sequence[Asked]], *, size: int) -> Part:
    """Medians over the rounds; ratios are taken within each round."""
    found = {(client, tls): _of(turns, client, tls=tls) for tls in (False, True) for client in CLIENTS}
    return Part(
        title="Throughput without a quota",
        size=f"{len(turns)} interleaved rounds of {size} changes (the vendor's clients {max(1, size // SLOW_SHARE)})",
        columns=COLUMNS,
        rows=[_row(turns, client, tls=tls) for client, tls in found],
        checks=_checks(turns),
        notes=[_limited(asked) for asked in found.values() if _mostly_limited(asked)],
        bars=[
            Bars(
                title="Changes per second, plain http",
                axis="changes/s",
                labels=CLIENTS,
                values=[round(middle([each.rate for each in found[client, False]])) for client in CLIENTS],
            )
        ],
        rounds=[[each.kept() for each in turn] for turn in turns],
    )


def _of(turns: Sequence[Sequence[Asked]], client: str, *, tls: bool) -> list[Asked]:
    return [each for turn in turns for each in turn if (each.client, each.tls) == (client, tls)]


def ratio(turns: Sequence[Sequence[Asked]], one: str, other: str, *, tls: bool) -> float:
    """The median of the rounds' ratios."""
    pairs = zip(_of(turns, one, tls=tls), _of(turns, other, tls=tls), strict=True)
    return middle([mine.rate / theirs.rate for mine, theirs in pairs])


def _row(turns: Sequence[Sequence[Asked]], client: str, *, tls: bool) -> list[str]:
    asked = _of(turns, client, tls=tls)
    walls = [each.wall_rate for each in asked if each.wall_rate is not None]
    runs = [each.run_rate for each in asked if each.run_rate is not None]
    return [
        client,
        "TLS" if tls else "plain",
        f"{middle([each.rate for each in asked]):,.0f}",
        f"{ratio(turns, client, KINDS['raw'], tls=tls):.2f}",
        f"{middle(walls):,.0f}" if walls else "",
        f"{middle(runs):,.0f}" if runs else "",
        f"{middle([each.client_cpu for each in asked]) * 1e6:,.0f}",
        f"{middle([each.sim_cpu for each in asked]) * 1e6:,.0f}",
        f"{middle([each.sim_busy for each in asked]):.0%}",
        f"{middle([sum(each.calls.values()) for each in asked]):.2f}",
    ]


def _mostly_limited(asked: Sequence[Asked]) -> bool:
    return middle([each.sim_busy for each in asked]) > BUSY


def _limited(asked: Sequence[Asked]) -> str:
    return f"{asked[0].client}, {'TLS' if asked[0].tls else 'plain'}: the simulator was the bottleneck; the client can do more."


def _checks(turns: Sequence[Sequence[Asked]]) -> list[Check]:
    raw, vendor = KINDS["raw"], KINDS["sdk-async"]
    wanted = (
        (RENAMES, raw, False, 0.6),
        (RENAMES, raw, True, 0.6),
        (PASSWORDS, raw, False, 0.4),
        (PASSWORDS, raw, True, 0.4),
        (RENAMES, vendor, False, 1.6),
        (RENAMES, vendor, True, 3.3),
    )
    return [
        Check(
            what=f"{one.removeprefix('batchmod ')} per second ÷ {other}, {'TLS' if tls else 'plain'}",
            value=round(ratio(turns, one, other, tls=tls), 3),
            limit=limit,
            at_most=False,
            bound=_bound(turns, one, other, tls=tls),
        )
        for one, other, tls, limit in wanted
    ]


def _bound(turns: Sequence[Sequence[Asked]], one: str, other: str, *, tls: bool) -> str:
    """Which way the ratio is off when the simulator held one of the two back."""
    mine, theirs = (_mostly_limited(_of(turns, client, tls=tls)) for client in (one, other))
    match mine, theirs:
        case True, False:
            return "a lower bound: the simulator held batchmod back"
        case False, True:
            return f"an upper bound: the simulator held {other} back"
        case True, True:
            return "the simulator held both back"
        case _:
            return ""
