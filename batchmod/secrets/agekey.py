"""The age key of the embedded store: where it lies, how it is made, and what it does. The key itself never leaves."""

import hmac
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # ships no types

from batchmod.dbfile import is_there
from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Secret

BACK = "put it back from its backup"
COPY = "copy the age key to this machine from one that has it, or put it back from its backup"
_KEY_START = "AGE-SECRET-KEY-1"
_FINGERPRINT_LABEL = b"batchmod/fingerprint/1"  # another label gives another key
_SEAL_LABEL = b"batchmod/seal/1"


class AgeKey:
    """An X25519 identity. No repr, exception or pickle shows it; `recipient` is its public half."""

    __slots__ = ("_fingerprint_key", "_identity", "_seal_key", "recipient")

    def __init__(self, identity: pyrage.x25519.Identity) -> None:
        self._identity = identity
        self._fingerprint_key = hmac.digest(str(identity).encode(), _FINGERPRINT_LABEL, "sha256")
        self._seal_key = hmac.digest(str(identity).encode(), _SEAL_LABEL, "sha256")
        self.recipient = str(identity.to_public())

    def __repr__(self) -> str:
        return f"AgeKey({self.recipient})"

    def encrypt(self, secret: Secret, extra: Sequence[str] = ()) -> bytes:
        """The secret as an age file (binary) that this key and each extra recipient opens alone."""
        return bytes(pyrage.encrypt(secret.reveal().encode(), _readers((self.recipient, *extra))))

    def decrypt(self, value: bytes) -> Secret:
        """What `encrypt` was given. StoreError for what this key does not open, or what was tampered with."""
        try:
            return Secret(bytes(pyrage.decrypt(value, [self._identity])).decode())
        except pyrage.DecryptError as error:
            raise StoreError(f"a stored value does not open with the age key {self.recipient}: {error}") from error
        except UnicodeDecodeError:  # its cause would carry the plain bytes
            raise StoreError("a stored value is not text") from None

    def fingerprint(self, secret: Secret) -> str:
        """HMAC-SHA256 (hex) under a key derived from the identity: the same for the same secret, and says no more."""
        return hmac.digest(self._fingerprint_key, secret.reveal().encode(), "sha256").hex()

    def vouch(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 of the parts, in this order, that nobody makes without the identity."""
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._seal_key, framed, "sha256")


def checked_recipients(texts: Sequence[str]) -> tuple[str, ...]:
    """The recipients, sorted, each once. UsageError names the place of a broken one, never its text: it may be a key."""
    problems, good = [], set()
    for number, text in enumerate(texts, 1):
        if text.strip().upper().startswith(_KEY_START):
            problems.append(f"recipient {number} is a secret key: name its public half, age1…")
            continue
        try:
            good.add(str(pyrage.x25519.Recipient.from_str(text.strip())))
        except pyrage.RecipientError as error:
            problems.append(f"recipient {number} is not an age recipient (age1…): {error}")
    if problems:
        raise UsageError(*problems)
    return tuple(sorted(good))


@cache
def _readers(texts: tuple[str, ...]) -> Sequence[pyrage.x25519.Recipient]:
    return [pyrage.x25519.Recipient.from_str(each) for each in checked_recipients(texts)]


def key_path(environ: Mapping[str, str]) -> Path:
    """The key's file: $BATCHMOD_AGE_KEY, else age.key in $XDG_CONFIG_HOME/batchmod, else in ~/.config/batchmod.

    BATCHMOD_AGE_KEY may be relative to the current directory. The XDG Base Directory Specification has a relative
    XDG_CONFIG_HOME ignored. UsageError without an absolute HOME: the key would lie somewhere else on each start.
    """
    if named := environ.get("BATCHMOD_AGE_KEY"):
        return Path(named)
    if (base := Path(environ.get("XDG_CONFIG_HOME", ""))).is_absolute():
        return base / "batchmod" / "age.key"
    if (home := Path(environ.get("HOME", ""))).is_absolute():
        return home / ".config" / "batchmod" / "age.key"
    raise UsageError("HOME is no absolute path: name the age key's file in BATCHMOD_AGE_KEY")


def passing_key() -> AgeKey:
    """A new key that is kept nowhere: for a store with nothing in it that a key could open."""
    return AgeKey(pyrage.x25519.Identity.generate())


def load_or_make(path: Path, *, may_make: bool, instead: str = BACK) -> tuple[AgeKey, bool]:
    """The key in this file, and whether it was made just now: 0600, durable, in the format of age-keygen.

    UsageError when it is missing and may not or cannot be made (`instead` says what to do), not readable, not one age key,
    or open to other users.
    """
    try:
        made = may_make and not is_there(path) and _make(path)
        return _parse(_read(path), path), made
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no age key; {instead}, or name its file in BATCHMOD_AGE_KEY") from error
    except OSError as error:
        done = "read or made" if may_make else "read"
        raise UsageError(f"{path}: the age key cannot be {done}: {error.strerror}") from error


def made_words(key_file: Path, store: object) -> str:
    """What an operator must know of a key that was made just now."""
    return f"made the age key {key_file}: back this up, without it no password in {store} can be read"


def fingerprint_words(key_file: Path) -> str:
    """What an operator must know of a key that was made just now and encrypts nothing."""
    return (
        f"made the age key {key_file}: by it a chosen password is recognised again; passwords are not encrypted with it"
    )


def _read(path: Path) -> str:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise UsageError(f"{path}: other users can reach the age key; run: chmod 600 {path}")
        return file.read().decode("ascii", "replace")  # a strict error would carry the file's content


def _parse(text: str, path: Path) -> AgeKey:
    lines = [line for each in text.splitlines() if (line := each.strip()) and not line.startswith("#")]
    if len(lines) != 1:
        raise UsageError(f"{path}: one line AGE-SECRET-KEY-1… is expected, {len(lines)} lines are there")
    try:
        return AgeKey(pyrage.x25519.Identity.from_str(lines[0]))
    except pyrage.IdentityError as error:
        raise UsageError(f"{path}: not an age key (AGE-SECRET-KEY-1…, without a passphrase): {error}") from error


def _make(path: Path) -> bool:
    """A new key lies at `path`, whole or not at all; False when another process was quicker and its key stands."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".age-", dir=path.parent)  # O_EXCL, 0600
        try:
            _write(handle)
            with suppress(FileExistsError):
                os.link(part, path)  # unlike a rename it never replaces
                return True
        finally:
            os.unlink(part)  # noqa: PTH108  of the handle above
            sync_directory(path.parent)
    except OSError as error:
        raise UsageError(
            f"{path}: the age key cannot be made there: {error.strerror}; name another file in BATCHMOD_AGE_KEY"
        ) from error
    return False


def _write(handle: int) -> None:
    identity = pyrage.x25519.Identity.generate()
    with open(handle, "w", encoding="ascii") as file:
        file.write(f"# public key: {identity.to_public()}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """The names in this directory are durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
