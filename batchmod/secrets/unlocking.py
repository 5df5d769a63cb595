"""How a store and its key come together: a new key for an empty store, the right key or none for any other."""

from collections.abc import Callable
from pathlib import Path

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import AgeKey, checked_recipients, load_or_make, made_words, passing_key
from batchmod.secrets.table import Seal, Table

_CANARY = Secret("batchmod")  # no secret: a text that only a key of the store turns back


def open_table(
    path: Path, key_file: Path, recipients: tuple[str, ...], say: Callable[[str], None], *, create: bool
) -> tuple[Table, AgeKey, tuple[str, ...]]:
    """The table, a key that opens every value in it, and who reads its values from now on.

    Belongs to the thread that calls it. UsageError or StoreError when it cannot be had.
    """
    table = Table(path, read_only=not create)
    try:
        empty = table.is_empty()
        if empty and not create:
            return table, passing_key(), recipients
        key, made = load_or_make(key_file, may_make=empty)
        if made:
            say(made_words(key_file, path))
        return table, key, _unlock(table, key, recipients, path, key_file, create=create)
    except (UsageError, StoreError):
        table.close()
        raise


def _unlock(
    table: Table, key: AgeKey, recipients: tuple[str, ...], path: Path, key_file: Path, *, create: bool
) -> tuple[str, ...]:
    """The key opens the store; who reads its values from now on. An empty store takes any key."""
    seal = table.seal()
    empty = table.is_empty()
    if seal and not empty:
        try:
            key.decrypt(seal.canary)
        except StoreError as error:
            raise UsageError(
                f"{path}: the age key {key_file} does not open this store; put back the key that it was made with,"
                " or name one of its recovery keys in BATCHMOD_AGE_KEY"
            ) from error
    earlier = _earlier(seal, path) if seal and not empty else ()
    readers = checked_recipients((key.recipient, *recipients, *earlier))
    if create and (seal is None or readers != seal.recipients):
        table.reseal(
            Seal(canary=key.encrypt(_CANARY, readers), recipients=readers),
            lambda value: key.encrypt(key.decrypt(value), readers),
        )
    return readers


def _earlier(seal: Seal, path: Path) -> tuple[str, ...]:
    """Who reads the stored values; UsageError when the file does not say so any more."""
    try:
        return checked_recipients(seal.recipients)
    except UsageError as error:
        raise UsageError(f"{path}: damaged: its list of recipients is none; restore it from a backup") from error
