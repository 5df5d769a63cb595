"""What is told when a run is shown, and when one of its waves begins: the same wherever the run is worked on."""

from collections.abc import Collection

from batchmod.app.planned import failure_limit
from batchmod.engine.rollout import wave_count
from batchmod.model.manifest import Manifest
from batchmod.model.notices import RunOpened, WaveOpened
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run

Known = Collection[tuple[PlannedRow, RowState]]  # all rows of the run, as they stand


def run_opened(run: Run, manifest: Manifest, known: Known, *, resumed: bool, elsewhere: bool = False) -> RunOpened:
    """How much there is to do, by this process or `elsewhere`."""
    return RunOpened(
        run_id=run.id,
        name=run.name,
        resumed=resumed,
        rows=len(known),
        to_send=sum(state.is_open for _, state in known),
        max_failures=failure_limit(manifest, [row for row, _ in known]),
        elsewhere=elsewhere,
    )


def wave_opened(manifest: Manifest, known: Known, wave: int, *, limit: int | None, spent: int) -> WaveOpened | None:
    """How much of it is this wave's; None for a run that has only one. `limit`: rows of it that may end badly, of which so
    many have (`spent`).
    """
    waves = wave_count(row for row, _ in known)
    if waves <= 1:
        return None
    pause = manifest.rollout.pause
    return WaveOpened(
        wave=wave,
        waves=waves,
        instances=len({row.key for row, state in known if state.is_open and (row.wave or 1) == wave}),
        max_failures=limit,
        spent=spent,
        pause=None if isinstance(pause, str) else pause,
    )
