"""Plays a schedule: real engine, journal, store, client and simulator; only time, the network and death are ours."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, cast

from breaking_process import EPOCH, Journal, Logins, Process, Store, Wire, killed
from breaking_schedule import FENCE, MINUTE, Act, Life, Schedule, Task, until_open
from breaking_time import the_loop
from breaking_truth import FIRST_PASSWORD, THEIR_PASSWORD, THEM, Cloud, Doors, Sent

from batchmod.app.context import Shares
from batchmod.app.execute import Execution
from batchmod.app.fleet import WRITES, Fleet, LaneHands
from batchmod.app.options import Options
from batchmod.app.planned import make_plan
from batchmod.app.resume import open_gate, reset_budget
from batchmod.app.session import Session, unfinished_runs
from batchmod.app.signals import Signals
from batchmod.app.watching import Watching
from batchmod.cloud.client import Client
from batchmod.cloud.credentials import AccessKey, FixedKeys
from batchmod.cloud.endpoints import Endpoint
from batchmod.cloud.inventory import Inventory
from batchmod.engine.clock import Clock, steady_wall
from batchmod.engine.context import Context
from batchmod.engine.halt import Halt
from batchmod.engine.opening import Opening
from batchmod.engine.pacing import Pacing
from batchmod.engine.watcher import Watcher
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Proof, StoppedBy
from batchmod.model.loading import Loaded, load
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.model.secret import InstanceKey, Secret
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.store import SecretStore
from batchmod.sim.errors import Refusal
from batchmod.sim.faultfile import parse
from batchmod.sim.fleet import fleet_ids, make_fleet
from batchmod.sim.instances import Change
from batchmod.sim.keyring import Keyring
from batchmod.sim.scenario import Durations, Quota, Script
from batchmod.sim.service import Service
from batchmod.sim.wire import Keys

REGION = "cn-hangzhou"
KEYS = Keys(access_key_id="LTAI5tTestKey", access_key_secret="testSecret1")
ROUNDING = 1e-6  # seconds: more than a float of today loses
PATIENCE = 6  # processes that may be needed to end what is open, and two for each instance that may spend a budget
WIDE = {"default": Quota(calls=10**6, seconds=1.0), "DescribeInstanceAttribute": Quota(calls=10**6, seconds=1.0)}


class Rehearsed(Execution):
    """An execution whose logins are asked of the simulator's truth."""

    logins: Logins

    def _context(self, known: Any, opening: Opening, shares: Shares) -> Context:
        context = super()._context(known, opening, shares)
        return context if context.prover is None else replace(context, prover=self.logins)


async def embedded(world: "World", process: Process) -> SecretStore:
    return EmbeddedStore.open(world.folder, environ=world.environ, say=lambda _: None, clock=process.wall)


@dataclass(kw_only=True)
class World:
    """One state directory, one cloud, and the processes that come and go. `problems` is what broke a rule on the way.

    `opens`: the store, for a process that begins; with `threads`, threads work for it.
    """

    schedule: Schedule
    opens: Callable[["World", Process], Awaitable[SecretStore]] = embedded
    threads: bool = True
    folder: Path
    cloud: Cloud
    doors: Doors
    service: Service
    sent: list[Sent] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    values: dict[tuple[InstanceKey, int], str] = field(default_factory=dict)  # of every generation ever seen
    stages: dict[tuple[InstanceKey, int], str] = field(default_factory=dict)  # as the last process left them
    abandoned: set[str] = field(default_factory=set)
    crashes: int = 0
    boundaries: list[int] = field(default_factory=list)  # of each process
    variant: int = 0  # which values the manifest asks for
    runs: int = 0
    reset: dict[str, int] = field(default_factory=dict)  # the last step before the first reset of each run's budget

    @property
    def environ(self) -> Mapping[str, str]:
        return {"BATCHMOD_AGE_KEY": str(self.folder / "age.key")}

    @property
    def with_password(self) -> bool:
        return bool({Task.PASSWORD, Task.CHOSEN} & set(self.schedule.tasks))

    async def live(self, life: Life, *, last: bool = False) -> None:
        """One process, from its start to its end or its death."""
        self._skip(life.pause)
        if life.act is Act.ANEW:
            await self._process(replace(life, act=Act.ABANDON, crash=None, signal=None, broken=None), last=last)
            self.variant += 1
        await self._process(life, last=last)

    def _skip(self, seconds: float) -> None:
        the_loop().skipping.pass_time(seconds)

    def passes(self, until: float) -> None:
        """What is due in the cloud happens at its own time."""
        skipping = the_loop().skipping
        while (due := self.cloud.next_due()) is not None and due - EPOCH < until:
            skipping.now = max(skipping.now, due - EPOCH + ROUNDING)
            self.cloud.advance()

    async def _process(self, life: Life, *, last: bool) -> None:
        process = Process(life, the_loop().time, threads=self.threads)
        journal = cast("Journal", Journal.open(self.folder))  # `open` makes what it is called on
        journal.process, journal.noted = process, []
        store = None
        if self.with_password:
            async with process.in_store():
                inner = await self.opens(self, process)
            store = Store(inner=inner, process=process, promoted=self._promoted, demoted=self._demoted)
        session = Session(state=self.folder, journal=journal, store=store)
        try:
            self.crashes += await killed(process, self._work(process, session, life, last=last))
        finally:
            journal.close()
            if store is not None:
                await self._inspect(store)
                await store.close()
        self.boundaries.append(process.boundaries)
        if process.armed_after_failure:
            self.problems.append(f"armed after the store had failed: {process.armed_after_failure}")

    async def _inspect(self, store: Store) -> None:
        """Generations are for ever, and so are their values."""
        store.process = Process(Life(), the_loop().time, threads=self.threads)
        if not self.threads:  # its connections died with the process
            store.inner = await self.opens(self, store.process)
        now = {
            (each.key, each.generation): (await store.reveal(each.key, each.generation)).reveal()
            for each in await store.all()
        }
        for place, value in self.values.items():
            if now.get(place) != value:
                self.problems.append(f"generation {place} was {value} and is {now.get(place)}")
        self.values |= now
        self.stages = {(each.key, each.generation): each.stage.value for each in await store.all()}

    async def _work(self, process: Process, session: Session, life: Life, *, last: bool) -> None:
        journal = session.journal
        unfinished = next(iter(unfinished_runs(journal)), None)
        if unfinished is None and (life.act is Act.ABANDON or (last and self.runs)):
            return
        halt = Halt()
        wall = steady_wall(process.wall, the_loop().time)
        clock = Clock(wall=wall, now=the_loop().time, dice=Random(f"{self.schedule.name}/dice").random)
        signals = Signals(halt, 300.0)
        process.on_signal = signals.receive
        loaded = _loaded(self.schedule, self.variant)
        fleet = self._fleet(process, halt, clock, loaded)
        execution = Rehearsed(
            session=session, fleet=fleet, run=cast("Run", None), manifest=loaded.manifest, options=self._options(),
            reports=self.folder / "reports", halt=halt, signals=signals, watching=Watching(self._options()), clock=clock,
            chosen=self._chosen(),
        )  # fmt: skip
        execution.logins = Logins(process, self.cloud)
        if unfinished is None:
            await self._begin(process, execution, loaded)
        else:
            process.run, execution.run = unfinished.id, unfinished
        signals.sending = True
        if unfinished is None:
            await execution.apply()
        elif life.act is Act.ABANDON:
            self.abandoned.add(unfinished.id)
            await execution.take_up()
            halt.stop(StoppedBy.CONTROL)
            await execution.close()
        else:
            await self._resumed(execution, reset=last)
            await execution.apply()

    async def _begin(self, process: Process, execution: Rehearsed, loaded: Loaded) -> None:
        clock, session = execution.clock, execution.session
        plan = await make_plan(loaded, execution.fleet, session.store, execution.chosen, clock, skip_failed=False)
        self.runs += 1
        execution.run = Run(
            id=f"run{self.runs}", name="job", manifest_digest=loaded.digest, manifest=loaded.normalised, directory="/",
            started_at=clock.wall(),
        )  # fmt: skip
        process.run = execution.run.id
        await session.journal.open_run(execution.run, plan.rows)

    async def _resumed(self, execution: Rehearsed, *, reset: bool) -> None:
        """As `resume` does it."""
        if reset:
            run = execution.run.id
            self.reset.setdefault(run, max((n for n, _, _ in self.steps(run)), default=0))
            await reset_budget(execution.session.journal, execution.run.id, execution.clock)
        await open_gate(execution.session.journal, execution.run, execution.clock)
        await execution.take_up()

    def _fleet(self, process: Process, halt: Halt, clock: Clock, loaded: Loaded) -> Fleet:
        lane = Lane(self.cloud.account_id, REGION)
        limits = loaded.manifest.limits
        client = Client(
            lane=lane,
            account="default",
            keys=FixedKeys(AccessKey(id=KEYS.access_key_id, secret=Secret(KEYS.access_key_secret))),
            endpoint=Endpoint(url="http://sim.test", host="sim.test", loopback=True),
            wire=Wire(process, self.service, self.sent),
            pace=Pacing(
                limits.rate_for, slots=asyncio.Semaphore(limits.connections), halt=halt, writes=WRITES, clock=clock
            ),
            notify=lambda _: None,
            wall=clock.wall,
            monotonic=clock.now,
        )
        inventory = Inventory(client)
        hands = LaneHands(client=client, inventory=inventory, watcher=Watcher(inventory.look, halt))
        return Fleet(account_ids={"default": lane.account_id}, failed=(), hands={lane: hands})

    def _chosen(self) -> Secret | None:
        return Secret(f"Chosen-Passw0rd-{self.variant}") if Task.CHOSEN in self.schedule.tasks else None

    def _options(self) -> Options:
        return Options(environ=self.environ, quiet=True, report_dir=self.folder / "reports", state=self.folder)

    def _promoted(self, key: InstanceKey, generation: int, secret: Secret) -> None:
        """Current is said only of what is live, or at the weakest level of what was accepted."""
        now, name = the_loop().time(), key.instance_id
        live = self.cloud.passwords[name] == secret.reveal()
        ours = [
            each for each in self.cloud.accepted if each.instance == name and each.change.password == secret.reveal()
        ]
        theirs = any(each.run == THEM and each.change.password for each in self.cloud.accepted)
        enough = live or (ours and (theirs or self.schedule.level is Proof.ACCEPTED))
        if not enough:
            self.problems.append(f"generation {generation} of {name} was promoted at {now:.1f} and is not live")

    def unfinished(self) -> bool:
        return bool(unfinished_runs(SqliteJournal.read(self.folder)))

    def _demoted(self, key: InstanceKey, generation: int, secret: Secret) -> None:
        """What a login could prove to be live is not put aside."""
        schedule = self.schedule
        can_tell = schedule.level is Proof.LOGIN and not any(life.blind for life in schedule.lives)
        if can_tell and Task.PASSWORD in schedule.tasks and self.cloud.passwords[key.instance_id] == secret.reveal():
            self.problems.append(f"generation {generation} of {key.instance_id} is live and became a candidate")

    def report(self, run: str) -> dict[str, Any]:
        """As its reader has it."""
        path = self.folder / "reports" / f"job-{run}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def steps(self, run: str) -> list[tuple[int, int, str]]:
        """(number, row, phase) of every step of a run, in the order in which they were written."""
        with closing(sqlite3.connect(self.folder / "journal.db")) as db:
            return db.execute("SELECT n, seq, phase FROM step WHERE run = ? ORDER BY n", (run,)).fetchall()

    def states(self) -> dict[str, list[tuple[PlannedRow, RowState]]]:
        journal = Journal.read(self.folder)
        return {run.id: list(journal.states(run.id)) for run in journal.runs()}


@cache
def _loaded(schedule: Schedule, variant: int) -> Loaded:
    """Small and quick for the clock's sake, else the defaults of the product."""
    tasks, changes = schedule.tasks, []
    attributes: dict[str, Any] = {}
    if Task.NAME in tasks:
        attributes["name"] = f"new{variant}-{{id}}"
    if Task.PROTECTION in tasks:
        attributes["release_protection"] = variant % 2 == 0
    if attributes:
        changes.append({"attributes": attributes})
    if Task.PASSWORD in tasks:
        changes.append({"password": {"generate": {"length": 16}}})
    if Task.CHOSEN in tasks:
        changes.append({"password": {"env": "PW"}})
    if Task.TDE in tasks:
        changes.append({"tde": {}})
    body = {
        "version": 1,
        "name": "job",
        "targets": [{"id": name, "region": REGION} for name in fleet_ids(schedule.instances)],
        "changes": changes,
        "proof": {"password": str(schedule.level)},
        "limits": {
            "rate": "100000/1s",
            "apis": {"DescribeInstanceAttribute": "100000/1s"},
            "changing": schedule.changing,
            "connections": schedule.connections,
        },
        "retry": {"attempts": schedule.attempts},
        "rollout": {
            "max_failures": schedule.max_failures,
            "waves": list(schedule.waves),
            **({} if schedule.waves == ("100%",) else {"pause": schedule.wave_pause}),
            "window": {"start": schedule.window[0], "end": schedule.window[1]} if schedule.window else None,
        },
        "report": {"formats": ["json"]},
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(json.dumps(body), encoding="utf-8")
        return load(path)


def make_world(schedule: Schedule, folder: Path) -> World:
    loop, ids = the_loop(), fleet_ids(schedule.instances)

    def clock() -> float:
        return EPOCH + loop.time()

    scenario = replace(
        parse("", "no faults"),
        regions=(REGION,),
        scripts=tuple(
            Script(api="Modify*", match=ids[number], play=faults) for number, faults in schedule.faults if faults
        ),
        durations=Durations(attributes=schedule.seconds, password=schedule.seconds, tde=schedule.seconds),
        lag=schedule.lag,
        quotas=WIDE,
    )
    doors = Doors(loop.time)
    cloud = Cloud(
        make_fleet(schedule.instances, scenario, address="127.0.0.1:6379", new_password=lambda: FIRST_PASSWORD),
        scenario=scenario,
        keyring=Keyring({scenario.main_account: KEYS}, clock=clock),
        clock=clock,
        plane=doors,
    )
    for one in schedule.meddling:
        instance = cloud.instances[ids[one.instance]]

        def meddle(instance: Any = instance, one: Any = one) -> None:
            change = Change(
                name="theirs" if one.what is Task.NAME else None,
                password=THEIR_PASSWORD if one.what is Task.PASSWORD else None,
            )
            with suppress(Refusal):  # busy: then they give up
                cloud.start(instance, change, seconds=one.seconds, status="Changing")

        cloud.schedule(EPOCH + one.at, meddle)
    return World(schedule=schedule, folder=folder, cloud=cloud, doors=doors, service=Service(cloud, ids=ids))


async def play(schedule: Schedule, folder: Path, made: Callable[[Schedule, Path], World] = make_world) -> World:
    """The world when everything has ended that can, and everything has landed that may."""
    world = made(schedule, folder)
    the_loop().skipping.passing = world.passes
    for life in schedule.lives:
        await world.live(life)
    for _ in range(PATIENCE + 2 * schedule.instances):
        if not world.runs or world.unfinished():
            pause = 5 * MINUTE if schedule.window is None else until_open(schedule.window, EPOCH + the_loop().time())
            await world.live(Life(pause=pause), last=True)
    world._skip(FENCE + 40 * MINUTE)
    return world
