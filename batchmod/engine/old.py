"""The password that an instance had before: what `login-and-old-refused` wants to see refused."""

from collections.abc import Sequence
from typing import Protocol

from batchmod.model.secret import Generation, InstanceKey, Secret, Stage

NO_OLD = "the store has no current password of it that could be seen refused"


class Stored(Protocol):
    """A secret store, as far as it is read here."""

    async def stages(self, key: InstanceKey) -> Sequence[Generation]: ...
    async def reveal(self, key: InstanceKey, generation: int) -> Secret: ...


async def old_secret(store: Stored, key: InstanceKey, new: Secret | None) -> Secret | None:
    """The stored current password, or where that is the new one itself the previous; None when there is no other."""
    by_stage = {each.stage: each for each in await store.stages(key)}
    for stage in (Stage.CURRENT, Stage.PREVIOUS):
        if stage in by_stage:
            old = await store.reveal(key, by_stage[stage].generation)
            if old != new:
                return old
    return None
