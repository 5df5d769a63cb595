"""How old the stored passwords are: the store knows who escrowed them, the journal when that one began."""

from collections.abc import Awaitable, Callable

from batchmod.app.chosen import password_change
from batchmod.engine.ages import never_young, youth
from batchmod.journal.store import Journal
from batchmod.model.manifest import Manifest
from batchmod.model.runs import Run
from batchmod.model.secret import Generation, InstanceKey
from batchmod.secrets.store import SecretStore
from batchmod.secrets.transfer import IMPORTED

IsYoung = Callable[[InstanceKey], Awaitable[str | None]]  # why it is not due yet, None when it is


def young_in(manifest: Manifest, store: SecretStore | None, journal: Journal, *, now: float) -> IsYoung:
    """Tells of an instance why its password is not due yet; `now` is when this process began.

    The age of an imported password is unknown: no export says when it was set. Of a run that the journal does not know,
    the time of the escrow itself counts.
    """
    change = password_change(manifest)
    if store is None or change is None or change.max_age is None:
        return never_young
    max_age = change.max_age
    runs: dict[str, Run | None] = {}

    def began(generation: Generation) -> float | None:
        run_id, at = generation.run_id, generation.created_at
        if run_id == IMPORTED:
            return None
        if run_id not in runs:
            runs[run_id] = journal.run(run_id)
        run = runs[run_id]
        return at if run is None else run.began_before(at)

    async def is_young(key: InstanceKey) -> str | None:
        return youth(await store.stages(key), began=began, now=now, max_age=max_age)

    return is_young
