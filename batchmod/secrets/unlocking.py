"""How a store and its key come together: a new key for an empty store, the right key or none for any other."""

import hmac
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import BACK, AgeKey, checked_recipients, load_or_make, made_words, passing_key
from batchmod.secrets.rows import Seal, SecretTable

_CANARY = Secret("batchmod")  # no secret: a text that only a key of the store turns back


NOT_VOUCHED_FOR: Final = (
    "its list of recipients was not written with this age key: somebody has changed it, or this is a recovery key, which reads "
    "(`secrets export`) and does not write. When every recipient in it is yours: as the owner of the tables DELETE FROM "
    "batchmod.seal; the next one who writes seals it anew, with that one's key, for the recipients of that manifest"
)


def sealed(key: AgeKey, readers: tuple[str, ...]) -> Seal:
    """A seal of this key's, for these readers."""
    canary = key.encrypt(_CANARY, readers)
    return Seal(canary=canary, recipients=readers, mac=_mac(key, canary, readers))


def check_opens(seal: Seal, key: AgeKey) -> None:
    """The key opens what is stored under the seal. StoreError, else."""
    if key.decrypt(seal.canary) != _CANARY:
        raise StoreError(f"the store was sealed with another text than batchmod's: {key.recipient} does not go by it")


def is_vouched_for(seal: Seal, key: AgeKey) -> bool:
    """Who reads what is written from now on was said with this key, or where nobody else can write."""
    return seal.mac is None or hmac.compare_digest(seal.mac, _mac(key, seal.canary, seal.recipients))


def _mac(key: AgeKey, canary: bytes, readers: tuple[str, ...]) -> bytes:
    return key.vouch(canary, " ".join(readers).encode())


def unlock(  # what both stores are told, and the words in which one differs
    table: SecretTable,
    place: object,
    key_file: Path,
    recipients: tuple[str, ...],
    say: Callable[[str], None],
    *,
    create: bool,
    instead: str = BACK,
    may_make_key: bool = True,
) -> tuple[AgeKey, tuple[str, ...]]:
    """A key that opens every value in the table, and who reads its values from now on.

    `place` names the store, `instead` says what to do when its key is missing; one is made at most for a store that takes any,
    and only if it may be. Belongs to the table's thread. UsageError or StoreError when it cannot be had.
    """
    with table.alone() if create else nullcontext():
        if not create and table.is_empty():
            return passing_key(), recipients
        key, made = load_or_make(key_file, may_make=create and may_make_key and table.takes_any_key(), instead=instead)
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
            check_opens(bound, key)
        except StoreError as error:
            raise UsageError(
                f"{place}: the age key {key_file} does not open this store; put back the key that it was made with,"
                " or name one of its recovery keys in BATCHMOD_AGE_KEY"
            ) from error
        if create and not is_vouched_for(bound, key):
            raise UsageError(f"{place}: {NOT_VOUCHED_FOR}")
    readers = checked_recipients((key.recipient, *recipients, *(_earlier(bound, place) if bound else ())))
    if create and (seal is None or readers != seal.recipients):
        table.reseal(
            sealed(key, readers),
            lambda value: key.encrypt(key.decrypt(value), readers),
        )
    return readers


def _earlier(seal: Seal, place: object) -> tuple[str, ...]:
    """Who reads the stored values; UsageError when the store does not say so any more."""
    try:
        return checked_recipients(seal.recipients)
    except UsageError as error:
        raise UsageError(f"{place}: damaged: its list of recipients is none; restore it from a backup") from error
