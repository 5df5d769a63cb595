"""A schedule: what goes wrong, and when. Values only; the same seed gives the same schedule."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from batchmod.model.events import Proof
from batchmod.sim.scenario import Fault, FaultKind

MINUTE = 60.0
DAY = 86_400
FENCE = 16 * MINUTE
VALID = 15 * MINUTE  # how long a signed request can land


class Task(StrEnum):
    """What a manifest asks for."""

    NAME = "name"
    PROTECTION = "protection"
    PASSWORD = "password"
    CHOSEN = "chosen"
    TDE = "tde"


class Act(StrEnum):
    """What an operator does with a new process."""

    GO = "go"  # resume what is unfinished, else run
    ABANDON = "abandon"
    ANEW = "anew"  # abandon what is unfinished, then run with other values


class Port(StrEnum):
    JOURNAL = "journal"
    ESCROW = "escrow"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A port that fails from its `nth` write on (from 1). `landed`: the first failed write took effect all the same."""

    port: Port
    nth: int
    landed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process. Boundaries are counted from 1: before and after each write of journal and store, each request and
    each login.
    """

    act: Act = Act.GO
    pause: float = 5.0  # seconds since the one before ended
    skew: float = 0.0  # seconds that its wall clock is ahead of the cloud's
    jump: tuple[int, float] | None = None  # at this boundary, the wall clock jumps by so many seconds
    crash: int | None = None  # the boundary at which it is killed
    signal: int | None = None  # the boundary at which it gets SIGTERM
    broken: Broken | None = None
    reads: tuple[tuple[int, FaultKind], ...] = ()  # the n-th read of it, from 1, and how it goes wrong
    unsent: frozenset[int] = frozenset()  # the n-th write to the service finds no connection
    blind: int = 0  # so many logins cannot tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddling:
    """Somebody else changes an instance."""

    at: float
    instance: int
    what: Task | None  # None: a task that changes nothing
    seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    name: str
    instances: int = 1
    tasks: tuple[Task, ...] = (Task.NAME,)
    level: Proof = Proof.LOGIN
    faults: tuple[tuple[int, tuple[Fault, ...]], ...] = ()  # of the writes to an instance, in order
    meddling: tuple[Meddling, ...] = ()
    lag: float = 0.2
    seconds: float = 1.0  # that a task takes
    attempts: int = 6
    max_failures: int | str | None = None
    waves: tuple[int | str, ...] = ("100%",)
    wave_pause: str = "0s"
    window: tuple[str, str] | None = None  # times of every day, UTC; the cloud's clock begins at 05:06:07
    connections: int = 64
    changing: int | None = None
    lives: tuple[Life, ...] = (Life(),)


def _fault(kind: FaultKind, *, landed: bool = True, seconds: float = 0.0, code: str = "") -> Fault:
    return Fault(kind=kind, landed=landed, seconds=seconds, code=code)


FAULTS: tuple[Fault, ...] = (
    _fault(FaultKind.OK),
    _fault(FaultKind.RESET_BEFORE, landed=False),
    _fault(FaultKind.RESET_AFTER),
    _fault(FaultKind.HANG, seconds=120),
    _fault(FaultKind.HANG, seconds=120, landed=False),
    _fault(FaultKind.LATE, landed=False, seconds=5),
    _fault(FaultKind.LATE, landed=False, seconds=90),
    _fault(FaultKind.LATE, landed=False, seconds=10 * MINUTE),
    _fault(FaultKind.LATE, landed=False, seconds=VALID - 2),
    _fault(FaultKind.LATE, landed=False, seconds=20 * MINUTE),
    _fault(FaultKind.HTTP_500, landed=False),
    _fault(FaultKind.HTTP_500),
    _fault(FaultKind.HTML_502, landed=False),
    _fault(FaultKind.TRUNCATED),
    _fault(FaultKind.GARBLED),
    _fault(FaultKind.SLOW, seconds=3),
    _fault(FaultKind.THROTTLE),
    _fault(FaultKind.TASK_EXISTS),
    _fault(FaultKind.REFUSE, code="Some.NewRefusal"),
    _fault(FaultKind.FORBIDDEN),
)
READ_FAULTS = (FaultKind.RESET_BEFORE, FaultKind.HTTP_500, FaultKind.THROTTLE, FaultKind.GARBLED, FaultKind.HANG)
LEVELS = (Proof.ACCEPTED, Proof.SETTLED, Proof.LOGIN)
SHAPES: tuple[tuple[tuple[Task, ...], Proof], ...] = (
    ((Task.NAME,), Proof.LOGIN),
    ((Task.TDE,), Proof.LOGIN),
    *(((Task.PASSWORD,), level) for level in LEVELS),
    *(((Task.CHOSEN,), level) for level in LEVELS),
    ((Task.NAME, Task.PASSWORD, Task.TDE), Proof.LOGIN),
)
WAVES: tuple[tuple[int | str, ...], ...] = (
    ("100%",),
    (1, "100%"),
    (1, 2, "50%"),
    (1, "10%", "100%"),
    ("30%", "60%"),
    (2, "100%"),
)
LONG = ("05:00", "06:20")  # enough for what may take an hour
SECOND: tuple[tuple[Act, float], ...] = ((Act.GO, 5.0), (Act.GO, 20 * MINUTE), (Act.ANEW, 5.0), (Act.ANEW, 17 * MINUTE))


def is_open(window: tuple[str, str], at: float) -> bool:
    """Whether the window holds this moment, in seconds since the epoch; by hand, not as the product has it."""
    start, end = (int(text[:2]) * 3600 + int(text[3:]) * 60 for text in window)
    return start <= at % DAY < end


def until_open(window: tuple[str, str], at: float) -> float:
    """Seconds until a process finds the window just opened."""
    start = int(window[0][:2]) * 3600 + int(window[0][3:]) * 60
    return (start - at) % DAY + 1.0


def singles() -> Iterator[Schedule]:
    """One instance, every shape, every fault of its first write; not killed yet."""
    for tasks, level in SHAPES:
        for fault in FAULTS:
            landed = "+" if fault.landed else "-"
            name = f"{'.'.join(tasks)}/{level}/{fault.kind}{landed}{fault.seconds:g}"
            yield Schedule(name=name, tasks=tasks, level=level, faults=((0, (fault,)),))


def killed(schedule: Schedule, boundaries: int) -> Iterator[Schedule]:
    """The same, killed at each boundary of its first process, and what an operator may do then."""
    for crash in range(1, boundaries + 1):
        for act, pause in SECOND:
            lives = (Life(crash=crash), Life(act=act, pause=pause))
            yield replace(schedule, name=f"{schedule.name}/{crash}/{act}{pause:g}", lives=lives)


def drawn(seed: str) -> Schedule:
    """A fleet, and whatever the dice say."""
    dice = Random(seed)
    count = dice.randint(1, 6)
    tasks, level = dice.choice(SHAPES[2:]) if dice.random() < 0.7 else dice.choice(SHAPES)
    if dice.random() < 0.3:
        extra = [Task.NAME, Task.PROTECTION, Task.TDE]
        tasks = tuple(sorted({*tasks, *dice.sample(extra, dice.randint(0, 2))}, key=list(Task).index))
        tasks = tuple(task for task in tasks if not (task is Task.CHOSEN and Task.PASSWORD in tasks))
    lives = tuple(_life(dice, first=number == 0) for number in range(dice.choice((1, 2, 2, 3, 3, 4))))
    schedule = Schedule(
        name=seed,
        instances=count,
        tasks=tasks,
        level=level,
        faults=tuple((each, _faults(dice)) for each in range(count) if dice.random() < 0.8),
        meddling=tuple(_meddling(dice, count) for _ in range(dice.choice((0, 0, 0, 0, 1, 2)))),
        lag=dice.choice((0.0, 0.2, 2.0, 20.0)),
        seconds=dice.choice((0.0, 1.0, 10.0, 200.0)),
        attempts=dice.choice((1, 2, 6)),
        max_failures=dice.choice((None, None, None, 1, 2)),
        changing=dice.choice((None, None, 1, 2)),
        lives=lives,
    )
    if dice.random() < 0.5:  # drawn last: what stands above has its name for good
        return schedule
    return replace(schedule, waves=dice.choice(WAVES), wave_pause=dice.choice(("0s", "10m")))


def failing(seed: str) -> Schedule:
    """A larger fleet of which a good part is refused or not answered, a small budget, and processes that die."""
    dice = Random(f"failing{seed}")
    count, badness = dice.randint(3, 24), dice.choice((0.1, 0.4, 0.9))
    bad = (
        *[_fault(FaultKind.REFUSE, code="Some.NewRefusal")] * 4,
        _fault(FaultKind.RESET_BEFORE, landed=False),
        _fault(FaultKind.RESET_AFTER),
        _fault(FaultKind.TASK_EXISTS),
        _fault(FaultKind.HTTP_500, landed=False),
    )
    faults = tuple((each, tuple(dice.choices(bad, k=dice.choice((1, 2, 7))))) for each in range(count))
    deaths = tuple(
        Life(
            crash=dice.choice((None, dice.randint(1, 40), dice.randint(1, 400))), pause=dice.choice((5.0, 17 * MINUTE))
        )
        for _ in range(dice.choice((0, 1, 1, 2, 4)))
    )
    return Schedule(
        name=f"failing{seed}",
        instances=count,
        tasks=dice.choice(((Task.NAME,), (Task.PASSWORD,), (Task.NAME, Task.PASSWORD))),
        level=dice.choice(LEVELS),
        faults=tuple(each for each in faults if dice.random() < badness),
        attempts=dice.choice((1, 2, 6)),
        max_failures=dice.choice((1, 2, 5, "2%", "10%", "20%", "30%", "40%")),
        meddling=tuple(
            Meddling(at=dice.choice((0.1, 1.0)), instance=each, what=None, seconds=7200.0)
            for each in dice.sample(range(count), dice.choice((0, 0, 3)))
        ),
        changing=dice.choice((None, None, 1, 3)),
        waves=dice.choice(WAVES),
        wave_pause=dice.choice(("0s", "10m")),
        connections=dice.choice((1, 2, 8, 64)),
        lives=(*deaths, Life()),
    )


def windowed(seed: str) -> Schedule:
    """A fleet that one window may be too short for, and a process in each of the next ones, and now and then between."""
    dice = Random(f"windowed{seed}")
    count = dice.randint(2, 8)
    lives = tuple(
        Life(pause=dice.choice((60.0, 20 * MINUTE, 24 * 60 * MINUTE)), crash=dice.choice((None, dice.randint(1, 120))))
        for _ in range(dice.choice((1, 2, 4)))
    )
    tasks = dice.choice(((Task.NAME,), (Task.PASSWORD,), (Task.NAME, Task.PASSWORD), (Task.NAME, Task.TDE)))
    windows = (("05:00", "05:16"), ("05:10", "05:30"), ("04:00", "05:07"), LONG)
    return Schedule(
        name=f"windowed{seed}",
        instances=count,
        tasks=tasks,
        level=dice.choice(LEVELS),
        faults=tuple((each, _faults(dice)) for each in range(count) if dice.random() < 0.3),
        seconds=dice.choice((1.0, 100.0, 200.0)),
        changing=dice.choice((None, 1, 2)),
        waves=dice.choice(WAVES),
        wave_pause=dice.choice(("0s", "10m")),
        window=LONG if Task.TDE in tasks else dice.choice(windows),
        lives=lives,
    )


def _faults(dice: Random) -> tuple[Fault, ...]:
    return tuple(dice.choice(FAULTS) for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 5))))


def _life(dice: Random, *, first: bool) -> Life:
    pause = dice.choice((1.0, 30.0, 5 * MINUTE, FENCE - 1, FENCE + 1, 40 * MINUTE))
    end = dice.choice(("crash", "crash", "crash", "signal", "broken", "none"))
    at = dice.randint(1, 12) if dice.random() < 0.5 else dice.randint(1, 80)
    return Life(
        act=Act.GO if first else dice.choice((Act.GO, Act.GO, Act.GO, Act.ABANDON, Act.ANEW)),
        pause=pause,
        skew=dice.choice((0.0, 0.0, 59.0, -59.0)),
        jump=(dice.randint(2, 20), dice.choice((10 * MINUTE, 20 * MINUTE, -20 * MINUTE)))
        if dice.random() < 0.1
        else None,
        crash=at if end == "crash" else None,
        signal=at if end == "signal" else None,
        broken=_broken(dice) if end == "broken" else None,
        reads=tuple((dice.randint(1, 12), dice.choice(READ_FAULTS)) for _ in range(dice.choice((0, 0, 1, 3)))),
        unsent=frozenset(dice.randint(1, 6) for _ in range(dice.choice((0, 0, 0, 1, 2)))),
        blind=dice.choice((0, 0, 0, 1, 3)),
    )


def _broken(dice: Random) -> Broken:
    port = dice.choice(list(Port))
    nth = dice.randint(1, 30) if port is Port.JOURNAL else dice.randint(1, 4)
    return Broken(port=port, nth=nth, landed=dice.random() < 0.4)


def _meddling(dice: Random, count: int) -> Meddling:
    what = dice.choice((None, None, Task.NAME, Task.PASSWORD))
    return Meddling(
        at=dice.choice((0.5, 3.0, 20.0, 90.0)),
        instance=dice.randrange(count),
        what=what,
        seconds=dice.choice((1.0, 60.0)),
    )


def named(name: str) -> Schedule:
    """The schedule that printed this name."""
    parts = name.split("/")
    if name.startswith("failing"):
        return failing(name.removeprefix("failing"))
    if name.startswith("windowed"):
        return windowed(name.removeprefix("windowed"))
    if len(parts) == 1:
        return drawn(name)
    single = next(each for each in singles() if each.name == "/".join(parts[:3]))
    if len(parts) == 3:
        return single
    return next(each for each in killed(single, int(parts[3])) if each.name == name)
