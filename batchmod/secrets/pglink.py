"""The one connection of a store to PostgreSQL: made when it is needed, made again when it was lost, and its transactions.

Belongs to one thread. What PostgreSQL cannot do is a StoreError that names the database and the reason.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from psycopg import Connection, Cursor

from batchmod.errors import StoreError, UsageError
from batchmod.pg.link import FAILURES, Row, connect, why
from batchmod.pg.place import Place
from batchmod.secrets.rows import UnreachableError

_SESSION: Final = """
SELECT set_config('default_transaction_read_only', %s, false),
  set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, false)
FROM current_setting('synchronous_commit') AS setting
"""
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"  # each statement sees what others have committed


class Link:
    """Reads outside a transaction, and the beginning of one, outlive a restart of the server: they are tried once more."""

    def __init__(self, place: Place, *, read_only: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._read_only = read_only
        self._now = now
        self._link: Connection[Row] | None = None
        self._inside = False
        self._not_before = 0.0  # until then nobody tries to connect again
        self.commits = 0  # transactions made durable

    def close(self) -> None:
        if self._link is not None:
            self._link.close()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query, inside a transaction or outside."""
        with self._failing("read"):
            return self._on_a_live_one(lambda link: link.execute(statement.encode(), values)).fetchall()

    def write(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows that a statement of a transaction returns."""
        with self._failing("written"):
            found: Cursor[Row] = self._connected().execute(statement.encode(), values)
            return found.fetchall() if found.description else []

    def write_many(self, statement: str, values: Sequence[Sequence[Any]]) -> None:
        with self._failing("written"), self._connected().cursor() as cursor:
            cursor.executemany(statement.encode(), values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is durable afterwards. After an error, of the block too, nothing of it is; but when the
        commit was not answered, nobody can tell: that is a StoreError, too.
        """
        if self._read_only:
            raise StoreError(f"{self._place}: cannot be written: it was opened to be read")
        with self._failing("written"):
            link = self._on_a_live_one(lambda link: link.execute(_BEGIN)).connection
        self._inside = True
        try:
            yield
        except BaseException:
            _undo(link)
            raise
        finally:
            self._inside = False
        self._commit(link)

    def _commit(self, link: Connection[Row]) -> None:
        try:
            done = link.execute("COMMIT").statusmessage
        except FAILURES as error:
            link.close()
            raise UnreachableError(
                f"{self._place}: the commit was not answered, so nobody can tell what is stored: {why(error)}"
            ) from error
        if done != "COMMIT":  # PostgreSQL rolls back what has failed before, and calls that no error
            raise StoreError(f"{self._place}: cannot be written: the transaction was rolled back")
        self.commits += 1

    def _connected(self) -> Connection[Row]:
        """The connection; inside a transaction the one that it began on, or none."""
        if self._link is None or (self._link.closed and not self._inside):
            self.close()
            self._link = self._connect()
        return self._link

    def _on_a_live_one(self, ask: Callable[[Connection[Row]], Cursor[Row]]) -> Cursor[Row]:
        """The answer; asked again on a new connection when an old one turns out to be dead, for nothing was begun on it."""
        link = self._link
        try:
            return ask(self._connected())
        except FAILURES:
            if self._inside or self._link is not link or not self._link or not self._link.closed:
                raise
        return ask(self._connected())

    def _connect(self) -> Connection[Row]:
        """After an attempt that failed, the next is not made before as much time again has passed: of many calls that wait
        for a server that does not answer, one waits it out.
        """
        begun = self._now()
        if begun < self._not_before:
            raise UnreachableError(f"{self._place}: cannot be reached: it did not answer a moment ago")
        try:
            return self._made()
        except (*FAILURES, UsageError) as error:
            ended = self._now()
            self._not_before = ended + (ended - begun)
            raise UnreachableError(f"{self._place}: cannot be reached: {why(error)}") from error

    def _made(self) -> Connection[Row]:
        link = connect(self._place)
        try:
            link.execute(_SESSION, ("on" if self._read_only else "off",))
        except FAILURES:
            link.close()
            raise
        return link

    @contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            text = f"{self._place}: cannot be {done}: {why(error)}"
            lost = self._link is None or self._link.closed
            raise (UnreachableError(text) if lost else StoreError(text)) from error


def _undo(link: Connection[Row]) -> None:
    """Nothing of the transaction is left; at the latest with its connection."""
    try:
        link.execute("ROLLBACK")
    except FAILURES:
        link.close()
