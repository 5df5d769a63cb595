"""YAML text to plain data, with the place of everything in it. Knows nothing of manifests.

Read with libyaml, and stricter than YAML 1.1: no tags, anchors, merge keys, repeated keys, nor numbers that mean
something else than they show. Whoever is told so gets line and column, from 1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml
from yaml import CSafeLoader

from batchmod.errors import UsageError

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


@dataclass(slots=True)
class Node:
    """A piece of a document. `items` are the elements of a list, or keys and values of a mapping in turn."""

    form: Form
    line: int
    column: int
    text: str = ""
    items: list["Node"] = field(default_factory=list)

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


def read_yaml(text: str, source: str) -> Document:
    """The one document in the text. UsageError when there is none, several, or no mapping; or when it is no YAML."""
    try:
        root = _compose(text, source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise UsageError(f"{source}:{place}: is no YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line, column = place_of(text, error.position)
        raise UsageError(f"{source}:{line}:{column}: is no YAML: a character that cannot be printed") from error
    reader = _Reader()
    data = reader.plain(root, ())
    if root.form is not Form.MAPPING:
        raise UsageError(f"{source}:{root.line}:{root.column}: must be a mapping: version, name, targets, changes")
    return Document(root, data, tuple(reader.problems))


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at the offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _compose(text: str, source: str) -> Node:
    """Nodes without recursion: a deep document must not be able to end the process, as it does in libyaml's own."""
    whole = Node(Form.LIST, 1, 1)
    open_ = [whole]
    documents = 0
    for event in yaml.parse(text, Loader=CSafeLoader):
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise _refusal(event, source, "a second document begins here, and one is expected")
            case yaml.CollectionEndEvent():
                open_.pop()
            case yaml.NodeEvent():
                node = _node(event)
                open_[-1].items.append(node)
                if isinstance(event, yaml.CollectionStartEvent):
                    open_.append(node)
                if len(open_) > MAX_DEPTH:
                    raise _refusal(event, source, f"nested more than {MAX_DEPTH} levels deep")
    if not whole.items or (whole.items[0].form is Form.NULL and not whole.items[0].text):
        raise UsageError(f"{source}:1:1: there is nothing in it")
    return whole.items[0]


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _refusal(event: yaml.Event, source: str, problem: str) -> UsageError:
    line, column = _place(event)
    return UsageError(f"{source}:{line}:{column}: {problem}")


def _node(event: yaml.NodeEvent) -> Node:
    place = _place(event)
    tagged = getattr(event, "tag", None) is not None
    match event:
        case yaml.MappingStartEvent():
            return Node(Form.TAGGED if tagged else Form.MAPPING, *place)
        case yaml.SequenceStartEvent():
            return Node(Form.TAGGED if tagged else Form.LIST, *place)
        case yaml.ScalarEvent(value=value, implicit=implicit):
            return Node(Form.TAGGED if tagged else _form(value, implicit), *place, value)
        case _:
            return Node(Form.ALIAS, *place)


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
            elif key.form in {Form.ALIAS, Form.TAGGED, Form.MAPPING, Form.LIST} or "\0" in key.text:
                self._problem(key, path, "a key must be plain text")
            elif key.text in first:
                self._problem(key, (*path, key.text), f"stands twice: first on line {first[key.text]}")
            else:
                first[key.text] = key.line
                yield key.text, self.plain(value, (*path, key.text))

    def _problem(self, node: Node, path: Path, text: str) -> None:
        self.problems.append(Problem(node.line, node.column, path, text))
