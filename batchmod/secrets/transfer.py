"""Passwords out of a store and into one: export, import, and a copy of the store that stays encrypted."""

import csv
import io
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

from batchmod.errors import UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.agekey import sync_directory
from batchmod.secrets.schema import FILE, connect, require_sound

COLUMNS = ("account_id", "region", "instance_id", "login", "stage", "generation", "password")
IMPORTED = "import"  # stands where a generation names the run that escrowed it
_HIGHEST_GENERATION = 2**53  # what every reader of JSON keeps exact

Record = tuple[Generation, Secret]


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


def export_json(records: Iterable[Record]) -> str:
    """A JSON array, one object a line. Holds the passwords in the clear."""
    lines = ",\n".join(json.dumps(_fields(*each), ensure_ascii=False) for each in records)
    return f"[\n{lines}\n]\n"


def export_csv(records: Iterable[Record]) -> str:
    """CSV as RFC 4180 has it, with a header; no cell is changed for a spreadsheet. Holds the passwords in the clear."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(_fields(*each) for each in records)
    return text.getvalue()


def import_(text: str, form: Format, *, at: float) -> list[Record]:
    """The records of an export, dated `at` (seconds since the epoch) and escrowed by the run `import`.

    UsageError with a line for each fault. It names line and column and repeats no value: any of them may be a password.
    """
    text = text.removeprefix("\ufeff")  # spreadsheets put a byte order mark first
    records: list[Record] = []
    problems: list[str] = []
    taken: dict[tuple[InstanceKey, int | Stage], int] = {}
    for line, row in _csv_rows(text) if form is Format.CSV else _json_rows(text):
        if faults := _faults(row):
            problems.extend(f"line {line}: {fault}" for fault in faults)
            continue
        record, secret = _record(row, at)
        places = (record.generation, *(() if record.stage is Stage.CANDIDATE else (record.stage,)))
        for place in places:
            if (first := taken.setdefault((record.key, place), line)) != line:
                what = "stage" if isinstance(place, Stage) else "generation"
                problems.append(f"line {line}: the same instance and {what} as line {first}")
        records.append((record, secret))
    if problems:
        raise UsageError(*problems)
    return records


def backup(store_directory: Path, target: Path) -> None:
    """A consistent copy of the store is in `target`, 0600, durable, its values encrypted as they are.

    Whole even while a run writes. UsageError when the target exists, there is no store, or the copy cannot be made;
    then none is left.
    """
    source = store_directory / FILE
    with closing(connect(source, read_only=True)) as origin:
        _copy(origin, target)


def _copy(origin: sqlite3.Connection, target: Path) -> None:
    try:
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{target}: exists already; a backup overwrites nothing") from error
    except OSError as error:
        raise UsageError(f"{target}: cannot be made: {error.strerror}") from error
    try:
        with closing(sqlite3.connect(target)) as copy:
            origin.backup(copy)
            require_sound(copy, target)
        os.fsync(handle)
        sync_directory(target.parent)
    except (sqlite3.Error, OSError, UsageError) as error:
        target.unlink()
        raise UsageError(f"{target}: the backup failed: {error}") from error
    finally:
        os.close(handle)


def _fields(record: Generation, secret: Secret) -> dict[str, str | int]:
    key = record.key
    values = (key.account_id, key.region, key.instance_id, record.login, record.stage.value, record.generation)
    return dict(zip(COLUMNS, (*values, secret.reveal()), strict=True))


def _record(row: dict[str, Any], at: float) -> Record:
    key = InstanceKey(account_id=row["account_id"], region=row["region"], instance_id=row["instance_id"])
    record = Generation(
        key=key,
        generation=row["generation"],
        stage=Stage(row["stage"]),
        login=row["login"],
        run_id=IMPORTED,
        created_at=at,
        updated_at=at,
    )
    return record, Secret(row["password"])


def _faults(row: Any) -> list[str]:
    """What keeps a row from being a record; nothing when it is one."""
    if not isinstance(row, dict) or row.keys() != set(COLUMNS):
        return [f"must have these columns and no other: {', '.join(COLUMNS)}"]
    faults = [
        f"{name}: must be text, and not empty" for name in COLUMNS if name != "generation" and not _is_text(row[name])
    ]
    if type(row["generation"]) is not int or not 1 <= row["generation"] <= _HIGHEST_GENERATION:
        faults.append("generation: must be a whole number from 1")
    if _is_text(row["stage"]) and row["stage"] not in set(Stage):
        faults.append(f"stage: must be one of {', '.join(Stage)}")
    return faults


def _is_text(value: Any) -> bool:
    # A lone surrogate, which JSON can spell, has no bytes to encrypt.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    """The line that a row begins on, and the row; the generation as a number where it is one."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            raise UsageError(f"line 1: the header must name these columns, each once: {', '.join(COLUMNS)}")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield line, _csv_row(header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num}: not CSV: {error}") from error


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any] | None:
    if len(cells) != len(header):
        return None
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    if re.fullmatch("[0-9]{1,16}", row["generation"]):
        row["generation"] = int(row["generation"])
    return row


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """The line that an element of the array begins on, and the element."""
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    position = _behind(text, 0, "[")
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        try:
            element, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:  # its `doc` is the whole text
            raise UsageError(f"line {error.lineno}: not JSON: {error.msg}") from None
        except ValueError:
            raise UsageError(f"line {line}: not JSON: a number of too many digits") from None
        yield line, element
        position = _behind(text, position, "")
        if not text.startswith("]", position):
            position = _behind(text, position, ",")
            if text.startswith("]", position):
                raise _not_an_array(text, position)
    if _behind(text, position, "]") != len(text):
        raise _not_an_array(text, position)


def _behind(text: str, position: int, mark: str) -> int:
    """Where the text goes on behind blanks, this mark, and more blanks."""
    if found := re.compile(rf"[ \t\r\n]*{re.escape(mark)}[ \t\r\n]*").match(text, position):
        return found.end()
    raise _not_an_array(text, position)


def _not_an_array(text: str, position: int) -> UsageError:
    line = text.count("\n", 0, position) + 1
    return UsageError(f"line {line}: not one JSON array of objects, parted by commas")
