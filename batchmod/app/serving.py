"""A run is served as a page while it lasts, where that is asked for. The page disturbs no run: what fails of it is muted."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchmod.app.driving import Known
from batchmod.app.options import Options
from batchmod.app.reporting import beside
from batchmod.app.speech import insist
from batchmod.app.watching import Watching
from batchmod.errors import UsageError
from batchmod.journal.store import Journal
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Run
from batchmod.report.live_guard import VARIABLE, Address, Guard, token_for

if TYPE_CHECKING:
    from batchmod.app.execute import Execution
    from batchmod.report.live import Live, Rows

PATIENCE = 5.0  # seconds that a reader may hold up what it is told, or the end of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The page of one run in this process."""

    live: "Live"

    def expect(self, execution: "Execution", known: Known) -> None:
        """The run is about to open, its rows as they stand now."""

        def rows() -> "Rows":
            return _rows(known, execution.session.journal, execution.run, execution.manifest)

        self.live.expect(lambda: execution.run, rows)

    def end(self, run: Run) -> None:
        """The run has ended, and its report is written."""
        self.live.end(run)


def check_serving(options: Options) -> Address | None:
    """Where the page is to be served, if it is. Raises UsageError when that, or its token, is not as it must be."""
    if options.serve is None:
        return None
    address = Address.parsed(options.serve)
    token_for(address, options.environ.get(VARIABLE))
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an earlier process left of a run."""

    journal: Journal
    manifest: Manifest


def _rows(states: Known, journal: Journal, run: Run, manifest: Manifest) -> "Rows":
    from batchmod.report.live import Rows  # noqa: PLC0415  for a run that is served only

    return Rows(states=states, store=manifest.secrets.store, beside=beside(journal, run, manifest))


@asynccontextmanager
async def serving(
    options: Options, watching: Watching, run: Run, left: Left | None = None
) -> AsyncIterator[Serving | None]:
    """The run is served inside, if that is asked for; who follows it to its end is told the end.

    `run` is what is known of it before it opens, and so is `left`, if it is one that is taken up again. Raises
    UsageError when the address cannot be had.
    """
    address = check_serving(options)
    if address is None:
        yield None
        return
    from batchmod.report.live import Live  # noqa: PLC0415  a server, for a run that is served only
    from batchmod.report.live_web import Site, parts, served  # noqa: PLC0415

    live = Live(lambda: run, wall=time.time, now=time.monotonic)
    if left is not None:
        states = list(left.journal.states(run.id))
        live.expect(lambda: run, lambda: _rows(states, left.journal, run, left.manifest))
        live.take_up()
    guard = Guard(token_for(address, options.environ.get(VARIABLE)), now=time.monotonic)
    site = Site(live, guard, parts(f"{run.name} {run.id}"), patience=PATIENCE)
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(served(site, address))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise UsageError(f"--serve {options.serve}: the page cannot be served there: {reason}") from error
        insist(f"live page: {url}", "serving", url=url)
        watching.add(live)
        yield Serving(live=live)
