"""What is written to SQLite: a batch is one transaction, one fsync and few statements."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from typing import Final

from batchmod.journal.group import NONE, Answers

CHUNK: Final = 64  # records of a statement at most: with each statement the interpreter's lock changes hands

Record = tuple[str | int | None, ...]
Inserts = tuple[str, Iterable[Record]]  # `INSERT INTO table (columns)`, and the values of each record


class SqliteSink:
    """A connection in autocommit mode, to which a group writes. A write is all of its inserts, or none."""

    failures: Final = (sqlite3.Error,)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def commit(self, batch: Sequence[Sequence[Inserts]]) -> Answers:
        statements = _statements(batch)
        first, second = next(statements, None), next(statements, None)
        if first is None:
            return NONE
        if second is None:
            self._connection.execute(*first)  # a transaction of its own
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in chain((first, second), statements):
                self._connection.execute(*statement)
            self._connection.execute("COMMIT")
        return NONE

    def why(self, error: Exception) -> str:
        return str(error)

    def close(self) -> None:
        self._connection.close()  # rolls back what a failed transaction left


def _statements(batch: Sequence[Sequence[Inserts]]) -> Iterator[tuple[str, Record]]:
    """The batch table by table, each table's records in their order, many to a statement."""
    tables: dict[str, list[Iterable[Record]]] = {}
    for write in batch:
        for insert, records in write:
            tables.setdefault(insert, []).append(records)
    for insert, parts in tables.items():
        records = chain.from_iterable(parts)
        while chunk := list(islice(records, CHUNK)):
            yield _sql(insert, len(chunk[0]), len(chunk)), tuple(chain.from_iterable(chunk))


@cache
def _sql(insert: str, values: int, records: int) -> str:
    one = f"({', '.join('?' * values)})"
    return f"{insert} VALUES {', '.join([one] * records)}"
