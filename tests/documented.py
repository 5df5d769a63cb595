"""What a page of the documentation shows: its fenced blocks, the commands in them, and what they print."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from batchmod.cli import cli

ROOT: Final = Path(__file__).parents[1]
_FENCE: Final = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_RUN: Final = re.compile(r"\d{8}T\d{6}Z\\-[0-9a-f]{4}")
_SECONDS: Final = re.compile(r"\b\d+s\b")
_PLACEHOLDER: Final = re.compile(r"'[A-Z]+' is not")  # a value that stands for one
OMITTED: Final = ("…", "OPTIONS")  # what stands for anything
SHELLS: Final = ("sh", "console", "text", "")  # blocks that may show commands


@dataclass(frozen=True)
class Block:
    """One fenced block; `title` is the name of the file that it shows, if any."""

    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Step:
    """One command of a console, and the lines that it is shown to print; `…` stands for anything."""

    command: str
    prints: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    name: str
    text: str

    def fenced(self) -> list[Block]:
        return [Block(*found.groups(default="")) for found in _FENCE.finditer(self.text)]

    def blocks(self, language: str) -> list[str]:
        """Their texts, in order."""
        return [block.text for block in self.fenced() if block.language == language]

    def commands(self) -> Iterator[str]:
        """Every command line in it, of blocks, of indented text and of running text."""
        for block in self.fenced():
            if block.language == "console":
                yield from (step.command for step in steps(block.text))
            elif block.language in SHELLS:
                yield from block.text.splitlines()
        prose = _FENCE.sub("", self.text)
        yield from (found[1] for found in re.finditer(r"^ {4}(.*)$", prose, re.MULTILINE))
        yield from (found[1] for found in re.finditer(r"(?<!`)`((?:batchmod|make) [^`\n]*)`", prose))


def page(name: str) -> Page:
    """By its place below the root."""
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def steps(console: str) -> list[Step]:
    """What is typed after each `$ `, and what follows it up to the next one."""
    first, *rest = re.split(r"^\$ ", console, flags=re.MULTILINE)
    assert not first, f"a console begins with what is typed: {first!r}"
    typed = [each.rstrip("\n").split("\n") for each in rest]
    return [Step(command, tuple(line for line in prints if line)) for command, *prints in typed]


def missing(prints: Sequence[str], printed: Sequence[str]) -> str | None:
    """The first line that should have been printed and was not, in its place; None when all were.

    Ids of runs and seconds may be others; lines that are not shown may only be where a line `…` is, or at the end.
    """
    place, anywhere = 0, False
    for line in prints:
        if line == "…":
            anywhere = True
            continue
        wanted = re.compile(_pattern(line))
        found = [at for at in range(place, len(printed)) if wanted.fullmatch(printed[at])]
        if not found or (found[0] != place and not anywhere):
            return line
        place, anywhere = found[0] + 1, False
    return None


def _pattern(line: str) -> str:
    escaped = ".*".join(map(re.escape, line.split("…")))
    return _SECONDS.sub(r"\\d+s", _RUN.sub(r"\\d{8}T\\d{6}Z-[0-9a-f]{4}", escaped))


def calls(line: str) -> Iterator[list[str]]:
    """The words of each batchmod, simulator and make command in a line of shell, or in how one is written about."""
    line = re.sub(
        r"\\\|\S*", "", line.replace("python -m batchmod.sim", "batchmod sim")
    )  # one of several that are named
    line = re.sub(r"[\[\]]", "", line)  # what may be left out
    for part in re.split(r"&&|\|\||[;|&)]|\s2?>", line):
        found = re.search(r"(?:^|[\s(])(batchmod|make)(\s.*|$)", part)
        if found:
            yield [found[1], *shlex.split(found[2], comments=True)]


def wrong(words: Sequence[str]) -> str | None:
    """What the command line itself refuses of a call, without making it; None when nothing, or when words are missing."""
    command: click.Command = cli
    rest = [word for word in words[1:] if word not in OMITTED]
    if {"-h", "--help", "--version"} & {*rest}:
        return None
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        below = command.commands.get(rest[0])
        if below is None:
            return f"no command {rest[0]!r}"
        command, rest = below, rest[1:]
    try:
        command.make_context(words[0], rest)
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        return None  # running text names a command without all that it needs
    except click.UsageError as error:
        return None if _PLACEHOLDER.search(error.message) else error.format_message()
    return None
