"""What a secret store promises, and the moves between its stages. Pure; every store keeps these rules.

A password is *pending* from its escrow to its proof. A proof makes it *current*; the one before it is *previous*. All
others are *candidates*: superseded without proof, or proved once and two or more proofs old. Those are kept too: an
instance restored from a backup asks for the password it had then, and nothing that was ever live is deleted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from batchmod.errors import StoreConflict, UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage

Moves = tuple[tuple[int, Stage], ...]  # generation and its new stage, in the order that keeps each stage single


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found when something that a run needs was looked at: `text` also says what to do when it is not `ok`."""

    what: str
    ok: bool
    text: str


class SecretStore(Protocol):
    """Generations of one password an instance. StoreError when the store cannot be read or written."""

    async def stages(self, key: InstanceKey) -> tuple[Generation, ...]:
        """All generations of this instance, oldest first."""
        ...

    async def pending(self, key: InstanceKey) -> Generation | None: ...

    async def current(self, key: InstanceKey) -> Generation | None: ...

    async def escrow(self, key: InstanceKey, *, login: str, secret: Secret, run_id: str) -> Generation:
        """The secret is durable as the pending generation, was read back and is the same.

        StoreConflict, with the holder, when one is pending already. After a StoreError of the comparison the
        generation is gone: it was never sent.
        """
        ...

    async def reveal(self, key: InstanceKey, generation: int) -> Secret: ...

    async def promote(self, key: InstanceKey, generation: int) -> Generation:
        """The generation is current, durably; it was so already, or was pending. Else StoreConflict."""
        ...

    async def adopt(self, key: InstanceKey, generation: int) -> Generation:
        """The generation, at whatever stage, was proved to be live: it is current, durably. StoreConflict without one."""
        ...

    async def lookup(self, reference: str) -> Secret:
        """The secret that a manifest means by this reference, which is in the store's own words.

        UsageError for one that is none, or means nothing that is there.
        """
        ...

    async def demote(self, key: InstanceKey, generation: int) -> Generation:
        """The generation is a candidate, durably; it was so already, or was pending. Else StoreConflict."""
        ...

    async def all(self) -> tuple[Generation, ...]:
        """Every generation of every instance, by key and generation."""
        ...

    async def insert(self, record: Generation, secret: Secret) -> None:
        """The record with this value is stored as it is, or was so already. StoreConflict when its place is taken."""
        ...

    async def diagnose(self) -> tuple[Finding, ...]:
        """Whether the store can be reached and written, how many versions it keeps, and whether its clock agrees; nothing
        of any instance is changed.
        """
        ...

    async def close(self) -> None: ...

    def fingerprint(self, secret: Secret) -> str:
        """Tells whether two secrets are the same, and nothing else of them."""
        ...


_REFERENCE = re.compile(r"([0-9]{1,20})/([a-z0-9-]{1,63})/([A-Za-z0-9_-]{1,128})(?:#([1-9][0-9]{0,9}))?")


def key_of(reference: str) -> tuple[InstanceKey, int | None]:
    """Of `<account id>/<region>/<instance id>`, and of `#<generation>` behind it. UsageError, which does not repeat it, for
    anything else: it may be a password.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise UsageError(
            "is no reference to a stored password: <account id>/<region>/<instance id>, or that and #<generation>"
        )
    account_id, region, instance_id, generation = found.groups()
    key = InstanceKey(account_id=account_id, region=region, instance_id=instance_id)
    return key, int(generation) if generation else None


def at_stage(stages: Sequence[Generation], stage: Stage) -> Generation | None:
    """The one generation at a stage that holds at most one."""
    return next((each for each in stages if each.stage is stage), None)


def refuse_second_pending(stages: Sequence[Generation]) -> None:
    """Returns when a new pending generation may be made; else StoreConflict names the run that holds the secret."""
    if held := at_stage(stages, Stage.PENDING):
        raise StoreConflict(
            f"{held.key}: generation {held.generation} is pending, held by run {held.run_id}", holder=held.run_id
        )


def promotion(stages: Sequence[Generation], generation: int) -> Moves:
    """What makes a pending generation current; nothing when it is current already."""
    current = at_stage(stages, Stage.CURRENT)
    if current and current.generation == generation:
        return ()
    _require_pending(stages, generation)
    return _made_current(stages, generation)


def adoption(stages: Sequence[Generation], generation: int) -> Moves:
    """What makes a generation at any stage current; nothing when it is so already. Another one that is pending stays so."""
    current = at_stage(stages, Stage.CURRENT)
    if current and current.generation == generation:
        return ()
    if not any(each.generation == generation for each in stages):
        raise StoreConflict(f"generation {generation} is not in the store")
    return _made_current(stages, generation)


def _made_current(stages: Sequence[Generation], generation: int) -> Moves:
    current, previous = at_stage(stages, Stage.CURRENT), at_stage(stages, Stage.PREVIOUS)
    return (
        *(((previous.generation, Stage.CANDIDATE),) if previous else ()),
        *(((current.generation, Stage.PREVIOUS),) if current else ()),
        (generation, Stage.CURRENT),
    )


def demotion(stages: Sequence[Generation], generation: int) -> Moves:
    """What makes a pending generation a candidate; nothing when it is one already."""
    if any(each.generation == generation and each.stage is Stage.CANDIDATE for each in stages):
        return ()
    _require_pending(stages, generation)
    return ((generation, Stage.CANDIDATE),)


def _require_pending(stages: Sequence[Generation], generation: int) -> None:
    pending = at_stage(stages, Stage.PENDING)
    if pending and pending.generation == generation:
        return
    found = next((each.stage.value for each in stages if each.generation == generation), "not in the store")
    holder = pending.run_id if pending else None
    raise StoreConflict(f"generation {generation} is {found}, not pending", holder=holder)
