"""Events of YAML to plain data, with the place of everything in it. Knows nothing of manifests. Pure.

Stricter than YAML 1.1: no tags, anchors, merge keys, repeated keys, nor numbers that mean
something else than they show. Whoever is told so gets line and column, from 1.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import Any

import yaml
from yaml import MappingEndEvent, MappingStartEvent, ScalarEvent

MAX_DEPTH = 20  # a manifest has 7; keeps every walk over a document shallow

Path = tuple[str | int, ...]  # keys and places in lists, from the top

_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_RESOLVER = yaml.resolver.Resolver()


class Form(StrEnum):
    """What a node is, and as what YAML 1.1 reads plain text."""

    MAPPING = "map"
    LIST = "seq"
    TEXT = "str"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    NULL = "null"
    MERGE = "merge"
    ALIAS = "alias"
    TAGGED = "tagged"


_FORMS = {str(form): form for form in Form}
_NO_KEY = frozenset([Form.MERGE, Form.ALIAS, Form.TAGGED, Form.MAPPING, Form.LIST])
_SUSPECT = frozenset(
    _RESOLVER.yaml_implicit_resolvers
)  # what plain text begins with that may be read as something else


@dataclass(slots=True)
class Node:
    """A piece of a document. `items` are the elements of a list, or keys and values of a mapping in turn."""

    form: Form
    line: int
    column: int
    text: str = ""
    items: list["Node"] = field(default_factory=list)

    @property
    def is_key(self) -> bool:
        """Whether it can be the key of a mapping."""
        return self.form not in _NO_KEY and "\0" not in self.text

    @property
    def pairs(self) -> Iterator[tuple["Node", "Node"]]:
        return zip(self.items[::2], self.items[1::2], strict=True)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where."""

    line: int
    column: int
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping, the nodes that it was made of, and what was wrong with them."""

    root: Node
    data: dict[str, Any]
    problems: tuple[Problem, ...]


def tree(events: Iterable[yaml.Event]) -> Node:
    """The node that these events are of, all of it."""
    open_ = [Node(Form.LIST, 1, 1)]
    whole = open_[0]
    for event in events:
        grow(open_, event)
    return whole.items[0]


def grow(open_: list[Node], event: yaml.Event) -> None:
    """The nodes that are open after the event, and what it says in the last of them. No recursion: a deep document must
    not be able to end the process, as it does in libyaml's own composer.
    """
    if isinstance(event, yaml.CollectionEndEvent):
        open_.pop()
    elif isinstance(event, yaml.NodeEvent):
        node = _node(event)
        open_[-1].items.append(node)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(node)


def place_of(event: yaml.Event) -> tuple[int, int]:
    """Line and column, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _node(event: yaml.NodeEvent) -> Node:
    place = place_of(event)
    tagged = getattr(event, "tag", None) is not None
    match event:
        case MappingStartEvent():
            return Node(Form.TAGGED if tagged else Form.MAPPING, *place)
        case yaml.SequenceStartEvent():
            return Node(Form.TAGGED if tagged else Form.LIST, *place)
        case ScalarEvent(value=value, implicit=implicit):
            return Node(Form.TAGGED if tagged else _form(value, implicit), *place, value)
        case _:
            return Node(Form.ALIAS, *place)


@lru_cache(maxsize=1024)  # the keys of a hundred thousand targets are four
def _form(value: str, implicit: tuple[bool, bool]) -> Form:
    tag = _RESOLVER.resolve(yaml.ScalarNode, value, implicit)  # type: ignore[no-untyped-call]  # the stubs leave it out
    name = tag.rpartition(":")[2]
    return _FORMS.get(name, Form.TEXT)  # a date is text: no key takes one


_UNREAD = {
    Form.INT: "is a number that YAML reads as another one: write plain digits, or put it in quotes",
    Form.ALIAS: "aliases are not read: write it out",
    Form.TAGGED: "tags are not read: leave the ! away, or put the text in quotes",
}


_SEXAGESIMAL = "is a number to base 60 for YAML: write it in quotes, or, where a number belongs, write plain digits"


def plain(node: Node, path: Path) -> tuple[Any, list[Problem]]:
    """Plain data of the node, which stands at this path, and what is wrong; None in place of what is."""
    reader = _Reader()
    return reader.plain(node, path), reader.problems


def plain_text(events: Iterable[yaml.Event]) -> str | dict[str, Any] | None:
    """Plain data of what is text, or mappings of text; None for anything else, right or wrong.

    The same as `plain` says of their tree, for a fifth of the time: nearly every target is no more than that.
    """
    above: list[dict[str, Any]] = []
    key: str | None = None
    found: str | dict[str, Any] = ""
    for event in events:
        if isinstance(event, ScalarEvent):
            found = event.value
            if event.tag is not None or (event.implicit[0] and not _is_text(found)):
                return None
            if not above:
                continue
            if key is not None:
                above[-1][key] = found
                key = None
            elif found in above[-1] or "\0" in found:
                return None
            else:
                key = intern(found)
        elif isinstance(event, MappingStartEvent) and event.tag is None and (key is not None or not above):
            found = {}
            if key is not None:
                above[-1][key] = found
                key = None
            above.append(found)
        elif isinstance(event, MappingEndEvent):
            found = above.pop()
        else:
            return None
    return found


def _is_text(plain: str) -> bool:
    return plain[:1] not in _SUSPECT or _form(plain, (True, False)) is Form.TEXT


@dataclass(slots=True)
class _Reader:
    problems: list[Problem] = field(default_factory=list)

    def plain(self, node: Node, path: Path) -> Any:
        """Plain data; None for what is a problem already."""
        match node.form:
            case Form.MAPPING:
                return dict(self._pairs(node, path))
            case Form.LIST:
                return [self.plain(child, (*path, place)) for place, child in enumerate(node.items)]
            case Form.BOOL:
                return node.text.casefold() in {"true", "yes", "on"}
            case Form.INT if _PLAIN_NUMBER.fullmatch(node.text):
                return int(node.text)
            case Form.FLOAT:
                return float("nan")  # no key takes one: only its type matters
            case Form.NULL:
                return None
            case Form.INT | Form.ALIAS | Form.TAGGED:
                return self._problem(node, path, _SEXAGESIMAL if ":" in node.text else _UNREAD[node.form])
            case _:
                return node.text

    def _pairs(self, node: Node, path: Path) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key, value in node.pairs:
            if key.form is Form.MERGE:
                self._problem(key, path, "merge keys are not read: write it out")
            elif not key.is_key:
                self._problem(key, path, "a key must be plain text")
            elif key.text in first:
                self._problem(key, (*path, key.text), f"stands twice: first on line {first[key.text]}")
            else:
                first[key.text] = key.line
                yield key.text, self.plain(value, (*path, key.text))

    def _problem(self, node: Node, path: Path, text: str) -> None:
        self.problems.append(Problem(node.line, node.column, path, text))
