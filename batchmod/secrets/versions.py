"""Which version of a KMS secret is what, and which labels make it something else. Pure.

The vendor's labels say what applications read: ACSCurrent and ACSPrevious. Three are batchmod's own. `batchmod-pending`
is on the one that is pending. `batchmod-candidate-N` keeps generation N, which nobody proved, from being dropped: KMS
keeps ten versions and drops the earliest. `batchmod-previous` is on what is about to be superseded, so that a promotion
that was cut short is known for one and can be ended. A version without a label was current once, and was superseded by two
proofs or more.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batchmod.errors import NoPlaceError, StoreConflict
from batchmod.model.secret import Stage

CURRENT, PREVIOUS = "ACSCurrent", "ACSPrevious"
PENDING, MARK = "batchmod-pending", "batchmod-previous"
MAX_VERSIONS: Final = 10  # of one secret; beyond it KMS drops the earliest
MAX_LABELS: Final = 8  # of one secret, the vendor's own two among them
PLACEHOLDER: Final = "batchmod-0"  # current from the making of the secret to the first proof: it holds no password
_VERSION = re.compile(r"batchmod-(0|[1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`created`: as the service has it, to the second, in a form that sorts by time."""

    id: str
    created: str
    labels: frozenset[str]

    @property
    def number(self) -> int | None:
        """The generation; None for the placeholder and for what batchmod did not make."""
        found = _VERSION.fullmatch(self.id)
        return int(found[1]) or None if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A label leaves `source`, if it has one, for `to`, if there is one; refused when `source` does not hold it."""

    label: str
    to: str | None = None
    source: str | None = None


Moves = tuple[Move, ...]
Versions = Sequence[Version]


def version_id(number: int) -> str:
    return f"batchmod-{number}"


def candidate(number: int) -> str:
    """The label that protects an unproved generation."""
    return f"batchmod-candidate-{number}"


def staged(versions: Versions) -> dict[int, Stage]:
    """The stage of each generation, oldest first."""
    single: dict[str | None, Stage] = {_holder(versions, PENDING): Stage.PENDING}
    marked, current = _holder(versions, MARK), _holder(versions, CURRENT)
    single[marked if marked not in {None, current} else _holder(versions, PREVIOUS)] = Stage.PREVIOUS
    single[current] = Stage.CURRENT  # whatever other labels it has
    found = {each.number: single.get(each.id, Stage.CANDIDATE) for each in versions if each.number}
    return dict(sorted(found.items()))


def number_at(versions: Versions, stage: Stage) -> int | None:
    return next((number for number, its in staged(versions).items() if its is stage), None)


def next_number(versions: Versions) -> int:
    return max((each.number or 0 for each in versions), default=0) + 1


def leftovers(versions: Versions) -> Moves:
    """What a promotion that was cut short has left to do: no stage changes by it."""
    moves: list[Move] = []
    current, marked, previous = (_holder(versions, label) for label in (CURRENT, MARK, PREVIOUS))
    if marked is not None:
        if marked not in {current, previous}:
            moves.append(Move(label=PREVIOUS, to=marked, source=previous))
        moves.append(Move(label=MARK, source=marked))
    for each in versions:
        if each.id in {current, previous}:  # proved: what stood for the doubt is not needed
            done = {PENDING, candidate(each.number or 0)} & each.labels
            moves += [Move(label=label, source=each.id) for label in sorted(done)]
    return tuple(moves)


def promoted(versions: Versions, number: int) -> Moves:
    """What makes a pending generation current; only what was left over when it is so already. Else StoreConflict."""
    if staged(versions).get(number) is not Stage.CURRENT:
        _require_pending(versions, number)
    return _made_current(versions, number)


def adopted(versions: Versions, number: int) -> Moves:
    """What makes a generation at any stage current. StoreConflict when there is none."""
    if number not in staged(versions):
        raise StoreConflict(f"generation {number} is not in the store")
    return _made_current(versions, number)


def _made_current(versions: Versions, number: int) -> Moves:
    """In an order that may end after any of them: current is one or the other, and the old one is known."""
    first = leftovers(versions)
    state = moved(versions, first)
    old = _holder(state, CURRENT)
    if old == version_id(number):
        return first
    mark = (Move(label=MARK, to=old),) if old not in {None, PLACEHOLDER} else ()
    change = (*mark, Move(label=CURRENT, to=version_id(number), source=old))
    return (*first, *change, *leftovers(moved(state, change)))


def demoted(versions: Versions, number: int) -> Moves:
    """What makes a pending generation a candidate; nothing when it is one. Else StoreConflict."""
    if staged(versions).get(number) is Stage.CANDIDATE:
        return ()
    _require_pending(versions, number)
    name, labels = version_id(number), next(each.labels for each in versions if each.number == number)
    protection = () if candidate(number) in labels else (Move(label=candidate(number), to=name),)
    return (*leftovers(versions), *protection, Move(label=PENDING, source=name))


def moved(versions: Versions, moves: Iterable[Move]) -> tuple[Version, ...]:
    """The versions as they are after the moves."""
    found = {each.id: each for each in versions}
    for move in moves:
        for each in list(found.values()):
            labels = each.labels - {move.label} | ({move.label} if each.id == move.to else set())
            found[each.id] = replace(each, labels=labels)
    return tuple(found.values())


def require_room(versions: Versions, name: str) -> None:
    """Another generation can be pending, and then current or a candidate, and nothing is dropped that may be live.

    NoPlaceError, which says what to do, else.
    """
    labels = {label for each in versions for label in each.labels}
    if len(labels | {CURRENT, PREVIOUS, PENDING, MARK}) > MAX_LABELS:
        raise NoPlaceError(
            f"{name}: KMS allows {MAX_LABELS} version stages, and no room is left beside {', '.join(sorted(labels))}: take "
            "batchmod-candidate-… off a version whose password cannot be live any more (UpdateSecretVersionStage)"
        )
    earliest = min(versions, key=lambda each: (each.created, each.number or 0), default=None)
    if len(versions) >= MAX_VERSIONS and earliest is not None and earliest.labels:
        raise NoPlaceError(
            f"{name}: KMS keeps {MAX_VERSIONS} versions and would drop {earliest.id}, which is "
            f"{', '.join(sorted(earliest.labels))}: if its password cannot be live any more, take that stage off it "
            "(UpdateSecretVersionStage); if it is live, make it current first"
        )


def _require_pending(versions: Versions, number: int) -> None:
    stage = staged(versions).get(number)
    if stage is not Stage.PENDING:
        raise StoreConflict(f"generation {number} is {stage.value if stage else 'not in the store'}, not pending")


def _holder(versions: Versions, label: str) -> str | None:
    return next((each.id for each in versions if label in each.labels), None)
