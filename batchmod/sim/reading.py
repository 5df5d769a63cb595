"""Strict reading of a parsed YAML or JSON value: every complaint names the path of the place."""

import difflib
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import yaml

from batchmod.sim.errors import SimError

T = TypeVar("T")
HUGE = 1e300  # no number is as large


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once, and JSON's spelling of a character as two halves is that character."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # PyYAML trips over it
            raise yaml.MarkedYAMLError(problem="not a value of its type", problem_mark=node.start_mark) from error

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = super().construct_scalar(node)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise yaml.MarkedYAMLError(problem="half of a character", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice", problem_mark=node.value[at][0].start_mark
                )
        return super().construct_mapping(node, deep=deep)


def load(text: str, source: str) -> "Node":
    """The one document of a YAML or JSON text; an empty one is an empty mapping. Raises SimError."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader that refuses more
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SimError(f"{source}{place}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise SimError(f"{source}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise SimError(f"{source}: is nested too deeply") from error
    return Node({} if value is None else value, source, "")


class Node:
    """One place of the file: a value, and the path that leads to it."""

    def __init__(self, value: Any, source: str, path: str) -> None:
        self.value = value
        self._source = source
        self._path = path

    def wrong(self, problem: str) -> SimError:
        return SimError(f"{self._source}: {self._path or 'the file'}: {problem}")

    def replaced(self, value: Any) -> "Node":
        """Another value at the same place."""
        return Node(value, self._source, self._path)

    def mapping(self) -> dict[str, "Node"]:
        if not isinstance(self.value, dict):
            raise self.wrong("must be a mapping")
        for key in self.value:
            if not isinstance(key, str):
                raise self.wrong(f"the key {key!r} is not a text")
        prefix = f"{self._path}." if self._path else ""
        return {key: Node(value, self._source, f"{prefix}{key}") for key, value in self.value.items()}

    def fields(self, known: Collection[str], required: Collection[str] = ()) -> dict[str, "Node"]:
        """The mapping's places; none but the known keys, all of the required ones."""
        places = self.mapping()
        for key, place in places.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise place.wrong("unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
        for key in required:
            if key not in places:
                raise self.wrong(f"{key!r} is missing")
        return places

    def items(self) -> list["Node"]:
        if not isinstance(self.value, list):
            raise self.wrong("must be a list")
        return [Node(value, self._source, f"{self._path}[{at}]") for at, value in enumerate(self.value)]

    def each(self, read: Callable[["Node"], T]) -> tuple[T, ...]:
        return tuple(read(place) for place in self.items())

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("must be a text (in quotes, if it looks like a number)")
        return self.value

    def one_of(self, known: Collection[str]) -> str:
        text = self.text()
        if text not in known:
            near = difflib.get_close_matches(text, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; one of {', '.join(sorted(known))}"
            raise self.wrong(f"unknown value {text!r}{hint}")
        return text

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("must be true or false")
        return self.value

    def number(self, *, low: float | None = 0.0, high: float = float("inf")) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not abs(self.value) < HUGE:
            raise self.wrong("must be a number")
        if self.value > high or (low is not None and self.value < low):
            raise self.wrong(
                f"must be between {low:g} and {high:g}" if low is not None else f"must be at most {high:g}"
            )
        return float(self.value)

    def count(self, *, low: int = 0, high: int = 10**9) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.wrong("must be a whole number")
        return int(self.number(low=low, high=high))
