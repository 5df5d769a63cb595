"""Which instances a manifest means: its entries and files become targets, each with everything it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from batchmod.errors import UsageError
from batchmod.model.accounts import account_problem
from batchmod.model.fleetfile import COLUMNS, SUFFIXES, Row, read_rows
from batchmod.model.manifest import FileEntry, TargetEntry
from batchmod.model.rules import instance_id_problem, region_problem
from batchmod.model.selectors import SelectEntry, Selector, selector_of
from batchmod.model.settings import Defaults
from batchmod.model.suggest import did_you_mean

NO_REGION = "is missing, and there is no defaults.region"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One instance to be changed."""

    id: str
    region: str
    account: str
    vars: Mapping[str, str]
    where: str  # file:line, or file:line:column

    @property
    def facts(self) -> dict[str, str]:
        """What templates know of it before the service was asked."""
        return {"id": self.id, "region": self.region, "account": self.account, **self.vars}


@dataclass(slots=True)
class Gathering:
    """Collects targets and selectors, and what is wrong with them.

    `accounts` are those that a file may name; None: any. `regions` is off when a wrong default makes any region missing.
    """

    defaults: Defaults
    accounts: frozenset[str] | None
    regions: bool = True
    targets: list[Target] = field(default_factory=list)
    selectors: list[Selector] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _seen: dict[str, str] = field(default_factory=dict)

    def add(self, entry: TargetEntry, where: str, path: str) -> None:
        """Of an entry that is written in the manifest."""
        region = entry.region or self.defaults.region
        if region is None:
            self._no_region(f"{where}: {path}.region")
        self._take(entry.id, region, entry.account, entry.vars, f"{where}", f"{where}: {path}")

    def add_selection(self, entry: SelectEntry, where: str, path: str) -> None:
        """Of an entry that says what its targets are."""
        selector = selector_of(entry.select, self.defaults, where, f"{path}.select")
        if selector is None:
            self._no_region(f"{where}: {path}.select.regions")
        else:
            self.selectors.append(selector)

    def add_file(self, entry: FileEntry, directory: Path, where: str, path: str) -> None:
        """Of all rows of a file."""
        file = directory / entry.from_
        if file.suffix.lower() not in SUFFIXES:
            near = did_you_mean(file.suffix.lower(), SUFFIXES)
            self.problems.append(f"{where}: {path}.from: must be a file that ends in .csv or .jsonl{near}")
            return
        try:
            for row in read_rows(file):
                if isinstance(row, str):
                    self.problems.append(f"{file}:{row}")
                else:
                    self._row(row, file)
        except UsageError as error:
            self.problems.append(f"{where}: {path}.from: {error}")

    def _row(self, row: Row, file: Path) -> None:
        cells = row.cells
        problems = [f"{file}:{row.where(key)}: {key}: {problem}" for key, problem in self._wrong(cells)]
        self.problems += problems
        region = cells.get("region", self.defaults.region)
        if region is None:
            self._no_region(f"{file}:{row.where('region')}: region")
        if not problems:
            variables = {key: value for key, value in cells.items() if key not in COLUMNS}
            where = f"{file}:{row.line}"
            self._take(cells["id"], region, cells.get("account"), variables, where, f"{file}:{row.where('id')}: id")

    def _no_region(self, place: str) -> None:
        if self.regions:
            self.problems.append(f"{place}: {NO_REGION}")

    def _take(
        self, name: str, region: str | None, account: str | None, variables: Mapping[str, str], where: str, place: str
    ) -> None:
        if first := self._seen.get(name):
            self.problems.append(f"{place}: {name} stands twice: first in {first}")
            return
        self._seen[name] = where
        if region is not None:
            account = account or self.defaults.account
            self.targets.append(Target(id=name, region=region, account=account, vars=variables, where=where))

    def _wrong(self, cells: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        if (name := cells.get("id")) is None:
            yield "id", "is missing"
        elif problem := instance_id_problem(name):
            yield "id", problem
        if "region" in cells and (problem := region_problem(cells["region"])):
            yield "region", problem
        if "account" in cells and (problem := account_problem(cells["account"], self.accounts)):
            yield "account", problem
        yield from ((key, "has a character that cannot be printed") for key in cells if not cells[key].isprintable())


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The ids, and the patterns of ids, that are left out."""

    ids: frozenset[str]
    globs: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Sequence[str]) -> "Exclusion":
        ids = frozenset(pattern for pattern in patterns if not set(pattern) & set("*?["))
        return cls(ids, tuple(pattern for pattern in patterns if pattern not in ids))

    def covers(self, instance_id: str) -> bool:
        """Case matters."""
        if not self.globs:
            return instance_id in self.ids
        return instance_id in self.ids or any(fnmatchcase(instance_id, glob) for glob in self.globs)
