"""Many values under one age header, each a whole age file (age-encryption.org/v1) that every age tool opens by itself.

Nearly all of the time that a short age file takes is its header's: for each recipient, and to open it, an exchange of
X25519. Here pyrage makes a header once and this module takes the file key out of it, as every reader of the file does;
then each value is a nonce of its own and its text under the key that HKDF makes of file key and nonce. The format wants a
new file key for each file so that no two texts share a key; 128 random bits of nonce see to that as well.
"""

import hmac
import os
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHUNK: Final = 1 << 16  # bytes of a file's first piece; what is longer has more of them
_NONCE: Final = 16  # bytes in front of the text
_LAST: Final = bytes(11) + b"\x01"  # of the first piece, which is the last one too
_MAC: Final = b"\n---"  # ends what the header's MAC is of
_MAC_SIZE: Final = 43  # characters of 32 bytes in base64 without its padding
_STANZA: Final = b"-> X25519 "
_WRAPPED: Final = b"age-encryption.org/v1/X25519"
_BLOCK: Final = 64  # bytes of SHA-256's
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_BECH32: Final = {letter: value for value, letter in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}


class Header:
    """A header that one identity has opened, and the file key under it. No repr or pickle shows the key."""

    __slots__ = ("_file_key", "_mac_key", "_opening_key", "_raw")

    def __init__(self, raw: bytes, file_key: bytes) -> None:
        self._raw = raw
        self._file_key = file_key
        self._opening_key = bytes(bytearray(file_key))  # in another place: a fault of the memory befalls one of the two
        self._mac_key = _derived(file_key, b"", b"header")

    @classmethod
    def opened(cls, file: bytes, identity: str) -> "Header":
        """That of an age file which this identity (AGE-SECRET-KEY-1…) opens. Raises ValueError when it does not."""
        raw = header_of(file)
        for file_key in _unwrapped(raw, X25519PrivateKey.from_private_bytes(_scalar(identity))):
            header = cls(raw, file_key)
            if header.is_whole(raw):
                return header
        raise ValueError("an age file that the identity does not open")

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        raise TypeError("a file key is not pickled or copied to another process")

    def is_whole(self, raw: bytes) -> bool:
        """Its MAC fits the file key that is kept here."""
        signed, _, mac = raw.rpartition(_MAC)
        return hmac.compare_digest(_hmac(self._mac_key, signed + _MAC), _decoded(mac.strip()))

    def seal(self, text: bytes) -> bytes:
        """An age file with this text of at most CHUNK bytes."""
        nonce = os.urandom(_NONCE)
        return self._raw + nonce + _cipher(self._file_key, nonce).encrypt(_LAST, text, None)

    def open(self, file: bytes) -> bytes | None:
        """The text of an age file under this header; None when it is not under it, or anything in it was changed."""
        size = len(self._raw)
        raw, nonce, text = file[:size], file[size : size + _NONCE], file[size + _NONCE :]
        if raw != self._raw or not self.is_whole(raw):
            return None
        try:
            return _cipher(self._opening_key, nonce).decrypt(_LAST, text, None)
        except InvalidTag:
            return None


def header_of(file: bytes) -> bytes:
    """The header of an age file, its MAC and the end of that line included; ValueError for what has none."""
    end = file.index(_MAC + b" ") + len(_MAC) + 1 + _MAC_SIZE + 1
    return file[:end]


def _unwrapped(raw: bytes, identity: X25519PrivateKey) -> list[bytes]:
    """The file keys in those stanzas that are for this identity."""
    public = identity.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    lines = raw.split(b"\n")
    found = []
    for line, body in pairwise(lines):
        if not line.startswith(_STANZA):
            continue
        share = _decoded(line.removeprefix(_STANZA))
        shared = identity.exchange(X25519PublicKey.from_public_bytes(share))
        key = _derived(shared, share + public, _WRAPPED)
        try:
            found.append(ChaCha20Poly1305(key).decrypt(bytes(12), _decoded(body), None))
        except InvalidTag:  # somebody else's
            continue
    return found


def _scalar(identity: str) -> bytes:
    """The 32 bytes of AGE-SECRET-KEY-1…: Bech32, whose checksum pyrage has looked at."""
    number = 0
    letters = identity.lower().rpartition("1")[2][:-6]
    for letter in letters:
        number = number << 5 | _BECH32[letter]
    return (number >> len(letters) * 5 % 8).to_bytes(32, "big")


def _cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))


def _derived(secret: bytes, salt: bytes, label: bytes) -> bytes:
    """HKDF with SHA-256 (RFC 5869), one block of it."""
    return _hmac(_hmac(salt or bytes(32), secret), label + b"\x01")


def _hmac(key: bytes, text: bytes) -> bytes:
    """HMAC with SHA-256 of a key that fits in a block (RFC 2104); unlike the library's it keeps the interpreter's lock."""
    block = key.ljust(_BLOCK, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + text).digest()).digest()


def _decoded(text: bytes) -> bytes:
    """Base64 as age writes it, without padding. ValueError for what is none."""
    return b64decode(text + b"=" * (-len(text) % 4), validate=True)
