"""New passwords, drawn evenly from all that every documented version of the service accepts. No I/O but the dice."""

import string
from random import Random, SystemRandom

from batchmod.errors import UsageError
from batchmod.model.secret import Secret

SHORTEST = 8  # of both documented rules (ModifyInstanceAttribute, NewPassword)
LONGEST = 32
_SPECIAL = "_-"  # what all versions share, and what needs no escape in a URL or a shell
_ALPHABET = string.ascii_letters + string.digits + _SPECIAL
_OF_BYTE = bytes(ord(_ALPHABET[byte % len(_ALPHABET)]) for byte in range(256))  # evenly: 64 characters
_CLASSES = tuple(frozenset(each) for each in (string.ascii_uppercase, string.ascii_lowercase, string.digits, _SPECIAL))
_CLASSES_NEEDED = 3
_LETTERS = frozenset(string.ascii_letters)

SYSTEM_RNG = SystemRandom()


def generate(length: int, rng: Random = SYSTEM_RNG) -> Secret:
    """A letter, then `length - 1` of `A-Za-z0-9_-`, with at least three of the four classes.

    Every such password is equally likely: what begins with no letter or lacks a class is thrown away whole. UsageError unless 8 <= length <= 32.
    """
    if not SHORTEST <= length <= LONGEST:
        raise UsageError(f"a password has {SHORTEST} to {LONGEST} characters, not {length}")
    while True:
        text = rng.randbytes(length).translate(_OF_BYTE).decode()  # the dice are thrown once: each time asks the system
        if text[0] in _LETTERS and sum([not each.isdisjoint(text) for each in _CLASSES]) >= _CLASSES_NEEDED:
            return Secret(text)
