"""The secret store that needs no server: one SQLite file of age-encrypted values, and one thread that alone touches it.

Every call that writes returns when it is on disk; calls that wait together share a transaction and its fsync. The event
loop never waits for the disk or the cipher.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from batchmod.errors import StoreError, UsageError
from batchmod.secrets.agekey import AgeKey, checked_recipients, key_path
from batchmod.secrets.schema import FILE
from batchmod.secrets.sealed import SealedStore, in_its_thread
from batchmod.secrets.store import Finding
from batchmod.secrets.table import Table
from batchmod.secrets.unlocking import unlock


class EmbeddedStore(SealedStore[Table]):
    """A SecretStore in `<directory>/secrets.db`. `open` is the way to one; `close` ends its thread."""

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        recipients: Sequence[str] = (),
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The store of this directory, made when it is not there, with a key that opens every value.

        A missing key is made only while the store is empty; `say` is told where it lies. Each recipient that was ever
        named reads every value, old ones too. Without `create` nothing is made or written, neither now nor later, and
        a store without secrets needs no key. UsageError when directory or key is missing, a file is broken or out of
        reach, or key and store do not belong together.
        """
        path, key_file, readers = directory / FILE, key_path(environ), checked_recipients(recipients)
        thread, opened = in_its_thread(partial(open_table, path, key_file, readers, say, create=create))
        return cls(*opened, thread, clock)

    def _diagnosed(self) -> tuple[Finding, ...]:
        """That it is open says that it is sound and that the key opens it."""
        path, count = self._table.path, len(self._table.all())
        there = path if path.exists() else path.parent
        writable = os.access(there, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
        opens = f"{path}: opens with the age key, {count} generations" if count else f"{path}: nothing is stored yet"
        writes = "can be written" if writable else f"cannot be written: give this user the right to write {there}"
        return (
            Finding(what="store", ok=True, text=opens),
            Finding(what="store, writing", ok=writable, text=f"{path}: {writes}"),
            Finding(what="store, versions", ok=True, text="all are kept, nothing that was ever sent is deleted"),
            Finding(what="store, clock", ok=True, text="this machine's"),
        )


def open_table(
    path: Path, key_file: Path, recipients: tuple[str, ...], say: Callable[[str], None], *, create: bool
) -> tuple[Table, AgeKey, tuple[str, ...]]:
    """The table, a key that opens every value in it, and who reads its values from now on.

    Belongs to the thread that calls it. UsageError or StoreError when it cannot be had.
    """
    table = Table(path, read_only=not create)
    try:
        return table, *unlock(table, path, key_file, recipients, say, create=create)
    except (UsageError, StoreError):
        table.close()
        raise
