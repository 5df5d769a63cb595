"""`control`: a word to a run from another shell."""

import asyncio
from contextlib import suppress
from itertools import count
from pathlib import Path

from batchmod.app.actions import parse_action
from batchmod.app.options import Options
from batchmod.app.session import again, find_run, state_of
from batchmod.app.speech import insist
from batchmod.app.storing import reading, shared_place
from batchmod.errors import UsageError
from batchmod.journal.mailbox import Answer, Mailbox
from batchmod.journal.state import Holder, StateDir
from batchmod.journal.store import Journal
from batchmod.model.exits import DONE
from batchmod.model.runs import Run

PATIENCE = 10.0  # seconds until an answer must be there
POLL = 0.05  # seconds between two looks for it
LOOKS = 10  # after so many it is asked whether the run is still there


async def control(wanted: str, said: str, options: Options) -> int:
    """The run has done what was said; the exit code. Raises UsageError when it has not."""
    action = parse_action(said)
    if options.store is not None:
        shared_place(options)
        from batchmod.app.telling_all import tell_all  # noqa: PLC0415  an extra, and it costs every start

        return await tell_all(wanted, action, options)
    run, holder = _running(wanted, options)
    mailbox = Mailbox(state=state_of(options, None))
    ticket = mailbox.ask(holder, str(action))
    answer, untouched = None, False
    try:
        answer = await _answered(mailbox, ticket, holder)
    finally:
        if answer is None:
            untouched = mailbox.withdraw(ticket)
    if answer is None:
        _running(run.id, options)
        what = "nothing was changed" if untouched else "it has read the request, which may have taken effect"
        raise UsageError(f"{holder} has not answered within {PATIENCE:.0f} s; {what}")
    if not answer.done:
        raise UsageError(f"run {run.id} {answer.text}")
    insist(f"run {run.id}: {answer.text}")
    return DONE


async def _answered(mailbox: Mailbox, ticket: str, holder: Holder) -> Answer | None:
    """None when there is none in time, or nobody who could give it."""
    directory = StateDir(path=mailbox.state)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            for look in count(1):
                there = look % LOOKS or directory.holder() == holder  # asked before the answer is looked for
                answer = mailbox.answer(ticket)
                if answer is not None or not there:
                    return answer
                await asyncio.sleep(POLL)
    return None


def _running(wanted: str, options: Options) -> tuple[Run, Holder]:
    """The run that is meant and the process that works on it. Raises UsageError when none does."""
    state = state_of(options, None)
    with reading(options) as journal:
        run = find_run(journal, wanted, options)
        over = is_over(journal, run)
    holder = StateDir(path=state).holder()
    if holder is not None and holder.run == run.id:
        return run, holder
    other = f"; {holder} holds the state directory" if holder is not None else ""
    raise UsageError(f"{not_running(run, state, options, over=over)}{other}")


def is_over(journal: Journal, run: Run) -> bool:
    """Whether nobody will work on the run any more."""
    return run.finished_at is not None and (run.closed or not journal.open_rows(run.id))


def not_running(run: Run, state: Path, options: Options, *, over: bool) -> str:
    what = "it has ended" if over else f"`{again(f'resume {run.id}', state, options)}` continues it"
    return f"run {run.id} is not running: {what}"
