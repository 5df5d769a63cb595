"""Waves that have ended, and the consumers that are still to be told of them."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from batchmod.app.consumers import Consumers, Promoted
from batchmod.app.signals import Signals
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt, HaltedError
from batchmod.model.events import Kind, Phase, StoppedBy
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Mark, MarkType, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Of one run. `mark` is durable when it returns; JournalError, else."""

    consumers: Consumers
    known: Callable[[], Run]
    states: Callable[[], Iterable[tuple[PlannedRow, RowState]]]
    mark: Callable[[Mark], Awaitable[None]]
    halt: Halt
    signals: Signals
    clock: Clock

    async def told(self, before: float) -> bool:
        """Whether all consumers per wave have been told of every wave before this one.

        If not, one that is required has failed and stopped the run, or the run was to end: `resume` tells them. Raises
        JournalError, StoreError.
        """
        if not self.consumers.per_wave:
            return True
        for wave, rows in self._owed(before).items():
            if not await self._of_wave(wave, rows):
                return False
        return True

    def _owed(self, before: float) -> dict[int, list[Promoted]]:
        """The rows whose password was changed, by wave, of the waves that are not done."""
        (wave, done), all_of_them = self.known().consumed, len(self.consumers.per_wave)
        first = wave + 1 if done >= all_of_them else wave
        owed: dict[int, list[Promoted]] = {}
        for row, state in self.states():
            changed = row.kind is Kind.PASSWORD and state.phase is Phase.CHANGED and state.generation is not None
            if changed and first <= (row.wave or 1) < before:
                owed.setdefault(row.wave or 1, []).append((row, state.generation or 0))
        return dict(sorted(owed.items()))

    async def _of_wave(self, wave: int, rows: list[Promoted]) -> bool:
        at, done = self.known().consumed
        for number, consumer in enumerate(self.consumers.per_wave):
            if at == wave and number < done:
                continue
            if self.halt.left or self.signals.stopping or self.halt.reason is StoppedBy.CHECK:
                return False
            try:
                note = await self.consumers.tell_of_wave(consumer, wave, rows)
            except HaltedError:
                return False
            stops = StoppedBy.CHECK if note is not None and consumer.required else None
            now = self.clock.wall()
            await self.mark(
                Mark(type=MarkType.CONSUMED, at=now, wave=wave, consumer=number, reason=note, stopped_by=stops)
            )
            if stops is not None:
                self.halt.stop(stops)
                return False
        return True
