"""The embedded store's table in PostgreSQL, for many machines: whoever has the age key and the database has the store."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from batchmod.errors import StoreError, UsageError
from batchmod.pg.migrating import check
from batchmod.pg.place import Place
from batchmod.secrets.agekey import COPY, AgeKey, checked_recipients, key_path
from batchmod.secrets.pg_checks import diagnosis
from batchmod.secrets.pgtable import PostgresTable
from batchmod.secrets.rows import Seal
from batchmod.secrets.sealed import SealedStore, in_its_thread
from batchmod.secrets.store import Finding
from batchmod.secrets.unlocking import NOT_VOUCHED_FOR, check_opens, is_vouched_for, unlock


class PostgresStore(SealedStore[PostgresTable]):
    """A SecretStore in a database. `open` is the way to one; `close` ends its thread and its connection.

    A lost connection fails what waited for it, with StoreError; the next call connects again.
    """

    _seal: Seal | None = None  # that was seen last, and that the key opens

    @classmethod
    def open(
        cls,
        place: Place,
        *,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        recipients: Sequence[str] = (),
        create: bool = True,
        may_make_key: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The store of this database, which has our schema (pg.migrating), with a key that opens every value.

        A missing key is made only if it may be and nobody has sealed the store with one; `say` is told where it lies. Each
        recipient that was ever named with the key reads every value, old ones too. Without `create` nothing is made or written, neither now nor
        later, a database without our schema is an empty store, and a store without secrets needs no key. UsageError when
        the key is missing, the database is out of reach, or key and store do not belong together.
        """
        key_file, readers = key_path(environ), checked_recipients(recipients)
        thread, opened = in_its_thread(
            partial(_open_table, place, key_file, readers, say, create=create, may_make_key=may_make_key)
        )
        return cls(*opened, thread, clock)

    def _begin(self) -> None:
        """What is written in this transaction opens with the key and for the recipients of the seal as it is now: another
        process may have added some, and the database may be another one than before.
        """
        seal = self._table.held_seal()
        if seal == self._seal:
            return
        if seal is None:
            raise StoreError(f"{self._table.place}: the store is not sealed with an age key any more")
        check_opens(seal, self._key)
        if not is_vouched_for(seal, self._key):
            raise StoreError(f"{self._table.place}: {NOT_VOUCHED_FOR}")
        self._recipients, self._seal = checked_recipients(seal.recipients), seal

    def _diagnosed(self) -> tuple[Finding, ...]:
        return diagnosis(self._table, now=self._clock)


def _open_table(
    place: Place,
    key_file: Path,
    recipients: tuple[str, ...],
    say: Callable[[str], None],
    *,
    create: bool,
    may_make_key: bool,
) -> tuple[PostgresTable, AgeKey, tuple[str, ...]]:
    there = check(place)
    if create and not there:
        raise UsageError(f"{place}: there is no schema of batchmod in this database")
    table = PostgresTable(place, read_only=not create, there=there)
    try:
        given = (table, place, key_file, recipients, say)
        return table, *unlock(*given, create=create, instead=COPY, may_make_key=may_make_key)
    except (UsageError, StoreError):
        table.close()
        raise
