"""`--metrics FILE`: a Prometheus textfile, from the moment that a run has the state directory to its end."""

import asyncio
import errno
import os
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import batchmod
from batchmod.app.options import Options
from batchmod.app.signals import unless
from batchmod.app.speech import insist
from batchmod.app.watching import Watching
from batchmod.engine.clock import Clock
from batchmod.errors import StoreError, UsageError
from batchmod.model.events import Kind, StoppedBy
from batchmod.model.exits import code_of
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.secret import InstanceKey
from batchmod.report.aside import aside
from batchmod.report.jsonline import Level
from batchmod.secrets.store import SecretStore
from batchmod.secrets.transfer import IMPORTED

if TYPE_CHECKING:
    from batchmod.report.metrics import Metrics

EVERY: Final = 15.0  # seconds between two writes
LIMIT: Final = 5.0  # seconds for one of them; a mount may hang for ever
PATIENCE: Final = 60.0  # seconds for a look through a secret store
HURRIED: Final = 5.0  # the same once a signal came: who sent it kills what does not end
NO_EXTRA: Final = f"--metrics needs an extra: {batchmod.install('metrics')}"
MODE: Final = 0o644  # who collects it is another user; no secret is in it


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one process measures of its run; without `metrics` nothing."""

    metrics: "Metrics | None" = None
    keys: list[InstanceKey] = field(default_factory=list)  # of the instances whose passwords the plan changes

    def begin(self, known: Sequence[tuple[PlannedRow, RowState]]) -> None:
        """All rows, as they stand before anything is sent."""
        if self.metrics is not None:
            self.metrics.begin(known)
            self.keys = [row.key for row, _ in known if row.kind is Kind.PASSWORD]

    async def prove(self, store: SecretStore | None) -> None:
        """It is known how old the proofs of the plan's passwords are, if the store tells it in time."""
        await self._prove(store, PATIENCE, asyncio.Event())

    async def prove_at_last(self, store: SecretStore | None, *, signalled: bool, hurry: asyncio.Event) -> None:
        """The same at the end; nobody waits long once a signal came, and no longer when `hurry` is set."""
        await self._prove(store, HURRIED if signalled else PATIENCE, hurry)

    async def _prove(self, store: SecretStore | None, patience: float, hurry: asyncio.Event) -> None:
        if self.metrics is None or store is None or not self.keys:
            return
        try:
            async with asyncio.timeout(patience):
                generations = await unless(hurry, store.all(), otherwise=None)
        except (StoreError, TimeoutError) as error:
            reason = (
                str(error) if isinstance(error, StoreError) else f"the secret store takes more than {patience:.0f} s"
            )
        else:
            if generations is not None:
                # When an imported password was proved, no export says.
                self.metrics.prove(self.keys, (one for one in generations if one.run_id != IMPORTED))
                return
            reason = "a signal came"
        insist(f"--metrics: nothing of the oldest proof: {reason}", level=Level.WARNING)

    def end(self, *, open_rows: int, stopped_by: StoppedBy | None) -> None:
        """What the report says of the end is known now."""
        if self.metrics is not None:
            self.metrics.end(open_rows=open_rows, stopped_by=stopped_by)

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
    file = _File(path=options.metrics, metrics=metrics)
    if (reason := await file.put()) is not None:
        file.over.set()
        raise UsageError(f"--metrics {options.metrics}: {reason}")
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
        await file.keep()
        file.over.set()


@dataclass(slots=True, kw_only=True)
class _File:
    """Written by one thread at a time, so that an older text never follows a newer one."""

    path: Path
    metrics: "Metrics"
    broken: bool = False  # and that was said
    over: threading.Event = field(default_factory=threading.Event)  # a write that is still under way is given up
    _under_way: "asyncio.Future[OSError | None] | None" = None

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.keep()

    async def keep(self) -> None:
        """What is known now is in the file, or that it is not was said."""
        reason = await self.put()
        if reason is not None and not self.broken:
            insist(f"--metrics {self.path}: {reason}", level=Level.WARNING)
            self.broken = True

    async def put(self) -> str | None:
        """None when what is known now is in the file, else why it is not."""
        try:
            async with asyncio.timeout(LIMIT):
                if self._under_way is not None:
                    await asyncio.wait({self._under_way})
                text = self.metrics.text()
                self._under_way = aside(lambda: self._written(text), name="metrics")
                await asyncio.wait({self._under_way})
        except TimeoutError:
            return f"was given up: it takes more than {LIMIT:.0f} s to write"
        error = self._under_way.result()
        return None if error is None else f"cannot be written: {error.strerror}"

    def _written(self, text: bytes) -> OSError | None:
        try:
            write(self.path, text, over=self.over)
        except OSError as error:
            return error
        return None


def write(path: Path, text: bytes, *, over: threading.Event) -> None:
    """The file is the old one or the new one, never half of one; who collects `*.prom` meets no other. Once `over` is set
    it stays the old one. Raises OSError, also when something else than a file is there: that is not replaced.
    """
    with suppress(FileNotFoundError):
        _require_regular(path.stat().st_mode)
    path = Path(os.path.realpath(path))  # a link stays one
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, MODE)
            file.write(text)
        if not over.is_set():
            Path(part).replace(path)
    finally:
        with suppress(OSError):  # what cannot be removed is named by the error that led here
            Path(part).unlink(missing_ok=True)


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a directory")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a file but a device, a pipe or a socket")
