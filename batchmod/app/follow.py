"""A run that workers are at is followed: shown as if it went on here, until it ends or who looks on has seen enough."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batchmod.app.options import Options
from batchmod.app.reporting import write_report_files
from batchmod.app.session import again, check_report_dir, report_dir
from batchmod.app.shown import Shown
from batchmod.app.signals import CAUGHT
from batchmod.app.speech import insist
from batchmod.app.storing import shared_journal, shared_place
from batchmod.app.watching import Watching
from batchmod.cluster.campaigns import Db
from batchmod.cluster.news import News, last_step, news_of
from batchmod.errors import JournalError, ReportError
from batchmod.model.exits import INTERRUPTED, REPORT, RESUMABLE
from batchmod.model.loading import restore
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Run
from batchmod.pg.link import FAILURES, connect_async, why
from batchmod.pg.place import Place
from batchmod.report.jsonline import Level

EVERY: Final = 0.5  # seconds between two looks
LONELY: Final = 15.0  # seconds without a sign of life of any worker after which that is said
AWAY: Final = (*FAILURES, TimeoutError, JournalError)  # what a look ends with while the database is away
ALONE: Final = "no worker is there"


def reports_of(options: Options, manifest: Manifest, directory: Path) -> Path:
    """Where who follows writes the report; refused before anything is done, if it could not."""
    reports = report_dir(options, manifest, directory)
    if options.follow:
        check_report_dir(reports)
    return reports


async def follow(run: Run, options: Options, reports: Path, *, resumed: bool) -> int:
    """The exit code of the run, once it has ended and its report is written here too; or that of a signal, which only
    ends the following.
    """
    place = shared_place(options)
    shown = Shown(run=run, manifest=restore(run.manifest), journal=shared_journal(place), watching=Watching(options))
    following = Following(place=place, options=options, shown=shown, reports=reports)
    with _leaving() as left:
        try:
            if await following.until_ended(left, resumed=resumed):
                code = await following.until_finished(left)
                if code is not None:
                    return code
        finally:
            await following.close()
    command = again(f"resume {run.id} --follow", Path(), options)
    insist(f"no longer followed: the campaign goes on; `{command}` follows it again")
    return INTERRUPTED


@contextmanager
def _leaving() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, for as long as the block."""
    loop, left = asyncio.get_running_loop(), asyncio.Event()
    before = {number: signal.getsignal(number) for number in CAUGHT}
    for number in CAUGHT:
        loop.add_signal_handler(number, left.set)
    try:
        yield left
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@dataclass(kw_only=True)
class Following:
    """One run that is shown. The database may go and come back meanwhile."""

    place: Place
    options: Options
    shown: Shown
    reports: Path
    _db: Db | None = None
    _said: set[str] = field(default_factory=set)  # what stands in the way, once each
    _began: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def until_ended(self, left: asyncio.Event, *, resumed: bool) -> bool:
        """Whether the campaign has ended; False when `left` came first."""
        while not left.is_set() and not await self._opened(resumed=resumed):
            await _passed(left)
        with self.shown.watching.shown():
            while not left.is_set():
                news = await self._look()
                if news is not None and (news.campaign is None or not news.campaign.is_open):
                    return True
                await _passed(left)
        return False

    async def _opened(self, *, resumed: bool) -> bool:
        """Whether the run is shown; not while the database is away."""
        try:
            last = await last_step(await self._linked(), self.shown.run.id)
            self.shown.open(last, resumed=resumed)
        except AWAY as error:
            await self._away(error)
            return False
        return True

    async def _look(self) -> News | None:
        """What there was to tell is told; None while the database is away."""
        try:
            news = await news_of(await self._linked(), self.shown.run.id, self.shown.after)
            self.shown.tell(news)
        except AWAY as error:
            await self._away(error)
            return None
        self._tell_troubles(news)
        return news

    async def _linked(self) -> Db:
        if self._db is None:
            self._db = await connect_async(self.place)
        return self._db

    async def _away(self, error: BaseException) -> None:
        await self.close()
        self._say(f"{self.place}: {why(error)}; looked for again")

    def _tell_troubles(self, news: News) -> None:
        if news.campaign is not None and news.campaign.trouble is not None:
            self._say(f"no worker could conduct the run: {news.campaign.trouble}")
        for lane, trouble in news.troubles:
            self._say(f"{lane.account_id}, {lane.region}: no worker could work on it: {trouble}")
        if news.silence is not None and news.silence <= LONELY:
            self._said = {text for text in self._said if not text.startswith(ALONE)}
        elif asyncio.get_running_loop().time() - self._began > LONELY:
            self._say(f"{ALONE}: `{again('worker', Path(), self.options)}` starts one")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            insist(text, level=Level.WARNING)

    async def until_finished(self, left: asyncio.Event) -> int | None:
        """The exit code; the report is written, and the last words are said. None when `left` came first."""
        while not left.is_set():
            try:
                return self._finished()
            except JournalError as error:
                await self._away(error)
                await _passed(left)
        return None

    def _finished(self) -> int:
        self.shown.tell_end()
        run, journal = self.shown.run, self.shown.journal
        open_rows = 0 if run.closed else journal.open_rows(run.id)
        left, code, paths = run.is_unfinished(open_rows), run.exit_code, list[Path]()
        try:
            paths = write_report_files(journal, run, self.shown.manifest, self.reports)
        except ReportError as error:
            rebuild = again(f"report {run.id}", Path(), self.options)
            insist(
                f"batchmod: {error}\nthe journal is complete: `{rebuild}` writes the report again", level=Level.ERROR
            )
            code = REPORT
        hint = again(f"resume {run.id}", Path(), self.options) if left else None
        self.shown.watching.summary(run, journal.counts(run.id), paths, resume=hint, open_rows=open_rows)
        return RESUMABLE if code is None else code

    async def close(self) -> None:
        if self._db is not None:
            with suppress(*FAILURES):
                await self._db.close()
            self._db = None


async def _passed(left: asyncio.Event) -> None:
    """A while is over, or there is no more to wait for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(EVERY):
            await left.wait()
