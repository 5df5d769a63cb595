"""How a store and its key come together: a new key for an empty store, the right key or none for any other."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import BACK, AgeKey, checked_recipients, load_or_make, made_words, passing_key
from batchmod.secrets.rows import Seal, SecretTable

_CANARY = Secret("batchmod")  # no secret: a text that only a key of the store turns back


def unlock(  # what both stores are told, and the words in which one differs
    table: SecretTable,
    place: object,
    key_file: Path,
    recipients: tuple[str, ...],
    say: Callable[[str], None],
    *,
    create: bool,
    instead: str = BACK,
) -> tuple[AgeKey, tuple[str, ...]]:
    """A key that opens every value in the table, and who reads its values from now on.

    `place` names the store, `instead` says what to do when its key is missing. Belongs to the table's thread. UsageError
    or StoreError when it cannot be had.
    """
    with table.alone() if create else nullcontext():
        if not create and table.is_empty():
            return passing_key(), recipients
        key, made = load_or_make(key_file, may_make=create and table.takes_any_key(), instead=instead)
        if made:
            say(made_words(key_file, place))
        return key, _readers(table, key, recipients, place, key_file, create=create)


def _readers(
    table: SecretTable, key: AgeKey, recipients: tuple[str, ...], place: object, key_file: Path, *, create: bool
) -> tuple[str, ...]:
    """The key opens the store; who reads its values from now on."""
    seal = table.seal()
    bound = None if table.takes_any_key() else seal
    if bound:
        try:
            key.decrypt(bound.canary)
        except StoreError as error:
            raise UsageError(
                f"{place}: the age key {key_file} does not open this store; put back the key that it was made with,"
                " or name one of its recovery keys in BATCHMOD_AGE_KEY"
            ) from error
    readers = checked_recipients((key.recipient, *recipients, *(_earlier(bound, place) if bound else ())))
    if create and (seal is None or readers != seal.recipients):
        table.reseal(
            Seal(canary=key.encrypt(_CANARY, readers), recipients=readers),
            lambda value: key.encrypt(key.decrypt(value), readers),
        )
    return readers


def _earlier(seal: Seal, place: object) -> tuple[str, ...]:
    """Who reads the stored values; UsageError when the store does not say so any more."""
    try:
        return checked_recipients(seal.recipients)
    except UsageError as error:
        raise UsageError(f"{place}: damaged: its list of recipients is none; restore it from a backup") from error
