"""Which instances a selector means: the service's list, whole and consistent, and our own look at each of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from batchmod.errors import CallError, Verdict
from batchmod.model.selectors import Selector
from batchmod.model.templates import var_problem

LISTINGS = 3  # how often a list that changes while it is read is read


class Listed(Protocol):
    """What DescribeInstances says of one instance, as far as a selector asks."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def status(self) -> str: ...
    @property
    def engine_version(self) -> str | None: ...
    @property
    def edition(self) -> str | None: ...
    @property
    def architecture(self) -> str | None: ...
    @property
    def charge_type(self) -> str | None: ...
    @property
    def resource_group(self) -> str | None: ...
    @property
    def vpc(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


L = TypeVar("L", bound=Listed)
L_co = TypeVar("L_co", bound=Listed, covariant=True)


class Page(Protocol[L_co]):
    """One page of a list that has `total` instances in all."""

    @property
    def total(self) -> int: ...
    @property
    def instances(self) -> Sequence[L_co]: ...


async def select(selector: Selector, page: Callable[[int], Awaitable[Page[L]]]) -> list[L]:
    """Every instance of one lane that the selector means, in order of id. `page` gives a page by number, from 1.

    Raises CallError when a page does, or when the list changes each time while it is read: never a part of it.
    """
    for _ in range(LISTINGS):
        whole = await _whole(page)
        if whole is not None:
            return sorted((one for one in whole if matches(selector, one)), key=lambda one: one.id)
    raise CallError(Verdict.LOST, code="UnreadableReply", message="the list of instances changes while it is read")


async def _whole(page: Callable[[int], Awaitable[Page[L]]]) -> list[L] | None:
    """All pages; None when they are not of one list: another total, an instance that is on two of them, or a first
    page that has changed by the time the last one was read.
    """
    first = await page(1)
    found = {one.id: one for one in first.instances}
    seen, number = len(first.instances), 1
    while seen < first.total:
        number += 1
        more = await page(number)
        seen += len(more.instances)
        found |= {one.id: one for one in more.instances}
        if more.total != first.total or not more.instances:
            return None
    if len(found) != seen:
        return None
    again = await page(1) if number > 1 else first
    same = again.total == first.total and [one.id for one in again.instances] == [one.id for one in first.instances]
    return list(found.values()) if same else None


def matches(selector: Selector, one: Listed) -> bool:
    """The instance has all that the selector asks for. The service's own filtering is not trusted."""
    wanted: tuple[tuple[Sequence[str], str | None], ...] = (
        (selector.statuses, one.status),
        (selector.engine_versions, one.engine_version),
        (selector.editions, one.edition),
        (selector.architectures, one.architecture),
        (selector.charge_types, one.charge_type),
        (selector.resource_groups, one.resource_group),
        (selector.vpcs, one.vpc),
    )
    tagged = all(one.tags.get(key) == value for key, value in selector.tags.items())
    return (
        selector.fits_name(one.name or "") and tagged and all(not values or value in values for values, value in wanted)
    )


def vars_of(tags: Mapping[str, str]) -> dict[str, str]:
    """An instance's tags as vars of templates: those that a target's own vars could be."""
    return {key: value for key, value in tags.items() if value and value.isprintable() and var_problem(key) is None}
