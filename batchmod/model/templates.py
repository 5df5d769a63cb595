"""Text with `{placeholders}` that each target fills in, and renaming by pattern. Pure."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from batchmod.errors import UsageError
from batchmod.model.fields import Section

EARLY = ("id", "region", "account")  # known from the manifest alone
LATE = ("zone", "account_id", "engine_version")  # known once the service was asked
PLACEHOLDERS = frozenset((*EARLY, *LATE))
NAME_HINT = (
    "{name} is refused: the next run would change the changed name again; "
    "to rename from the present name, write name: {pattern: …, replace: …}"
)

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@lru_cache(maxsize=64)
def _tokens(template: str) -> tuple[tuple[str, str | None], ...]:
    """Literal text and the placeholder after it, in turn; a stray brace is the placeholder that is a brace."""
    found: list[tuple[str, str | None]] = []
    literal, end = "", 0
    for token in _TOKEN.finditer(template):
        literal, end = literal + template[end : token.start()], token.end()
        match token.group():
            case "{{" | "}}":
                literal += token.group()[0]
            case "{" | "}" as brace:
                found.append((literal, brace))
                literal = ""
            case _:
                found.append((literal, token.group(1)))
                literal = ""
    return (*found, (literal + template[end:], None))


def placeholders(template: str) -> Iterator[str]:
    """Every placeholder in order, as often as it stands there."""
    return (name for _, name in _tokens(template) if name is not None)


@lru_cache(maxsize=64)  # a manifest has a few, and every target asks
def template_problem(template: str) -> str | None:
    """What is wrong with it for every target."""
    for name in placeholders(template):
        if name in {"{", "}"}:
            return f'has a single "{name}": write {{placeholder}}, or {name}{name} for the character'
        if not name.strip():
            return "has a placeholder without a name"
        if name == "name":
            return NAME_HINT
    return None


@lru_cache(maxsize=256)  # every target may have the same ones
def var_problem(name: str) -> str | None:
    """Why no var may be called so."""
    if name in PLACEHOLDERS:
        return f"hides the placeholder {{{name}}} that every target has: give it another name"
    if re.sub(r"[\s_-]", "", name).casefold() in {"password", "newpassword", "passwd", "pwd"}:
        return "looks like a password: batchmod takes one from env or file and never from a target"
    if not name or name != name.strip() or not name.isprintable() or set(name) & set("{}"):
        return "is no name of a var: some text without braces, and no space around it"
    return None


def render(template: str, facts: Mapping[str, str]) -> str:
    """The template with every placeholder replaced by its fact. UsageError for what the facts do not have."""
    if problem := template_problem(template):
        raise UsageError(problem)
    if missing := [name for name in placeholders(template) if name not in facts]:
        raise UsageError(f"nothing is known for {{{missing[0]}}}")
    return "".join(literal + (facts[name] if name else "") for literal, name in _tokens(template))


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return pattern


def _fits(replace: str, info: ValidationInfo) -> str:
    if set(replace) & set("{}"):
        raise ValueError(r"knows the groups of the pattern (\1, \g<group>), no {placeholders}; no name has a brace")
    if (pattern := info.data.get("pattern")) is not None:
        try:
            re.sub(pattern, replace, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"does not fit the pattern: {error}") from error
    return replace


class Rename(Section):
    """The first place where the pattern matches the present name is replaced, as by Python's `re.sub`."""

    pattern: Annotated[
        str,
        Field(description="Regular expression, searched in the present name.", examples=["^old-(.*)$"]),
        AfterValidator(_compiles),
    ]
    replace: Annotated[
        str,
        Field(description=r"What stands there instead; \1 is the first group.", examples=[r"new-\1"]),
        AfterValidator(_fits),
    ]


def desired_name(name: str | Rename, current: str, facts: Mapping[str, str]) -> str | None:
    """The name that is wanted, or None when the pattern is not in the current one: such a name stays as it is.

    It may equal the current name, and may break the rules for names. UsageError as of `render`.
    """
    match name:
        case str():
            return render(name, facts)
        case Rename():
            found, times = re.subn(name.pattern, name.replace, current, count=1)
            return found if times else None
