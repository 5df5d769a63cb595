"""`control` with `--store`: a word to all workers that are at a run, wherever they are."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from batchmod.app.actions import Action, Verb
from batchmod.app.control import is_over, not_running
from batchmod.app.listening import done
from batchmod.app.options import Options
from batchmod.app.session import find_run
from batchmod.app.speech import insist
from batchmod.app.storing import reading, shared_place
from batchmod.cluster.campaigns import Campaign, Db, campaign_of
from batchmod.cluster.requests import Heard, ask, heard_of
from batchmod.errors import UsageError
from batchmod.model.events import StoppedBy
from batchmod.model.exits import DONE
from batchmod.model.loading import restore
from batchmod.pg.link import FAILURES, linked, why
from batchmod.pg.place import Place

PATIENCE: Final = 20.0  # seconds until all of them must go by it
POLL: Final = 0.1  # seconds between two looks whether they do


async def tell_all(wanted: str, action: Action, options: Options) -> int:
    """All who work on the run go by what was said, or whoever takes it up will; the exit code. Raises UsageError when
    that is not so, or not known yet.
    """
    place = shared_place(options)
    with reading(options) as journal:
        run = find_run(journal, wanted, options)
        over = is_over(journal, run)
    async with linked(place) as db:
        campaign = await campaign_of(db, run.id)
        _refuse_stopping(run.id, campaign, action)
        with _or(f"run {run.id}: it is not known whether {action} was said: say it again", place):
            said = await ask(db, run.id, str(action), _values(action))
        if said is None:
            raise UsageError(not_running(run, Path(), options, over=over))
        with _or(f"run {run.id}: {action} was said and holds; it is not known who has heard it", place):
            heard = await _waited(db, run.id, said)
            campaign = await campaign_of(db, run.id)
    if action.verb is not Verb.STOP and (campaign is None or not campaign.is_open):
        raise UsageError(f"run {run.id} has ended meanwhile")
    if not heard.by_all:
        raise UsageError(
            f"run {run.id}: {heard.there - heard.heard} of {heard.there} that work on it have not answered within "
            f"{PATIENCE:.0f} s; it was said, and holds as soon as they hear it"
        )
    answer = done(action, restore(run.manifest).limits)
    insist(f"run {run.id}: {answer}" + ("" if heard.there else ": nobody works on it, it holds once a worker does"))
    return DONE


@contextmanager
def _or(what: str, place: Place) -> Iterator[None]:
    """A database that goes away inside is a UsageError that says what holds all the same."""
    try:
        yield
    except FAILURES as error:
        raise UsageError(f"{what}: {place}: {why(error)}") from error


def _refuse_stopping(run_id: str, campaign: Campaign | None, action: Action) -> None:
    if campaign is not None and campaign.is_open and campaign.stopping is not None and action.verb is not Verb.STOP:
        raise UsageError(f"run {run_id} is stopping ({campaign.stopping}): nothing new is sent")


def _values(action: Action) -> dict[str, str | bool | None]:
    """The columns of the campaign that it sets."""
    match action.verb:
        case Verb.PAUSE:
            return {"paused": True}
        case Verb.CONTINUE:
            return {"paused": False}
        case Verb.STOP:
            return {"stopping": StoppedBy.CONTROL.value}
        case Verb.RATE:
            return {"rate": str(action.rate)}
        case Verb.CHANGING:
            return {"changing": str(action).partition("=")[2]}


async def _waited(db: Db, run_id: str, said: int) -> Heard:
    """Those who work on the run, once all of them have heard it or the time is over."""
    heard = await heard_of(db, run_id, said)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not heard.by_all:
                await asyncio.sleep(POLL)
                heard = await heard_of(db, run_id, said)
    return heard
