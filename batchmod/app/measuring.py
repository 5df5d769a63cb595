"""`--metrics FILE`: a Prometheus textfile, from the moment that a run has the state directory to its end."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchmod.app.options import Options
from batchmod.app.speech import insist
from batchmod.app.watching import Watching
from batchmod.engine.clock import Clock
from batchmod.errors import StoreError, UsageError
from batchmod.model.events import Kind
from batchmod.model.exits import code_of
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.secret import InstanceKey
from batchmod.report.jsonlog import Level
from batchmod.secrets.store import SecretStore

if TYPE_CHECKING:
    from batchmod.report.metrics import Metrics

EVERY: Final = 15.0  # seconds between two writes
PATIENCE: Final = 60.0  # seconds for a look through a secret store
NO_EXTRA: Final = "--metrics needs an extra: pip install 'batchmod[metrics]'"
MODE: Final = 0o644  # who collects it is another user; no secret is in it


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one process measures of its run; without `metrics` nothing."""

    metrics: "Metrics | None" = None
    keys: list[InstanceKey] = field(default_factory=list)  # of the instances whose passwords the plan changes

    def begin(self, known: Iterable[tuple[PlannedRow, RowState]]) -> None:
        """All rows, as they stand before anything is sent."""
        if self.metrics is not None:
            rows = list(known)
            self.metrics.begin(rows)
            self.keys = [row.key for row, _ in rows if row.kind is Kind.PASSWORD]

    async def prove(self, store: SecretStore | None) -> None:
        """It is known how old the proofs of the plan's passwords are, if the store tells it in time."""
        if self.metrics is None or store is None or not self.keys:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                generations = await store.all()
        except (StoreError, TimeoutError) as error:
            reason = error if isinstance(error, StoreError) else f"the secret store takes more than {PATIENCE:.0f} s"
            insist(f"--metrics: nothing of the oldest proof: {reason}", level=Level.WARNING)
            return
        self.metrics.prove(self.keys, generations)

    def ended(self, code: int) -> int:
        """The exit code, which is known now."""
        if self.metrics is not None:
            self.metrics.exit_code = code
        return code


@asynccontextmanager
async def measuring(
    options: Options, name: str, watching: Watching, clock: Clock, *, began: float
) -> AsyncIterator[Measured]:
    """The file is there from now on, and says at the end how the block ended. Raises UsageError when it cannot be written
    at first; later that is said once, and changes nothing.
    """
    if options.metrics is None:
        yield Measured()
        return
    try:
        from batchmod.report.metrics import Metrics  # noqa: PLC0415  an extra, and it costs every start
    except ImportError as error:
        raise UsageError(NO_EXTRA) from error
    metrics = Metrics(name=name, started_at=began, clock=clock.now)
    watching.add(metrics)
    try:
        write(options.metrics, metrics.text())
    except OSError as error:
        raise UsageError(f"--metrics {options.metrics}: cannot be written: {error.strerror}") from error
    file = _File(path=options.metrics, metrics=metrics)
    writing = asyncio.create_task(file.keep_writing())
    try:
        yield Measured(metrics=metrics)
    except BaseException as error:
        metrics.exit_code = code_of(error)
        raise
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        metrics.finished_at = clock.wall()
        await file.put()


@dataclass(slots=True, kw_only=True)
class _File:
    path: Path
    metrics: "Metrics"
    broken: bool = False  # and that was said

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.put()

    async def put(self) -> None:
        """What is known now is in the file, or that it is not was said."""
        try:
            await asyncio.to_thread(write, self.path, self.metrics.text())
        except OSError as error:
            if not self.broken:
                insist(f"--metrics {self.path}: cannot be written: {error.strerror}", level=Level.WARNING)
            self.broken = True


def write(path: Path, text: bytes) -> None:
    """The file is the old one or the new one, never half of one; who collects `*.prom` meets no other. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(text)
        part.replace(path)
    finally:
        with suppress(OSError):  # what cannot be removed is named by the error that led here
            part.unlink(missing_ok=True)
