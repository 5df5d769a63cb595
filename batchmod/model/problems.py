"""What pydantic found wrong, in the words of the manifest and with the place in its text. Pure.

No message holds a value that could be a secret: in and under a key about passwords, secrets or tokens, and in an account,
none is shown. Nor is a URL, which may have a password in it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchmod.model.changes import NO_LITERAL
from batchmod.model.fields import NO_ACCESS_KEY
from batchmod.model.rules import is_access_key, password_problem, region_problem
from batchmod.model.schema import keys_anywhere, keys_at
from batchmod.model.suggest import did_you_mean
from batchmod.model.yamltext import Form, Node, Path, Problem

T = TypeVar("T")
MOST = 200  # problems that are shown

_SECRETIVE = re.compile("pass|pwd|secret|token|credential", re.IGNORECASE)
_WORD = re.compile("[A-Za-z_]{1,20}")
_ACCESS_KEY = re.compile("access[_-]?key|security[_-]?token|sts[_-]?token", re.IGNORECASE)
_CREDENTIAL = re.compile("key|secret|token|credential|pass|pwd|^(id|ak|sk|value)$", re.IGNORECASE)  # in an account
_PASSWORD_KEY = re.compile("(pass([_-]?word|wd|phrase)?|pwd)$", re.IGNORECASE)
_SAID = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "too_long": "must be at most {max_length}: the service takes no more",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_WANTED = {
    "string_type": "text",
    "text_or_rename": "text, or pattern and replace",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


@dataclass(slots=True)
class First(Generic[T]):
    """The first of many, as many as are shown, and how many there are. The words of the others are never made."""

    kept: list[T] = field(default_factory=list)
    count: int = 0

    def add(self, make: Callable[..., T], *of: Any) -> None:
        """One more: what is made of these."""
        self.count += 1
        if not self.full:
            self.kept.append(make(*of))

    @property
    def full(self) -> bool:
        return len(self.kept) == MOST


def problems_of(
    error: ValidationError, root: Node, known: Sequence[Problem], above: Path = ()
) -> Iterator[Callable[[], Problem]]:
    """Makers of every problem once, but those of a place where the text itself was wrong already.

    What was validated is what stands in the root, which itself stands in the manifest below the path `above`.
    """
    told = {(problem.line, problem.column) for problem in known}
    for details in error.errors(include_url=False, include_input=False):
        loc = tuple(part for part in details["loc"] if not str(part).startswith("\0") and part != "[key]")
        place, node, path = locate(root, loc, key=details["type"] == "extra_forbidden" or "[key]" in details["loc"])
        if place in told or (details["type"] == "too_short" and node.items):
            continue  # too short only because its elements are wrong
        yield partial(_problem, place, details, node, (*above, *path))


def _problem(place: tuple[int, int], details: ErrorDetails, node: Node, path: Path) -> Problem:
    return Problem(*place, path, _text(details, node, path))


def locate(root: Node, loc: Path, *, key: bool = False) -> tuple[tuple[int, int], Node, Path]:
    """Line and column, the node, and the path as far as the document goes, plus the key that is missing in it.

    With `key`, the place is that of the key instead of its value.
    """
    node, place = root, (root.line, root.column)
    for depth, part in enumerate(loc):
        keyed = _child(node, part)
        if keyed is None:
            return place, node, loc[: depth + (node.form is Form.MAPPING)]
        node = keyed[1]
        named = keyed[0] if key else node
        place = (named.line, named.column)
    return place, node, loc


def _child(node: Node, part: str | int) -> tuple[Node, Node] | None:
    match part:
        case int() if node.form is Form.LIST:
            return node.items[part], node.items[part]
        case str() if node.form is Form.MAPPING:
            return next(((name, value) for name, value in node.pairs if name.text == part), None)
        case _:
            return None


def show_path(path: Path) -> str:
    """`targets[3].vars.team`; a key that is no word stands in quotes, and one that may be a secret not at all."""
    shown = ""
    for depth, part in enumerate(path):
        if isinstance(part, int):
            shown += f"[{part}]"
        elif part not in keys_at(path[:depth]) and _may_be_secret(path[:depth], part):
            break
        else:
            shown += f".{part}" if re.fullmatch(r"[\w-]+", part) else f'["{part}"]'
    return shown.removeprefix(".")


def show(problems: Iterable[Problem], source: str) -> list[str]:
    """`file:line:column: path: what is wrong`, in the order of the text."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
    return [
        f"{source}:{problem.line}:{problem.column}: {f'{path}: ' if (path := show_path(problem.path)) else ''}{problem.text}"
        for problem in ordered
    ]


def at_most(lines: Sequence[str], count: int = 0) -> list[str]:
    """The first of them, and how many more there are of this count, or of them; nothing that would steer a terminal."""
    more = max(count, len(lines)) - MOST
    shown = [line if line.isprintable() else line.encode("unicode_escape").decode() for line in lines[:MOST]]
    return shown if more <= 0 else [*shown, f"and {more} more"]


def _secretive(path: Path) -> bool:
    return _in_account(path) or any(isinstance(part, str) and _SECRETIVE.search(part) for part in path)


def _in_account(path: Path) -> bool:
    return path[:1] == ("accounts",) and len(path) > 1


def _may_be_secret(section: Path, key: str) -> bool:
    """Whether a key that nobody knows there could be what somebody meant to keep to himself."""
    if "://" in key:
        return True
    match section:
        case ("accounts",):
            return is_access_key(key)
        case ("endpoints",):
            return region_problem(key) is not None and not _is_plain(key)
        case _:
            return _secretive(section) and not _is_plain(key)


def _is_plain(key: str) -> bool:
    """A mistyped key rather than a password that stands in its place: a word, of a kind that no password may be."""
    return bool(_WORD.fullmatch(key) and password_problem(key))


def _text(details: ErrorDetails, node: Node, path: Path) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return _unknown(path)
        case "value_error":
            return str(context["error"])
        case kind if kind in _SAID:
            return _SAID[kind].format(**context)
        case "literal_error":
            near = "" if _secretive(path) else did_you_mean(node.text, re.findall("'(.*?)'", context["expected"]))
            return f"must be {context['expected']}{near}"
        case kind if kind in _WANTED:
            return f"must be {_WANTED[kind]}{_found(node, wanted=_WANTED[kind], hidden=_secretive(path))}"
        case _:
            return "is not valid" if _secretive(path) else details["msg"]


def _unknown(path: Path) -> str:
    """Where somebody would write a password, where they come from is told; anywhere else, which keys there are."""
    *section, key = path
    known = keys_at(tuple(section))
    if _ACCESS_KEY.search(str(key)) or (_in_account(tuple(section)) and _CREDENTIAL.search(str(key))):
        return f"unknown key; {NO_ACCESS_KEY}"
    literal = _PASSWORD_KEY.search(str(key)) or (str(key).casefold() == "value" and _secretive(tuple(section)))
    if not section and not literal and key in keys_anywhere():
        return f"unknown key here: indent it below what it belongs to; known here: {', '.join(known)}"
    if near := did_you_mean(str(key), known):
        return f"unknown key{near}"
    return f"unknown key; {NO_LITERAL}" if literal else f"unknown key; known here: {', '.join(known)}"


def _found(node: Node, *, wanted: str, hidden: bool) -> str:
    """What stands there instead, and how to mend it."""
    written = "this" if hidden else f'"{node.text}"'
    quotes = "; put it in quotes" if "text" in wanted else ""
    match node.form:
        case Form.NULL:
            return ", and nothing stands here"
        case Form.BOOL:
            return f": YAML reads {written} as true or false{quotes}"
        case Form.INT | Form.FLOAT:
            return f": YAML reads {written} as a number{quotes}"
        case Form.LIST:
            return ", and this is a list"
        case Form.MAPPING:
            return ", and this is a mapping"
        case _:
            return ", and this is text"
