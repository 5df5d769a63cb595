"""From one wave to the next: every row of the one before has its final outcome, the pause is over, the check passed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from batchmod.app.checking import check, clean_environ
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt, HaltedError
from batchmod.engine.opening import Opening
from batchmod.model.events import StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.notices import CheckEnded, Notice, WaveEnded
from batchmod.model.runs import Mark, MarkType, Run


class Next(Enum):
    """What is to be done before a wave may begin."""

    END = "the wave before has ended"
    PAUSE = "what is between two waves passes"
    CHECK = "the check is run"
    NOTHING = "it may begin"


def next_step(run: Run, wave: int) -> Next:
    """What the journal says is still to be done before rows of this wave may be sent. Pure."""
    if wave <= run.opened:
        return Next.NOTHING
    if run.waves_ended < wave - 1:
        return Next.END
    if run.pauses_over < wave - 1:
        return Next.PAUSE
    return Next.CHECK


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Between the waves of one run. `mark` is durable when it returns; JournalError, else."""

    manifest: Manifest
    directory: Path
    halt: Halt
    opening: Opening
    clock: Clock
    known: Callable[[], Run]
    mark: Callable[[Mark], Awaitable[None]]
    notify: Callable[[Notice], None]
    environ: Mapping[str, str]
    waves: int

    async def passed(self, wave: int) -> bool:
        """Whether rows of this wave may be sent now; if not, the run has been stopped."""
        try:
            while (todo := next_step(self.known(), wave)) is not Next.NOTHING:
                self.halt.check()
                match todo:
                    case Next.END:
                        await self._say(MarkType.WAVE_ENDED, wave - 1)
                    case Next.PAUSE:
                        await self._pause(wave - 1)
                    case Next.CHECK:
                        await self._check(wave)
        except HaltedError:
            return False
        return True

    async def _say(self, what: MarkType, wave: int) -> None:
        await self.mark(Mark(type=what, at=self.clock.wall(), wave=wave))

    async def _pause(self, wave: int) -> None:
        """The pause counts from the end of the wave, also when the process died in it."""
        pause = self.manifest.rollout.pause
        if isinstance(pause, str):  # manual
            self.notify(WaveEnded(wave=wave, pause=None))
            self.halt.stop(StoppedBy.MANUAL)
            return
        ended = self.known().wave_ended_at or self.clock.wall()
        left = min(pause, max(0.0, ended + pause - self.clock.wall()))
        if left:
            self.notify(WaveEnded(wave=wave, pause=left))
        await self.halt.sleep(left, sending=True)
        await self._say(MarkType.PAUSE_OVER, wave)

    async def _check(self, wave: int) -> None:
        """What it says holds for what is sent after it: so it waits until something may be sent."""
        await self.halt.unpaused()
        if self.opening.left <= min(self.opening.estimate(change.kind) for change in self.manifest.changes):
            self.halt.stop(StoppedBy.WINDOW)
            return
        rollout = self.manifest.rollout
        if rollout.check:
            environ = clean_environ(
                self.environ,
                BATCHMOD_RUN=self.known().id,
                BATCHMOD_NAME=self.manifest.name,
                BATCHMOD_WAVE=str(wave - 1),
                BATCHMOD_WAVES=str(self.waves),
            )
            checked = await check(
                rollout.check,
                directory=self.directory,
                environ=environ,
                patience=self.manifest.timeouts.check,
                stopped=self.halt.stopped,
            )
            self.halt.check()
            at = self.clock.wall()
            await self.mark(
                Mark(type=MarkType.CHECKED, at=at, wave=wave - 1, exit_code=checked.code, reason=checked.text)
            )
            self.notify(CheckEnded(wave=wave - 1, passed=checked.passed, text=checked.text))
            if not checked.passed:
                self.halt.stop(StoppedBy.CHECK)
                return
        self.halt.check()
        if not self.halt.paused:  # after a pause it is run again: what it said is old by then
            await self._say(MarkType.WAVE_OPENED, wave)
