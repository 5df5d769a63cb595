"""Targets from a `.csv` or `.jsonl` file, row by row. Nothing of a row that is wrong is shown but its place."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from batchmod.errors import UsageError
from batchmod.model.suggest import did_you_mean
from batchmod.model.templates import var_problem

SUFFIXES = (".csv", ".jsonl")
COLUMNS = ("id", "region", "account")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: its cells without the empty ones, and where each of them stands."""

    line: int
    cells: Mapping[str, str]
    columns: Mapping[str, int] | None = None  # of a CSV file: the number of each field, from 1

    def where(self, key: str | None = None) -> str:
        """`line` or `line:field`."""
        return (
            f"{self.line}:{self.columns[key]}"
            if key is not None and self.columns and key in self.columns
            else f"{self.line}"
        )


class BadRow(ValueError):
    """One row cannot be read; the next one may be."""


def read_rows(path: Path) -> Iterator[Row | str]:
    """Every row, or `place: problem` in place of one that is wrong. UsageError when the file itself is.

    Reads as it yields, so that memory holds one row.
    """
    try:
        with path.open("rb") as file:
            yield from (_csv if path.suffix.lower() == ".csv" else _jsonl)(_lines(file))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except BadRow as error:
        yield str(error)


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, content in enumerate(file, start=1):
        try:
            yield content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadRow(f"{number}: is not UTF-8: {error.reason}") from error


def _csv(lines: Iterator[str]) -> Iterator[Row | str]:
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        if problems := list(_header(header)):
            yield from problems
            return
        columns = {name: number for number, name in enumerate(header, start=1)}
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(header):
                yield Row(
                    line,
                    {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()},
                    columns,
                )
            elif cells:
                yield f"{line}: has {len(cells)} fields, and the header has {len(header)}"
            line = reader.line_num + 1
    except csv.Error as error:
        yield f"{line}: is no CSV: {error}"


def _header(header: list[str]) -> Iterator[str]:
    if "id" not in header:
        near = next((name for name in header if name.casefold().replace("_", "") in {"id", "instanceid"}), None)
        hint = f': is "{near}" meant' if near else "; fields are separated by commas" if len(header) == 1 else ""
        yield f'1: has no column "id"{hint}'
    for number, name in enumerate(header, start=1):
        if name in header[: number - 1]:
            yield f'1:{number}: column "{name}" stands twice'
        elif name not in COLUMNS and (problem := var_problem(name)):
            yield f'1:{number}: column "{name}" {problem}'


def _jsonl(lines: Iterator[str]) -> Iterator[Row | str]:
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=str, parse_float=str)
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            yield Row(line, dict(_scalars(decoder.decode(text))))
        except BadRow as error:
            yield f"{line}: {error}"
        except json.JSONDecodeError as error:
            yield f"{line}:{error.colno}: is no JSON: {error.msg}"
        except RecursionError:
            yield f"{line}: is nested too deeply"


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRow(f"{key}: stands twice")
        found[key] = value
    return found


def _scalars(found: object) -> Iterator[tuple[str, str]]:
    if not isinstance(found, dict):
        raise BadRow("must be an object: {…}")
    for key, value in found.items():
        if key not in COLUMNS and (problem := var_problem(key)):
            raise BadRow(f"{key}: {problem}{did_you_mean(key, COLUMNS)}")
        match value:
            case str() if value.strip():
                yield key, value.strip()
            case bool() if key not in COLUMNS:
                yield key, str(value).lower()
            case None | str():
                continue
            case _:
                raise BadRow(f"{key}: must be text, a number, true, false or null; a var stands beside id")
