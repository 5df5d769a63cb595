"""What a plan is asked for, what came of each lane, and what is wrong with the selectors of the whole. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from batchmod.engine.judging import Change, Observed
from batchmod.errors import CallError, StoreError
from batchmod.model.plan import FailedAccount, Lane
from batchmod.model.selectors import Selector
from batchmod.model.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a manifest means: explicit targets, selectors, and what is to be changed on each instance."""

    name: str
    manifest_digest: str
    targets: Sequence[Target]
    selectors: Sequence[Selector]
    excluded: Callable[[str], bool]
    changes: tuple[Change, ...]
    address: str | None  # of every login, instead of each instance's own
    login: bool  # passwords are proved by a login
    not_with: str | None = None  # a var: of the instances with the same value of it one is in change at a time


@dataclass(slots=True, kw_only=True)
class Work:
    """What is asked of one lane, and what came of it."""

    lane: Lane
    account: str
    targets: list[Target] = field(default_factory=list)
    selectors: list[int] = field(default_factory=list)  # places among the wanted ones
    observed: dict[str, Observed] = field(default_factory=dict)  # explicit targets, by id
    selected: dict[str, tuple[int, Observed]] = field(default_factory=dict)  # by id, with the first selector's place
    found: set[int] = field(default_factory=set)  # places of selectors that mean any instance here
    error: CallError | None = None
    broken: StoreError | None = None


def selected(works: Sequence[Work]) -> list[Observed]:
    """In the order of the selectors, then of lanes and ids."""
    all_of_them = [one for work in works for one in work.selected.values()]
    return [observed for _, observed in sorted(all_of_them, key=lambda one: one[0])]


def disagreeing(wanted: Wanted, works: Sequence[Work]) -> Iterator[str]:
    """An id that is selected in two places: an instance is in one only."""
    first: dict[str, Work] = {}
    for work in works:
        for name, (place, _) in work.selected.items():
            other = first.setdefault(name, work)
            if other is not work:
                yield (
                    f"{_place(wanted.selectors[place])}: {name} is in account {other.account}, region {other.lane.region} "
                    f"and in account {work.account}, region {work.lane.region}"
                )


def _place(selector: Selector) -> str:
    return f"{selector.where}: {selector.path}"


def empty(wanted: Wanted, works: Sequence[Work], failed: Mapping[str, FailedAccount]) -> Iterator[str]:
    """A selector that means nothing is a mistake, unless it says that it may."""
    found = {place for work in works for place in work.found}
    for place, selector in enumerate(wanted.selectors):
        if place not in found and not selector.allow_empty and selector.account not in failed:
            yield (
                f"{_place(selector)}: no instance in account {selector.account}, "
                f"{', '.join(selector.regions)} has all that is asked for: check it, or write allow_empty: true"
            )
