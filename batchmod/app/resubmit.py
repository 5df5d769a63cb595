"""`resume` and `abandon` with `--store`: a run that workers have left is given to them again."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from batchmod.app.fleet import check_fence
from batchmod.app.follow import follow, reports_of
from batchmod.app.options import Options
from batchmod.app.resume import open_gate, reset_budget, unfinished_run
from batchmod.app.session import again, find_run
from batchmod.app.speech import insist, say, speak_of
from batchmod.app.storing import reading, shared_place
from batchmod.app.submit import who
from batchmod.cluster.beginning import Also, Db, alone, give, nothing
from batchmod.cluster.campaigns import Campaign, campaign_of, chunked, next_number
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.exits import DONE
from batchmod.model.loading import restore
from batchmod.model.runs import Mark, MarkType, Run
from batchmod.pg.link import usable


async def resume(wanted: str | None, options: Options) -> int:
    """The exit code. With `follow` that of the run, also of one that workers are at."""
    run = unfinished_run(options, wanted)
    if run is None and wanted is not None and options.follow:
        return await _ended(wanted, options)
    if run is None:
        insist(f"nothing to resume in {shared_place(options)}")
        return DONE
    speak_of(run.id)
    reports = reports_of(options, restore(run.manifest), Path(run.directory))
    if await resumed(run, options):
        _given(run, options)
    elif not options.follow:
        insist(f"nothing to resume: workers are at run {run.id}, or it has ended meanwhile")
    return await follow(run, options, reports, resumed=True) if options.follow else DONE


async def _ended(wanted: str, options: Options) -> int:
    """The exit code of a run that is followed when there is nothing more to follow; its report is written here too."""
    with reading(options) as journal:
        run = find_run(journal, wanted, options)
    speak_of(run.id)
    insist(f"nothing to resume: run {run.id} has ended")
    return await follow(run, options, reports_of(options, restore(run.manifest), Path(run.directory)), resumed=True)


async def abandon(wanted: str, options: Options) -> int:
    """The exit code; workers settle what is in doubt as far as looking can, send nothing, and close the run."""
    run = unfinished_run(options, wanted)
    if run is None:
        insist(f"nothing to abandon: no unfinished run {wanted!r} in {shared_place(options)}")
        return DONE
    speak_of(run.id)
    if not await resumed(run, options, closing_it=True):
        stop = again(f"control {run.id} stop", Path(), options)
        raise UsageError(f"workers are at run {run.id}: `{stop}` first, and abandon it once it has ended")
    say(f"run {run.id} is given to the workers: they settle what is in doubt, send nothing, and close it")
    return DONE


def _given(run: Run, options: Options) -> None:
    say(f"run {run.id} is given to the workers again")
    if not options.follow:
        say(f"  {again(f'resume {run.id} --follow', Path(), options)}")


async def resumed(run: Run, options: Options, *, closing_it: bool = False, also: Also = nothing) -> bool:
    """Whether the run is with the workers by this, and `also` is done; False when it was already, or has ended meanwhile.

    `closing_it`: nothing of it is sent any more.
    """
    place = shared_place(options)
    async with alone(place, run.name) as db:
        with usable(place):
            campaign = await campaign_of(db, run.id)
        if campaign is not None and campaign.is_open:
            return False
        with closing(PostgresJournal.open(place)) as journal:
            known = journal.run(run.id)
            if known is None or not known.is_unfinished(journal.open_rows(run.id)):
                return False
            return await _given_again(known, campaign, journal, db, options, closing_it=closing_it, also=also)


async def _given_again(
    run: Run,
    campaign: Campaign | None,
    journal: PostgresJournal,
    db: Db,
    options: Options,
    *,
    closing_it: bool,
    also: Also,
) -> bool:
    place, clock = shared_place(options), Clock()
    states = list(journal.states(run.id))
    left = {
        row.key for row, state in states if state.is_open
    }  # whole instances: what ended says what of the rest may be sent
    endpoint = options.endpoint or (campaign.endpoint if campaign is not None else None)
    check_fence(restore(run.manifest), {row.region for row, _ in states if row.key in left}, endpoint)
    if not closing_it:
        if options.reset_budget:
            await reset_budget(journal, run.id, clock)
        await open_gate(journal, run, clock)
    with usable(place):
        first = await next_number(db, run.id)
    await give(
        db,
        place,
        run.id,
        chunked((row for row, _ in states if row.key in left), run_id=run.id, first=first),
        endpoint=endpoint,
        submitted=who(),
        closing=closing_it,
        forgiven=not closing_it and _is_forgiven(journal.marks(run.id)),
        also=also,
    )
    return True


def _is_forgiven(marks: Sequence[Mark]) -> bool:
    """The budget was reset, and nobody has worked on the run since: by this command, or by one that got no further."""
    news = [mark.type for mark in marks if mark.type in {MarkType.BUDGET_RESET, MarkType.RESUMED}]
    return news[-1:] == [MarkType.BUDGET_RESET]
