import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.secrets.generate import generate


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

    def choice(self, seq: object) -> str:  # type: ignore[override]  # noqa: ARG002
        return self.left[0][0]

    def choices(self, population: object, *_: object, k: int = 1, **__: object) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        return list(self.left.pop(0)[1:])


def test_a_draw_that_lacks_classes_is_thrown_away_whole() -> None:
    """Mending a bad draw would make some passwords likelier than others."""
    dice = Scripted("aaaaaaaa", "bbbbbbb1", "cccccC_c", "never-drawn")
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
