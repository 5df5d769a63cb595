"""One campaign on 1, 2 and 4 workers whose lanes have a fixed quota each, beside one `run` over the same lanes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import bench_jobs
from bench_book import Called, accepted, of_api, throttled_share
from bench_lab import Sim, child, complaint, simulator
from bench_part import Bars, Check, Part, middle
from bench_workers import Server, Workers, machine_cpu, server, workers

API = "ModifyInstanceAttribute"
COUNTS = (1, 2, 4)  # workers
EACH = 2  # lanes that one worker takes
QUOTA = 40  # calls a second, of each lane
LEAST = 0.9  # of linear
THROTTLED = 0.01  # at most
FULL = 0.95  # of the machine's CPU: more workers cannot do more
LIMITS = f"{{rate: {QUOTA}/1s, apis: {{DescribeInstances: 1000000/1s}}, connections: 64}}"
_CHUNKS = """SELECT region, chunk.n, min(at), max(at), min(at) FILTER (WHERE phase = 'armed'), max(at) FILTER (WHERE phase = 'armed')
  FROM chunk JOIN (SELECT run, seq, phase, (body::jsonb->>'at')::float8 AS at FROM step) AS told
    ON told.run = chunk.run AND told.seq = ANY(chunk.rows)
  WHERE chunk.run = %s GROUP BY region, chunk.n ORDER BY region, chunk.n"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One campaign or run. `hand_over`: seconds from the last step of a chunk to the first of the lane's next; `idle`:
    from the last change that it sent to the first of the next, so that settling counts, too. Both are middles.
    """

    changes: float  # a second, from the first to the last that was accepted
    throttled: float  # share of the changes that were sent
    cpu: float  # µs a change, of all workers, or of the whole `run`
    cores: float  # of them in use meanwhile, by one worker
    database: float  # µs a change
    busy: float  # of the machine's CPU, whoever used it
    hand_over: float
    idle: float


def measure(folder: Path, *, rounds: int, size: int) -> Part:
    """Interleaved; each lane has a tenth of `size`."""
    each = max(size // 10, 1)
    found: list[dict[str, Found]] = []
    with server() as database:
        for number in range(rounds):
            found.append({})
            for count in COUNTS:
                place = folder / f"{number}-{count}"
                with _cloud(place / "run", count, each) as sim:
                    found[-1][name_of(count, alone=True)] = _alone(sim, count * EACH * each)
                with _cloud(place / "workers", count, each) as sim:
                    url = database.make(f"bench_{number}_{count}")
                    found[-1][name_of(count)] = _campaign(sim, database, url, count, count * EACH * each)
    return part(found, each=each)


def name_of(count: int, *, alone: bool = False) -> str:
    return f"run, {count * EACH} lanes" if alone else f"{count} worker{'s' * (count > 1)}, {count * EACH} lanes"


def _cloud(folder: Path, count: int, each: int) -> AbstractContextManager[Sim]:
    names = ", ".join(f"cn-bench-{number:02d}" for number in range(count * EACH))
    faults = f"quotas: {{default: 1000000/1s, DescribeInstanceAttribute: 1000000/1s, {API}: {QUOTA}/1s}}\nregions: [{names}]\n"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return simulator(folder, instances=count * EACH * each, faults=faults)


def _text() -> str:
    return bench_jobs.manifest("{attributes: {name: 'cluster-{id}'}}", limits=LIMITS)


def _alone(sim: Sim, changes: int) -> Found:
    sim.mark()
    before = machine_cpu()
    ran = bench_jobs.run(sim, _text())
    book = sim.book()
    return _found(book, changes, cpu=ran.used.cpu, each=ran.used.cpu, database=0.0, before=before, waits=[])


def _campaign(sim: Sim, database: Server, url: str, count: int, changes: int) -> Found:
    """From the submission to the end; how long the workers take to start does not count."""
    job = sim.folder / "job.yaml"
    job.write_text(_text(), encoding="utf-8")
    with workers(sim, url, count=count, lanes=EACH) as working:
        sim.mark()
        before, cpu, served = machine_cpu(), working.cpu(), database.cpu()
        submitted = child(
            [bench_jobs.BATCHMOD, "submit", str(job), "--store", url, "--yes"], sim.environment(), sim.folder
        )
        if submitted.code != 0:
            raise RuntimeError(f"batchmod submit ended with {submitted.code}: {complaint(sim.folder)}")
        run_id = submitted.out.strip()
        working.until_ended(run_id)
        cpu, served = working.cpu() - cpu, database.cpu() - served
        waits = list(_waits(working, run_id))
    return _found(sim.book(), changes, cpu=cpu, each=cpu / count, database=served, before=before, waits=waits)


def _waits(working: Workers, run_id: str) -> Iterator[tuple[float, float]]:
    """Of each pair of chunks of one lane: hand-over and idle time, in seconds."""
    for one, other in pairwise(working.rows(_CHUNKS, run_id)):
        if one[0] == other[0]:
            yield other[2] - one[3], other[4] - one[5]


def _found(
    book: Sequence[Called],
    changes: int,
    *,
    cpu: float,
    each: float,
    database: float,
    before: tuple[float, float],
    waits: Sequence[tuple[float, float]],
) -> Found:
    """Raises RuntimeError unless every instance was changed, once."""
    times = [call.at for call in accepted(book)]
    if len(times) != changes:
        raise RuntimeError(f"{len(times)} changes were accepted, of {changes}")
    seconds = times[-1] - times[0]
    after = machine_cpu()
    return Found(
        changes=(len(times) - 1) / seconds,
        throttled=throttled_share(of_api(book, API)),
        cpu=1e6 * cpu / changes,
        cores=each / seconds,
        database=1e6 * database / changes,
        busy=(after[0] - before[0]) / (after[1] - before[1]),
        hand_over=middle([wait for wait, _ in waits]) if waits else 0.0,
        idle=middle([idle for _, idle in waits]) if waits else 0.0,
    )


def part(rounds: Sequence[Mapping[str, Found]], *, each: int) -> Part:
    def middle_of(name: str, what: str) -> float:
        return middle([getattr(found[name], what) for found in rounds])

    def quiet(*names: str) -> Sequence[Mapping[str, Found]]:
        """The rounds in which the machine had CPU left, if there are any."""
        return [found for found in rounds if all(found[name].busy < FULL for name in names)] or rounds

    def beside(name: str, other: str) -> float:
        """Of the changes per second; in each round by itself, for the machine changes between them."""
        return middle([found[name].changes / found[other].changes for found in quiet(name, other)])

    def full(*names: str) -> str:
        left = quiet(*names)
        if all(found[name].busy < FULL for found in left for name in names):
            return (
                ""
                if len(left) == len(rounds)
                else f"{len(left)} of {len(rounds)} rounds: in the others the machine's CPU was full"
            )
        return "the machine's CPU was full"

    names = [name for count in COUNTS for name in (name_of(count, alone=True), name_of(count))]
    lanes = {name: count * EACH for count in COUNTS for name in (name_of(count, alone=True), name_of(count))}
    return Part(
        title="Many machines",
        size=f"{len(rounds)} interleaved rounds of {each} renames a lane, {QUOTA}/1s each; {EACH} lanes a worker",
        columns=(
            "", "changes/s", "of the quota", "throttled", "CPU µs a change", "of a core, each", "PostgreSQL µs a change",
            "hand-over, s", "lane idle, s", "machine busy",
        ),
        rows=[
            (
                name,
                f"{middle_of(name, 'changes'):.1f}",
                f"{middle_of(name, 'changes') / (lanes[name] * QUOTA):.1%}",
                f"{middle_of(name, 'throttled'):.2%}",
                f"{middle_of(name, 'cpu'):,.0f}",
                f"{middle_of(name, 'cores'):.0%}",
                f"{middle_of(name, 'database'):,.0f}" if "worker" in name else "",
                f"{middle_of(name, 'hand_over'):.2f}" if "worker" in name else "",
                f"{middle_of(name, 'idle'):.2f}" if "worker" in name else "",
                f"{middle_of(name, 'busy'):.0%}",
            )
            for name in names
        ],
        checks=[
            *(
                Check(
                    what=f"changes/s of {count} workers ÷ {count} times those of one",
                    value=beside(name_of(count), name_of(1)) / count, limit=LEAST, at_most=False,
                    bound=full(name_of(count), name_of(1)),
                )
                for count in COUNTS[1:]
            ),
            *(
                Check(
                    what=f"changes/s of {name_of(count)} ÷ one run's",
                    value=beside(name_of(count), name_of(count, alone=True)), limit=LEAST, at_most=False,
                    bound=full(name_of(count), name_of(count, alone=True)),
                )
                for count in COUNTS
            ),
            Check(
                what=f"share throttled, {name_of(COUNTS[-1])}",
                value=middle([found[name_of(COUNTS[-1])].throttled for found in quiet(name_of(COUNTS[-1]))]),
                limit=THROTTLED, at_most=True, bound=full(name_of(COUNTS[-1])),
            ),
        ],
        bars=[
            Bars(
                title=f"Changes per second, {QUOTA}/1s a lane", axis="changes/s",
                labels=names, values=[round(middle_of(name, "changes"), 1) for name in names],
            )
        ],
        rounds=[{name: asdict(one) for name, one in found.items()} for found in rounds],
    )  # fmt: skip
