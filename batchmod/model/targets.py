"""Which instances a manifest means: its entries and files become targets, each with everything it needs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from sys import intern

from batchmod.errors import UsageError
from batchmod.model.accounts import account_problem
from batchmod.model.entries import NO_VARS, TARGETS, Named
from batchmod.model.fleetfile import COLUMNS, SUFFIXES, Row, read_rows
from batchmod.model.manifest import FileEntry
from batchmod.model.problems import First
from batchmod.model.rules import instance_id_problem, region_problem
from batchmod.model.selectors import SelectEntry, Selector, selector_of
from batchmod.model.settings import Defaults
from batchmod.model.suggest import did_you_mean

NO_REGION = "is missing, and there is no defaults.region: write one of them, such as region: cn-hangzhou"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One instance to be changed. Of many there are many: what they share is shared, and `where` is made when asked for."""

    id: str
    region: str
    account: str
    vars: Mapping[str, str]
    source: str  # the file; or, without a line, all of where
    line: int | None = None
    column: int | None = None

    @property
    def where(self) -> str:
        """`file:line`, or `file:line:column`."""
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)

    @property
    def facts(self) -> dict[str, str]:
        """What templates know of it before the service was asked."""
        return {"id": self.id, "region": self.region, "account": self.account, **self.vars}


@dataclass(slots=True)
class Gathering:
    """Collects targets and selectors, and what is wrong with them.

    `accounts` are those that a file may name; None: any. `regions` is off when a wrong default makes any region missing.
    """

    source: str  # the manifest
    defaults: Defaults
    accounts: frozenset[str] | None
    regions: bool = True
    targets: list[Target] = field(default_factory=list)
    selectors: list[Selector] = field(default_factory=list)
    problems: First[str] = field(default_factory=First)
    _seen: dict[str, Target] = field(default_factory=dict)

    def add(self, named: Named, place: int) -> None:
        """The explicit target that stands at this place of the list."""
        region = named.region or self.defaults.region
        target = Target(
            id=named.id,
            region=region or "",
            account=named.account or self.defaults.account,
            vars=named.vars,
            source=self.source,
            line=named.line,
            column=named.column,
        )
        if region is None:
            self._no_region(f"{target.where}: {TARGETS}[{place}].region")
        self._take(target, lambda: f"{target.where}: {TARGETS}[{place}]")

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
            self.problems.add("{}: {}.from: must be a file that ends in .csv or .jsonl{}".format, where, path, near)
            return
        source = str(file)
        try:
            for row in read_rows(file):
                if isinstance(row, str):
                    self.problems.add("{}:{}".format, source, row)
                else:
                    self._row(row, source)
        except UsageError as error:
            self.problems.add("{}: {}.from: {}".format, where, path, error)

    def _row(self, row: Row, source: str) -> None:
        cells = row.cells
        problems = [*self._wrong(cells)]
        for key, problem in problems:
            self.problems.add("{}:{}: {}: {}".format, source, row.where(key), key, problem)
        region = cells.get("region", self.defaults.region)
        if region is None:
            self._no_region(f"{source}:{row.where('region')}: region")
        if not problems:
            target = Target(
                id=cells["id"],
                region=intern(region or ""),
                account=intern(cells.get("account", self.defaults.account)),
                vars={intern(key): value for key, value in cells.items() if key not in COLUMNS} or NO_VARS,
                source=source,
                line=row.line,
            )
            self._take(target, lambda: f"{source}:{row.where('id')}: id")

    def _no_region(self, place: str) -> None:
        if self.regions:
            self.problems.add("{}: {}".format, place, NO_REGION)

    def _take(self, target: Target, place: Callable[[], str]) -> None:
        """Unless its id stands twice, or it has no region."""
        first = self._seen.setdefault(target.id, target)
        if first is not target:
            self.problems.add(lambda: f"{place()}: {target.id} stands twice: first in {first.where}")
        elif target.region:
            self.targets.append(target)

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
