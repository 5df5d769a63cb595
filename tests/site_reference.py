"""The pages below docs/reference and the JSON Schema that jobs/ names, made from the code: `python tests/site_reference.py`
writes them. Pure but for that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

import click

from batchmod.app.starting import SCHEMA_FILE, schema_text
from batchmod.cli import cli
from batchmod.model.events import Kind, Outcome, Proof, StoppedBy
from batchmod.model.exits import MEANINGS
from batchmod.model.schema import json_schema
from batchmod.report.rows import ReportRow
from batchmod.report.sheets import Format

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
SCHEMA_OF_JOBS: Final = FOLDER.parents[1] / SCHEMA_FILE
MADE: Final = "<!-- Made from the code by `make docs`: what is written here by hand is lost. -->"
Schema = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Of Markdown; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(value: object) -> str:
    return f"`{value}`"


# The manifest


def manifest_page() -> str:
    """Each mapping of a manifest with all of its keys, in the order of the schema."""
    sections = [f"## {title}\n\n{about}\n\n{table(HEAD, rows)}" for title, about, rows in mappings("", json_schema())]
    return (
        "# Manifest keys\n\nEvery key that a manifest may have, as the JSON Schema of `batchmod schema` has it. "
        "[The manifest](../manifest.md) explains them and shows examples. A *duration* is a number with `ms`, `s`, `m`, "
        "`h` or `d`; a *rate* is calls per duration, `200/60s`.\n\n" + "\n".join(sections)
    )


HEAD: Final = ("key", "holds", "default", "meaning", "example")
Mapped = tuple[str, str, list[list[str]]]  # title, what it is, rows


def mappings(path: str, schema: Schema, form: str = "") -> Iterator[Mapped]:
    """Those at a place and below it; `form` says which one, where several may stand there."""
    properties = schema.get("properties", {})
    shown = {key: value for key, value in properties.items() if not _is_region(key, value)}
    if shown and path != "changes[]":  # there the kinds stand alone, each with a mapping of its own
        about = schema.get("description", "").split("\n")[0] if path else "All of it."
        required = schema.get("required", ())
        rows = [row(key, value, key in required) for key, value in shown.items()]
        if len(shown) < len(properties):
            rows.append(["a region", "text or `vpc`", "", "Where that region is served.", "`vpc`"])
        yield (path or "The whole") + form, about, rows
    for key, value in shown.items():
        yield from _within(f"{path}.{key}".lstrip("."), value)


def _within(path: str, schema: Schema) -> Iterator[Mapped]:
    forms = list(alternatives(schema))
    several = sum("properties" in form for form in forms) > 1
    for form in forms:
        if "properties" in form:
            yield from mappings(path, form, f" with {_told_by(form)}" if several else "")
        elif "items" in form:
            yield from _within(f"{path}[]", form["items"])
        elif isinstance(form.get("additionalProperties"), dict):
            yield from _within(f"{path}.NAME", form["additionalProperties"])


def _told_by(form: Schema) -> str:
    """What tells one form of a mapping from the others: the store it names, or the key that it must have."""
    store = form["properties"].get("store", {}).get("const")
    return f"store {store}" if store else str(form["required"][0])


def alternatives(schema: Schema) -> Iterator[Schema]:
    """The forms that a place may have, references followed; what says nothing is left out."""
    if reference := schema.get("$ref"):
        yield from alternatives(DEFINITIONS[reference.rpartition("/")[2]])
        return
    several = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if not several or "properties" in schema:
        yield schema
        return
    for each in several:
        if each.get("type") != "null":
            yield from alternatives(each)


def row(key: str, schema: Schema, required: bool) -> list[str]:
    """Of a key: what it holds, its default, meaning and an example."""
    forms = list(alternatives(schema))
    default = "needed" if required else _default(schema.get("default"))
    about = schema.get("description") or next((form["description"] for form in forms if "description" in form), "")
    examples: list[Any] = schema.get("examples") or next((form["examples"] for form in forms if "examples" in form), [])
    shown = code(_yaml(examples[0])) if examples else ""
    return [code(key), " or ".join(dict.fromkeys(map(holds, forms))), default, about.split("\n")[0], shown]


def holds(form: Schema) -> str:
    """A value's kind in a few words."""
    match form:
        case {"const": value}:
            return code(_yaml(value))
        case {"enum": values}:
            return ", ".join(code(_yaml(value)) for value in values)
        case {"type": "array"}:
            return f"list of {' or '.join(dict.fromkeys(map(holds, alternatives(form['items']))))}"
        case {"type": "integer"}:
            bounds = (("from", form.get("minimum")), ("to", form.get("maximum")))
            return "number" + "".join(f", {word} {bound}" for word, bound in bounds if bound)
        case {"pattern": str() as pattern}:
            return _written(pattern)
        case _:
            return WORDS.get(form.get("type", ""), "text")


WORDS: Final = {"object": "mapping", "boolean": "`true` or `false`"}
UNITS: Final = "(ms|s|m|h|d)"


def _written(pattern: str) -> str:
    """What a text that keeps the pattern is called, with the word that may stand for it."""
    if UNITS in pattern:
        kind = "rate" if "/" in pattern else "duration"
        word = pattern.partition(f"{UNITS}|")[2].rstrip(")$")
        return f"{kind} or {code(word)}" if word else kind
    return "percentage" if "%" in pattern and pattern.startswith("^([0-9]") else "text"


def _default(value: Any) -> str:
    return "" if value in (None, [], {}) or isinstance(value, dict) else code(_yaml(value))


def _yaml(value: Any) -> str:
    """As it stands in a manifest, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value)


def _is_region(key: str, schema: Schema) -> bool:
    """One of the regions below `endpoints`: they are many, and alike."""
    return "-" in key and {"const": "vpc"} in schema.get("anyOf", ())


DEFINITIONS: Final[dict[str, Schema]] = json_schema()["$defs"]


def keys() -> Iterator[str]:
    """Every key of a manifest, by its name."""
    for _, _, rows in mappings("", json_schema()):
        yield from (each[0] for each in rows)


# Commands


def commands(group: click.Group = cli, prefix: str = "batchmod") -> dict[str, click.Command]:
    """Every command by its full name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        found |= commands(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def commands_page() -> str:
    """Each command with its arguments and options, as `--help` has them."""
    about = "Every command with every option. [Commands](../commands.md) explains them; `RUN` is a run's id, the beginning of one, or a manifest's name."
    return f"# Command line\n\n{about}\n\n" + "\n".join(_command(*each) for each in commands().items())


def _command(name: str, command: click.Command) -> str:
    arguments = [
        each.make_metavar(click.Context(command)) for each in command.params if isinstance(each, click.Argument)
    ]
    usage = " ".join([name, "[OPTIONS]", *arguments])
    options = [_option(each) for each in command.params if isinstance(each, click.Option)]
    shown = table(("option", "default", "does"), options) if options else ""
    return f"## {name}\n\n{command.help}\n\n```text\n{usage}\n```\n\n{shown}"


def _option(option: click.Option) -> list[str]:
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(cli))}"
    default = "" if option.is_flag or not option.show_default else str(option.default)
    return [f"`{', '.join(option.opts)}{value}`", code(default) if default else "", option.help or ""]


# Exit codes and reports


def exits_page() -> str:
    """Each exit code and what it means."""
    rows = [[str(number), meaning] for number, meaning in MEANINGS.items()]
    return (
        "# Exit codes\n\nOf every command. [Scheduling](../scheduling.md#what-the-exit-code-means) says what to do about each "
        f"at night.\n\n{table(('code', 'meaning'), rows)}"
    )


SETS: Final[Mapping[str, type[StrEnum]]] = {"change": Kind, "outcome": Outcome, "proof": Proof}
TYPES: Final[Mapping[type, str]] = {str: "text", int: "whole number", float: "number"}


def report_page() -> str:
    """Each column with its type, and the closed sets that programs compare with."""
    rows = [[str(place), code(name), *_column(name, hint)] for place, (name, hint) in enumerate(_hints(), 1)]
    sets: dict[str, type[StrEnum]] = {
        "`stopped_by` of the run": StoppedBy,
        "Formats": Format,
        **{code(name): SETS[name] for name in SETS},
    }
    return (
        "# Report columns, for programs\n\nIn CSV and JSON alike, in this order. [Reports](../report.md) says what they mean.\n\n"
        + table(("", "column", "type", "may be empty", "values"), rows)
        + "\nThe closed sets:\n\n"
        + table(("of", "values"), [[name, _values(kind)] for name, kind in sets.items()])
    )


def _hints() -> Iterator[tuple[str, Any]]:
    yield from get_type_hints(ReportRow).items()


def _column(name: str, hint: Any) -> list[str]:
    kinds = get_args(hint) or (hint,)
    (kind,) = (each for each in kinds if each is not NoneType)
    text = next(word for of, word in TYPES.items() if issubclass(kind, of))
    return [text, "yes" if NoneType in kinds else "no", _values(SETS[name]) if name in SETS else ""]


def _values(kind: type[StrEnum]) -> str:
    return ", ".join(map(code, kind))


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "manifest.md": manifest_page,
    "commands.md": commands_page,
    "exit-codes.md": exits_page,
    "report.md": report_page,
}


def pages() -> dict[str, str]:
    """Text by file name."""
    return {name: f"{make().rstrip()}\n\n{MADE}\n" for name, make in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    SCHEMA_OF_JOBS.write_text(schema_text(), encoding="utf-8")
