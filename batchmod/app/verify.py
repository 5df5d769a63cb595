"""`verify`: proves, changing nothing, that the stored current passwords are live."""

from functools import partial
from pathlib import Path

from batchmod.app.examined import finish
from batchmod.app.examining import Examination
from batchmod.app.holding import new_run_id
from batchmod.app.options import Options
from batchmod.app.trying import Trials, conclude_all
from batchmod.engine.clock import Clock
from batchmod.engine.reconciling import Conclusion, Stages, verified
from batchmod.model.events import Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import Stage

LOOKS = 3  # at most, while a run beside this one goes on changing the stages of an instance


async def verify(path: Path, options: Options) -> int:
    """The exit code. Nothing is written but the report files; a run may be at work meanwhile."""
    clock = Clock()
    began = clock.wall()
    examination = Examination.of("verify", path, options, new_run_id(began), clock)
    async with examination.store(create=False) as store:
        stored, trials = await examination.read(store), Trials.of(examination, store)
        concluded = await conclude_all(stored, partial(is_live, trials), clock)
    return finish(examination, stored, concluded, began=began)


async def is_live(trials: Trials, row: PlannedRow, stages: Stages) -> Conclusion:
    """Whether the current password is. One that is refused is looked up again: a run may have promoted another just now."""
    for look in range(1, LOOKS + 1):
        conclusion = verified(stages, await trials.tried(row, stages, first=Stage.CURRENT), status=row.status)
        if conclusion.phase is not Phase.FAILED or look == LOOKS:
            break
        known, stages = stages, await trials.store.stages(row.key)
        if stages == known:
            break
    return conclusion
