import pytest

from batchmod.cloud.credentials import ID_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE, AccessKey, from_environment
from batchmod.errors import UsageError
from batchmod.model.secret import Secret

PAIR = {ID_VARIABLE: "LTAIexample", SECRET_VARIABLE: "hunter2"}


@pytest.mark.parametrize(("token", "held"), [(None, None), ("", None), ("CAIS+/=", Secret("CAIS+/="))])
def test_the_vendors_variables_make_a_key(token: str | None, held: Secret | None) -> None:
    """Id and secret are taken from the vendor's own variables, and the token when there is one."""
    environ = PAIR if token is None else PAIR | {TOKEN_VARIABLE: token}
    assert from_environment(environ) == AccessKey(id="LTAIexample", secret=Secret("hunter2"), token=held)


@pytest.mark.parametrize("text", ["hunter2\n", "hunter2\r\nx: y", "hun ter2", "hünter2", "\x00hunter2", ""])
@pytest.mark.parametrize("part", ["id", "secret", "token"])
def test_a_part_that_would_break_a_header_is_refused_unseen(text: str, part: str) -> None:
    """A line end from a file, a blank or a strange character is refused, naming the part and not its value."""
    parts = {"id": "LTAI", "secret": "secret", "token": "token", part: text}
    with pytest.raises(UsageError, match=part) as caught:
        AccessKey(id=parts["id"], secret=Secret(parts["secret"]), token=Secret(parts["token"]))
    assert not text or text not in str(caught.value)


def test_a_key_shows_neither_secret_nor_token() -> None:
    """The repr of a key is safe to print."""
    key = AccessKey(id="LTAI", secret=Secret("hunter2"), token=Secret("t0ken"))
    assert "hunter2" not in repr(key)
    assert "t0ken" not in repr(key)
