"""The places that the rows of a chunk share with all others of their run, wherever those are worked on."""

from dataclasses import dataclass

from batchmod.app.context import Shares, closing
from batchmod.app.driving import Known
from batchmod.cluster.campaigns import Campaign, Chunk
from batchmod.cluster.places import CHANGING, FAILURES, Caps
from batchmod.cluster.slots import SharedSlots
from batchmod.cluster.taking_up import take_up
from batchmod.cluster.turns import SharedGroups
from batchmod.engine.halt import Halt
from batchmod.engine.ports import Slots
from batchmod.journal.postgres import PostgresJournal
from batchmod.model.events import StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The chunk's, of the run's failure budget and of all else that its rows share."""

    failures: Slots
    shares: Shares

    def close(self) -> None:
        """Who has places may settle, and nobody waits for one."""
        self.failures.close()
        self.shares.changing.close()
        self.shares.groups.close()


async def places_of(
    journal: PostgresJournal,
    run: Run,
    manifest: Manifest,
    known: Known,
    *,
    chunk: Chunk,
    campaign: Campaign,
    halt: Halt,
) -> Places:
    """What the rows hold agrees with the journal, whoever worked on them before; a spent budget has stopped the run.

    Raises JournalError.
    """
    given_up = campaign.closing  # nothing is sent, and what was sent ends as it may
    caps = Caps(run=None) if given_up else Caps(run=campaign.max_failures, wave=campaign.wave_failures)
    taken = await take_up(journal, run.id, known, wave=chunk.wave, failures=caps, reset_at=run.budget_reset_at or 0.0)
    if taken.exhausted:
        halt.stop(StoppedBy.MAX_FAILURES)
    failures = SharedSlots(
        journal,
        run.id,
        FAILURES,
        wave=chunk.wave,
        caps=caps,
        exhausted=lambda: halt.stop(StoppedBy.MAX_FAILURES),
    )
    closing(halt, failures)
    changing = SharedSlots(journal, run.id, CHANGING, wave=chunk.wave, caps=Caps(run=manifest.limits.changing))
    groups = SharedGroups(journal, run.id, wave=chunk.wave)
    return Places(failures=failures, shares=Shares(changing=changing, groups=groups))
