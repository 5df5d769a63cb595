"""The entries of `targets`, each checked as soon as it is read. Of one that is right, only what it says is kept. Pure.

Defaults and accounts may stand behind them: regions and accounts are what they are when the whole manifest is known.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from batchmod.model.accounts import account_problem
from batchmod.model.manifest import Entry, FileEntry, SelectEntry, TargetEntry
from batchmod.model.problems import First, locate, problems_of
from batchmod.model.yamlstream import Events
from batchmod.model.yamltext import Node, Path, Problem, place_of, plain, plain_text, tree

TARGETS: Final = "targets"

_ENTRY: TypeAdapter[Any] = TypeAdapter(Entry)
NO_VARS: Final[Mapping[str, str]] = MappingProxyType({})  # one for all that have none


class Named(NamedTuple):
    """An explicit target, as small as it can be: there may be hundreds of thousands."""

    id: str
    region: str | None
    account: str | None
    vars: Mapping[str, str]
    line: int
    column: int


class Placed(NamedTuple):
    """A file or a selection, and where it stands."""

    entry: FileEntry | SelectEntry
    line: int
    column: int


class _Use(NamedTuple):
    """Where an account is named."""

    place: tuple[int, int]
    path: Path


@dataclass(slots=True)
class Entries:
    """What was read so far. `found` has one for each entry, None for a wrong one."""

    found: list[Named | Placed | None] = field(default_factory=list)
    problems: First[Problem] = field(default_factory=First)
    _uses: dict[str, First[_Use]] = field(default_factory=dict)  # of accounts, by name

    def take(self, events: Events) -> None:
        """The next entry: all events of its node."""
        entry = _target(events) or self._checked(tree(events))
        line, column = place_of(events[0])
        if isinstance(entry, TargetEntry):
            region, account = entry.region and intern(entry.region), entry.account and intern(entry.account)
            if account is not None:
                self._use(account, events, ("account",))
            self.found.append(Named(entry.id, region, account, entry.vars or NO_VARS, line, column))
        elif entry is not None:
            if isinstance(entry, SelectEntry) and entry.select.account is not None:
                self._use(entry.select.account, events, ("select", "account"))
            self.found.append(Placed(entry, line, column))
        else:
            self.found.append(None)

    @property
    def unnamed(self) -> list[FileEntry | SelectEntry]:
        """Files and selections, in the order written."""
        return [one.entry for one in self.found if isinstance(one, Placed)]

    def unknown_accounts(self, known: frozenset[str] | None) -> First[Problem]:
        """Every use of an account that is none of the known, in the order written. None: nobody can tell which are."""
        wrong = {} if known is None else {name: uses for name, uses in self._uses.items() if name not in known}
        problems: First[Problem] = First()
        for place, path, name in sorted((*use, name) for name, uses in wrong.items() for use in uses.kept):
            problems.add(_unknown, place, path, name, known)
        problems.count = sum(uses.count for uses in wrong.values())
        return problems

    def _checked(self, node: Node) -> Entry | None:
        """What it is; None, and what is wrong with it is known, when it is none."""
        path = (TARGETS, len(self.found))
        data, problems = plain(node, path)
        try:
            entry: Entry = _ENTRY.validate_python(data)
        except ValidationError as error:  # in no variable that stays: it knows this frame, which would keep it for good
            self._tell(problems, problems_of(error, node, problems, path))
            return None
        self._tell(problems)
        return entry

    def _tell(self, problems: list[Problem], more: Iterable[Callable[[], Problem]] = ()) -> None:
        """Of one entry."""
        if self.problems.full:
            self.problems.count += len(problems) + sum(1 for _ in more)
            return
        for problem in sorted([*problems, *(make() for make in more)], key=lambda one: (one.line, one.column)):
            self.problems.add(lambda: problem)  # noqa: B023  called before the next one

    def _use(self, account: str, events: Events, path: Path) -> None:
        uses = self._uses.get(account)
        if uses is None:
            uses = self._uses[account] = First()
        if uses.full:
            uses.count += 1
        else:
            place, _, _ = locate(tree(events), path)
            uses.add(_Use, place, (TARGETS, len(self.found), *path))


def _target(events: Events) -> TargetEntry | None:
    """The explicit target that these events are, if they are one and nothing is wrong with it."""
    data = plain_text(events)
    match data:
        case str():
            data = {"id": data}
        case None | {"from": _} | {"select": _}:
            return None
    try:
        return TargetEntry.model_validate(data)
    except ValidationError:
        return None


def _unknown(place: tuple[int, int], path: Path, name: str, known: frozenset[str]) -> Problem:
    return Problem(*place, path, account_problem(name, known) or "")
