"""A process that can be killed: its journal, its store, its network and its logins stop at a boundary, for good."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import aiohttp
from breaking_schedule import VALID, Life, Port
from breaking_time import outside
from breaking_truth import Cloud, Sent

from batchmod.cloud import wire as net
from batchmod.errors import BatchmodError, JournalError, StoreError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Step
from batchmod.model.runs import Mark, Run
from batchmod.model.secret import Generation, InstanceKey, Secret
from batchmod.secrets.store import Finding, SecretStore
from batchmod.sim.envelope import written
from batchmod.sim.scenario import FaultKind
from batchmod.sim.service import Answer, Service
from batchmod.sim.transmission import BAD_GATEWAY
from batchmod.sim.wire import Request

T = TypeVar("T")
EPOCH = 1_772_600_767.0  # what the cloud's clock shows when the loop's shows 0
LATENCY = 0.02
MOMENT = 0.001  # seconds until a note is on disk
READ_TIMEOUT = 10.0
WRITES = frozenset({"ModifyInstanceAttribute", "ModifyInstanceTDE"})
CLEAR = frozenset({FaultKind.OK, FaultKind.SLOW, FaultKind.THROTTLE, FaultKind.REFUSE, FaultKind.TASK_EXISTS, FaultKind.FORBIDDEN})  # fmt: skip


class EndedError(Exception):
    """The process is dead: what it still tries has no effect."""


@dataclass
class Process:
    """`run` is the id of the run that it works on, once that is known."""

    life: Life
    time: Callable[[], float]
    run: str = ""
    threads: bool = True  # a thread works for the store; else it is awaited like the network
    boundaries: int = 0
    wall_ahead: float = 0.0
    on_signal: Callable[[], None] = lambda: None
    failed_at: float | None = None  # when the store first failed
    armed_after_failure: list[str] = field(default_factory=list)
    died: asyncio.Event = field(default_factory=asyncio.Event)
    writes: dict[Port, int] = field(default_factory=dict)
    reads: int = 0
    sends: int = 0
    logins: int = 0

    def wall(self) -> float:
        return EPOCH + self.time() + self.life.skew + self.wall_ahead

    def alive(self) -> None:
        if self.died.is_set():
            raise EndedError

    def boundary(self) -> None:
        """One more place at which the process may end, get its signal, or find its clock moved."""
        self.alive()
        self.boundaries += 1
        if self.life.jump is not None and self.boundaries == self.life.jump[0]:
            self.wall_ahead += self.life.jump[1]
        if self.boundaries == self.life.signal:
            self.on_signal()
        if self.boundaries == self.life.crash:
            self.died.set()
            raise EndedError

    def in_store(self) -> AbstractAsyncContextManager[None]:
        return outside() if self.threads else nullcontext()

    async def write(self, port: Port, work: Callable[[], Awaitable[T]], error: type[Exception]) -> T:
        """The work between two boundaries, unless the port is broken."""
        self.boundary()
        self.writes[port] = nth = self.writes.get(port, 0) + 1
        broken = self.life.broken
        fails = broken is not None and broken.port is port and nth >= broken.nth
        result: T | None = None
        if broken is None or not fails or (broken.landed and nth == broken.nth):
            async with outside() if port is Port.JOURNAL else self.in_store():
                result = await work()
        if fails:
            if port is not Port.JOURNAL:  # that one refuses by itself whatever would be armed
                self.failed_at = self.time() if self.failed_at is None else self.failed_at
            raise error("the disk is full")
        self.boundary()
        return result  # type: ignore[return-value]  # the work was done


class Journal(SqliteJournal):
    """The real one, in the hands of a process."""

    process: Process
    noted: list[tuple[str, Step]]  # what nobody waits for, until it is on disk; it dies with the process
    writing: asyncio.Future[None]
    full = False

    async def open_run(self, run: Run, rows: Sequence[PlannedRow]) -> None:
        await self.process.write(Port.JOURNAL, lambda: SqliteJournal.open_run(self, run, rows), JournalError)

    async def step(self, run_id: str, step: Step) -> None:
        failed_at = self.process.failed_at
        if step.phase in {Phase.ARMED, Phase.REARMED} and failed_at is not None and failed_at < self.process.time():
            self.process.armed_after_failure.append(f"{run_id}:{step.seq}")
        await self._write(lambda: SqliteJournal.step(self, run_id, step))

    def note(self, run_id: str, step: Step) -> None:
        """Written a moment later, or together with whatever is written before."""
        self.process.alive()
        if self.full:
            raise JournalError("the disk is full")
        if not self.noted:
            self.writing = asyncio.ensure_future(self._write_soon())
        self.noted.append((run_id, step))

    async def _write_soon(self) -> None:
        await asyncio.sleep(MOMENT)
        if self.noted:
            with suppress(EndedError, JournalError):
                await self.flush()

    async def mark(self, run_id: str, mark: Mark) -> None:
        await self._write(lambda: SqliteJournal.mark(self, run_id, mark))

    async def flush(self) -> None:
        await self._write(lambda: SqliteJournal.flush(self))

    async def _write(self, work: Callable[[], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            noted, self.noted = self.noted, []
            for run_id, step in noted:
                SqliteJournal.note(self, run_id, step)
            await work()

        try:
            await self.process.write(Port.JOURNAL, all_of_it, JournalError)
        except JournalError:
            self.full = True
            raise


@dataclass(kw_only=True)
class Store:
    """A real store in the hands of a process. `promoted` and `demoted` are told what is about to become current or a candidate."""

    inner: SecretStore
    process: Process
    promoted: Callable[[InstanceKey, int, Secret], None]
    demoted: Callable[[InstanceKey, int, Secret], None]

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        return await self._read(lambda: self.inner.stages(key))

    async def pending(self, key: InstanceKey) -> Generation | None:
        return await self._read(lambda: self.inner.pending(key))

    async def current(self, key: InstanceKey) -> Generation | None:
        return await self._read(lambda: self.inner.current(key))

    async def reveal(self, key: InstanceKey, generation: int) -> Secret:
        return await self._read(lambda: self.inner.reveal(key, generation))

    async def lookup(self, reference: str) -> Secret:
        return await self._read(lambda: self.inner.lookup(reference))

    async def all(self) -> tuple[Generation, ...]:
        async with self.process.in_store():
            return await self.inner.all()

    async def diagnose(self) -> tuple[Finding, ...]:
        return await self._read(self.inner.diagnose)

    async def close(self) -> None:
        async with self.process.in_store():
            await self.inner.close()

    async def insert(self, record: Generation, secret: Secret) -> None:
        await self._read(lambda: self.inner.insert(record, secret))

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        def work() -> Awaitable[Generation]:
            return self.inner.escrow(key, login=login, secret=secret, run_id=run_id)

        return await self.process.write(Port.ESCROW, work, StoreError)

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        async def work() -> Generation:
            self.promoted(key, generation, await self.inner.reveal(key, generation))
            return await self.inner.promote(key, generation)

        return await self.process.write(Port.PROMOTE, work, StoreError)

    async def adopt(self, key: InstanceKey, generation: int) -> Generation:
        return await self.process.write(Port.PROMOTE, lambda: self.inner.adopt(key, generation), StoreError)

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        async def work() -> Generation:
            self.demoted(key, generation, await self.inner.reveal(key, generation))
            return await self.inner.demote(key, generation)

        return await self.process.write(Port.PROMOTE, work, StoreError)

    def fingerprint(self, secret: Secret) -> str:
        return self.inner.fingerprint(secret)

    async def _read(self, work: Callable[[], Awaitable[T]]) -> T:
        self.process.alive()
        async with self.process.in_store():
            return await work()


@dataclass
class Wire:
    """A client's wire: one request, and how its reply comes back, if it does."""

    process: Process
    service: Service
    sent: list[Sent]

    async def post(self, headers: Mapping[str, str], body: bytes) -> net.Answer:
        return await Exchange(self, body, headers).answered()


@dataclass
class Exchange:
    wire: Wire
    data: bytes
    headers: Mapping[str, str]

    async def answered(self) -> net.Answer:
        process, api = self.wire.process, self.headers["x-acs-action"]
        process.boundary()
        if api in WRITES:
            process.sends += 1
            if process.sends in process.life.unsent:
                raise aiohttp.ConnectionTimeoutError
        else:
            process.reads += 1
            for nth, kind in process.life.reads:
                if nth == process.reads and process.run:
                    return await self._spoilt(kind)
        cloud = self.wire.service.cloud
        assert isinstance(cloud, Cloud)
        form = tuple(parse_qsl(self.data.decode(), keep_blank_values=True))
        pairs = tuple((name.lower(), value) for name, value in self.headers.items())
        entry = self._book(api, dict(form))
        cloud.origin = process.run
        answer = self.wire.service.handle(Request(method="POST", headers=pairs, form=form, body=self.data))
        process.boundary()
        await asyncio.sleep(LATENCY)
        process.boundary()
        if entry is not None and answer.fault.kind in CLEAR and answer.status < 500:
            entry.answered = True
        return await self._come_back(answer)

    def _book(self, api: str, params: dict[str, str]) -> Sent | None:
        if api not in WRITES:
            return None
        if api == "ModifyInstanceTDE":
            kind, value = Kind.TDE, "tde"
        elif "NewPassword" in params:
            kind, value = Kind.PASSWORD, params["NewPassword"]
        else:
            kind, value = Kind.ATTRIBUTES, params.get("InstanceName", "")
        at, run = self.wire.process.time(), self.wire.process.run
        signed = datetime.strptime(self.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        entry = Sent(
            at=at, until=signed - EPOCH + VALID, run=run, instance=params["InstanceId"], kind=kind, value=value
        )
        self.wire.sent.append(entry)
        return entry

    async def _spoilt(self, kind: FaultKind) -> net.Answer:
        """A read that never reached the cloud."""
        match kind:
            case FaultKind.HANG:
                await asyncio.sleep(READ_TIMEOUT)
                raise aiohttp.SocketTimeoutError
            case FaultKind.RESET_BEFORE:
                raise aiohttp.ServerDisconnectedError
            case FaultKind.THROTTLE:
                return _json(400, {"Code": "Throttling.User", "Message": "", "RequestId": "r"})
            case FaultKind.GARBLED:
                return net.Answer(200, {}, b'{"RequestId": "r", "Inst')
            case _:
                return _json(500, {"Code": "InternalError", "Message": "", "RequestId": "r"})

    async def _come_back(self, answer: Answer) -> net.Answer:
        content, _ = written(answer.fields, root=answer.root, xml=False)
        match answer.fault.kind:
            case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER | FaultKind.LATE:
                raise aiohttp.ServerDisconnectedError
            case FaultKind.HANG:
                await asyncio.sleep(READ_TIMEOUT)
                raise aiohttp.SocketTimeoutError
            case FaultKind.SLOW:
                await asyncio.sleep(answer.fault.seconds)
            case FaultKind.HTML_502:
                return net.Answer(502, {}, BAD_GATEWAY.encode())
            case FaultKind.GARBLED:
                content = content[: len(content) // 2]
            case FaultKind.TRUNCATED:
                raise aiohttp.ClientPayloadError
            case _:
                pass
        self.wire.process.alive()
        return net.Answer(answer.status, {}, content)


def _json(status: int, fields: dict[str, Any]) -> net.Answer:
    return net.Answer(status, {}, written(fields, root="Error", xml=False)[0])


@dataclass
class Logins:
    """The login proof, asked of the simulator's own truth."""

    process: Process
    cloud: Cloud

    async def preflight(self, row: PlannedRow) -> str | None:  # noqa: ARG002  as Prover has it
        self.process.boundary()
        return None

    async def prove(self, row: PlannedRow, secret: Secret) -> str | None:
        self.process.boundary()
        await asyncio.sleep(LATENCY)
        self.process.logins += 1
        if self.process.logins <= self.process.life.blind:
            return "no answer within 5 s"
        return None if self.cloud.passwords[row.instance_id] == secret.reveal() else "wrong password"

    async def outdated(self, row: PlannedRow, old: Secret) -> str | None:
        self.process.boundary()
        await asyncio.sleep(LATENCY)
        return "the old password logs in" if self.cloud.passwords[row.instance_id] == old.reveal() else None


async def killed(process: Process, work: Awaitable[None]) -> bool:
    """Whether the process was killed; else its work is done. What a bug raises is raised."""
    task = asyncio.ensure_future(work)
    death = asyncio.ensure_future(process.died.wait())
    await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
    death.cancel()
    if process.died.is_set():
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # of a dead process
        return True
    with suppress(BatchmodError, asyncio.CancelledError):  # foreseen: a line on stderr and an exit code
        task.result()
    return False
