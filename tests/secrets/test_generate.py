import random
import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.secrets.generate import generate

ALPHABET = string.ascii_letters + string.digits + "_-"


@given(length=st.integers(8, 32), seed=st.integers())
def test_every_password_fits_every_documented_rule(length: int, seed: int) -> None:
    """First a letter, then letters, digits, `_` and `-`; as long as asked; three classes at least."""
    text = generate(length, random.Random(seed)).reveal()
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text)
    assert len(text) == length
    assert sum(bool(re.search(each, text)) for each in ("[A-Z]", "[a-z]", "[0-9]", "[_-]")) >= 3


class Scripted(random.Random):
    """Dice that fall as written, one password after the other."""

    def __init__(self, *passwords: str) -> None:
        super().__init__(0)
        self.left = list(passwords)

    def randbytes(self, n: int) -> bytes:
        """Each character's place in the alphabet."""
        return bytes(ALPHABET.index(each) for each in self.left.pop(0)[:n])


def test_every_byte_of_the_dice_is_a_character_and_all_are_equally_likely() -> None:
    """256 is four times the alphabet."""
    counts = Counter(generate(8, Constant(byte)).reveal()[2] for byte in range(256))
    assert counts == dict.fromkeys(ALPHABET, 4)


class Constant(random.Random):
    """Dice that always show the same byte, behind three that make the password a good one."""

    def __init__(self, byte: int) -> None:
        super().__init__(0)
        self.byte = byte

    def randbytes(self, n: int) -> bytes:
        return bytes([0, 26, self.byte, 52, 63, *bytes(n - 5)])


def test_a_draw_that_breaks_a_rule_is_thrown_away_whole() -> None:
    """Mending a bad draw would make some passwords likelier than others."""
    dice = Scripted("aaaaaaaa", "bbbbbbb1", "1bbbbB_b", "_bbbB1bb", "cccccC_c", "never-drawn")
    assert generate(8, dice).reveal() == "cccccC_c"
    assert dice.left == ["never-drawn"]


@pytest.mark.parametrize("length", [-1, 0, 7, 33])
def test_no_password_that_the_service_would_refuse_for_its_length(length: int) -> None:
    """8 to 32 characters, or a clear no."""
    with pytest.raises(UsageError, match="8 to 32"):
        generate(length)


def test_system_dice_do_not_repeat() -> None:
    """No two of many passwords are the same."""
    assert len({generate(24).reveal() for _ in range(500)}) == 500
