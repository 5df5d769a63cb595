"""Pages by number, as the vendor's lists have them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from batchmod.sim.errors import invalid

T = TypeVar("T")
MAX_PAGE, DEFAULT_PAGE = 50, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    items: list[T]
    numbers: dict[str, int]  # the fields of the reply that say which page of what


def page_of(
    found: Sequence[T], params: Mapping[str, str], *, default: int = DEFAULT_PAGE, high: int = MAX_PAGE
) -> Page[T]:
    """The page that PageNumber and PageSize ask for; past the end an empty one. Raises InvalidParameter."""
    number = whole_number(params, "PageNumber", default=1, high=10**6)
    size = whole_number(params, "PageSize", default=default, high=high)
    return Page(
        items=list(found[(number - 1) * size : number * size]),
        numbers={"PageNumber": number, "PageSize": size, "TotalCount": len(found)},
    )


def whole_number(params: Mapping[str, str], name: str, *, default: int, high: int) -> int:
    text = params.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= high:
        raise invalid(name)
    return int(text)
