"""A run that is worked on listens to what `control` says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from batchmod.app.actions import Action, Verb, parse_action
from batchmod.app.signals import Signals
from batchmod.app.speech import say
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.pacing import Pacing
from batchmod.engine.ports import Slots
from batchmod.errors import UsageError
from batchmod.journal.mailbox import Answer, Mailbox, Request
from batchmod.journal.state import StateDir
from batchmod.model.events import StoppedBy
from batchmod.model.notices import Controlled, Notice
from batchmod.model.runs import Mark, MarkType
from batchmod.model.settings import KMS_OTHERS, KMS_READS, RATES, Limits

OF_FLEET = RATES.keys() - {*KMS_READS, *KMS_OTHERS}  # of a secret store the rates are its own
EVERY = 0.25  # seconds between two looks
TOO_LATE = Answer(done=False, text="is writing its report: nothing more is sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What of a run can be changed while it goes. All of it holds for this process only."""

    limits: Limits
    paces: Iterable[Pacing]
    changing: Slots
    halt: Halt
    signals: Signals
    clock: Clock
    mark: Callable[[Mark], Awaitable[bool]]  # whether the journal has it
    notify: Callable[[Notice], None]

    async def do(self, action: Action) -> Answer:
        """What came of it: done, and known to the journal, or why not.

        Every attempt that goes out after a pause was answered had been armed before.
        """
        if self.halt.reason is not None and action.verb is not Verb.STOP:
            return Answer(done=False, text=f"is stopping ({self.halt.reason}): nothing new is sent")
        text = self._do(action)
        self.notify(Controlled(text=str(action)))
        mark = Mark(type=MarkType.CONTROLLED, at=self.clock.wall(), reason=str(action))
        if not await self.mark(mark):
            self.halt.stop(StoppedBy.STORE)
            return Answer(done=False, text="its journal cannot be written: it stops")
        return Answer(done=True, text=text)

    def _do(self, action: Action) -> str:
        match action.verb:
            case Verb.PAUSE:
                self.halt.pause()
            case Verb.CONTINUE:
                self.halt.go_on()
            case Verb.STOP:
                self.signals.stop(StoppedBy.CONTROL)
            case Verb.CHANGING:
                self.changing.set_limit(action.changing)
            case Verb.RATE:
                assert action.rate is not None
                limits = self.limits.at(action.rate)
                for pace in self.paces:
                    pace.set_rates(limits.rate_for)
        return done(action, self.limits)


def done(action: Action, limits: Limits) -> str:
    """What is answered once the run goes by it; `limits` are the manifest's."""
    match action.verb:
        case Verb.PAUSE:
            return "paused"
        case Verb.CONTINUE:
            return "goes on"
        case Verb.STOP:
            return "stopping"
        case Verb.CHANGING:
            return str(action)
        case Verb.RATE:
            return f"{action} for every API but {', '.join(sorted({*OF_FLEET, *limits.apis}))}"


@asynccontextmanager
async def listening(state: Path, controls: Controls) -> AsyncIterator[None]:
    """Inside, requests to this process are done and answered; those to another one are not done and go.

    A folder that cannot be used is said, and disturbs nothing.
    """
    mailbox = Mailbox(state=state)
    try:
        mailbox.open()
    except OSError as error:
        say(f"{mailbox.path}: `control` cannot be used: {error.strerror}")
        yield
        return
    mailbox.purge()
    over = asyncio.Event()
    task = asyncio.create_task(_listen(mailbox, state, controls, over))
    try:
        yield
        over.set()  # who has asked is answered: a run may end by what it was told
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _listen(mailbox: Mailbox, state: Path, controls: Controls, over: asyncio.Event) -> None:
    me, last = StateDir(path=state).written(), False
    while not last:
        last = over.is_set()
        for request in mailbox.requests():
            if request.to == me:
                answer = TOO_LATE if last else await _answer(request, controls)
                with suppress(OSError):  # who asked is told by the lack of it
                    mailbox.reply(request.ticket, answer)
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY):
                await over.wait()


async def _answer(request: Request, controls: Controls) -> Answer:
    try:
        return await controls.do(parse_action(request.action))
    except UsageError as error:
        return Answer(done=False, text=f"does not know that: {error}")
