"""What a selector means is the whole list, checked again, or an error: never a part of it."""

from dataclasses import replace
from typing import Any

import pytest
from listed_support import One, Page
from selector_records import a_selector

from batchmod.engine.selecting import LISTINGS, matches, select, vars_of
from batchmod.errors import CallError, Verdict

ANY = a_selector()
CLUSTER = One(id="r-1", name="cache-1", architecture="cluster", tags={"env": "prod"})


def fleet(count: int, start: int = 0) -> list[One]:
    return [One(id=f"r-{number:03d}") for number in range(start, start + count)]


class Service:
    """Answers each listing from the next of its fleets, fifty a page; the last one stays."""

    def __init__(self, *fleets: list[One]) -> None:
        self.fleets = list(fleets)
        self.asked: list[int] = []

    async def page(self, number: int) -> Page:
        if number == 1 and self.asked and len(self.fleets) > 1:
            self.fleets.pop(0)
        self.asked.append(number)
        whole = self.fleets[0]
        return Page(len(whole), whole[(number - 1) * 50 : number * 50])


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (50, 1), (51, 2), (149, 3), (150, 3)])
async def test_every_page_is_asked_for_once(count: int, pages: int) -> None:
    """Fifty at a time, to the last one; and the first once more when there are others, to see whether it is the same."""
    service = Service(fleet(count))
    assert [one.id for one in await select(ANY, service.page)] == [one.id for one in fleet(count)]
    assert service.asked == [*range(1, pages + 1), *([1] if pages > 1 else [])]


async def test_a_list_that_changes_is_read_again() -> None:
    """Another total on the second page: the first listing was no list."""
    answers = [
        Page(60, fleet(50)),
        Page(59, fleet(9, 50)),
        Page(59, fleet(50)),
        Page(59, fleet(9, 50)),
        Page(59, fleet(50)),
    ]

    async def page(_: int) -> Page:
        return answers.pop(0)

    assert len(await select(ANY, page)) == 59


async def test_an_instance_that_slid_over_a_page_is_not_lost() -> None:
    """One was released and one was made between the pages, the total is the same: the list is read again."""
    before, after = fleet(60), [One(id="r-new"), *fleet(5), *fleet(54, 6)]
    later = [Page(60, after[:50]), Page(60, after[50:])]
    answers = [Page(60, before[:50]), later[1], *later, later[0]]
    answers.insert(2, later[0])

    async def page(_: int) -> Page:
        return answers.pop(0)

    assert {one.id for one in await select(ANY, page)} == {one.id for one in after}
    assert answers == []


async def test_an_instance_on_two_pages_is_a_list_that_changed() -> None:
    """One was released between the pages, so that the next moved up; another was not seen at all."""
    answers = [Page(60, fleet(50)), Page(60, fleet(10, 49))] * LISTINGS

    async def page(_: int) -> Page:
        return answers.pop(0)

    with pytest.raises(CallError) as caught:
        await select(ANY, page)
    assert (caught.value.verdict, answers) == (Verdict.LOST, [])


async def test_a_page_that_fails_fails_the_selection() -> None:
    """Throttled to the end, or refused: never fewer instances."""

    async def page(number: int) -> Page:
        if number == 2:
            raise CallError(Verdict.SLOW_DOWN, code="Throttling.User", message="")
        return Page(60, fleet(50))

    with pytest.raises(CallError, match=r"Throttling\.User"):
        await select(ANY, page)


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ({"statuses": ("Normal",)}, {"status": "Changing"}),
        ({"engine_versions": ("6.0", "7.0")}, {"engine_version": "5.0"}),
        ({"editions": ("Enterprise",)}, {"edition": None}),
        ({"architectures": ("cluster",)}, {"architecture": "standard"}),
        ({"charge_types": ("PostPaid",)}, {"charge_type": "PrePaid"}),
        ({"resource_groups": ("rg-1", "rg-2")}, {"resource_group": "rg-3"}),
        ({"vpcs": ("vpc-1",)}, {"vpc": None}),
        ({"names": ("x", "cache-*")}, {"name": "Cache-1"}),
        ({"names": ("cache-?",)}, {"name": None}),
        ({"tags": {"env": "prod"}}, {"tags": {"env": "production"}}),
        ({"tags": {"env": "prod"}}, {"tags": {}}),
    ],
)
async def test_what_the_service_lists_is_looked_at_again(asked: dict[str, Any], other: dict[str, Any]) -> None:
    """A service that ignores a filter selects nothing more."""
    wanted = replace(ANY, **asked)
    assert matches(wanted, CLUSTER)
    assert not matches(wanted, replace(CLUSTER, **other))
    service = Service([CLUSTER, replace(CLUSTER, id="r-2", **other)])
    assert [one.id for one in await select(wanted, service.page)] == ["r-1"]


def test_all_that_is_asked_for_must_hold() -> None:
    """One condition that fails is enough."""
    assert not matches(replace(ANY, statuses=("Normal",), editions=("Community",)), CLUSTER)


def test_tags_become_vars_but_those_that_no_var_may_be() -> None:
    """A tag cannot hide what every target has, nor be a password."""
    tags = {"team": "pay", "region": "x", "password": "x", "empty": "", "odd": "a\nb", "a{b": "x", "成本中心": "支付"}
    assert vars_of(tags) == {"team": "pay", "成本中心": "支付"}
