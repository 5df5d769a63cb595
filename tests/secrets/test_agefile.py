"""Values that share a header: each is an age file that stands alone, and nothing but its text and nonce tells it from another."""

import pickle

import pyrage  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import StoreError
from batchmod.model.secret import Secret
from batchmod.secrets.agefile import CHUNK, Header, header_of
from batchmod.secrets.agekey import AgeKey

PASSWORD = Secret("Canary_password-1")
OWN, RECOVERY, STRANGER = (pyrage.x25519.Identity.generate() for _ in range(3))
HEADER = Header.opened(pyrage.encrypt(b"", [RECOVERY.to_public(), OWN.to_public()]), str(OWN))


def opened(file: bytes, identity: pyrage.x25519.Identity = OWN) -> bytes:
    """The text, as another program reads it."""
    return bytes(pyrage.decrypt(file, [identity]))


@given(text=st.binary(max_size=300))
def test_another_program_opens_what_is_put_under_a_shared_header(text: bytes) -> None:
    """For every recipient of the header, whichever stanza is its own, and by itself."""
    file = HEADER.seal(text)
    assert opened(file) == opened(file, RECOVERY) == text
    assert HEADER.open(file) == text


def test_the_longest_text_is_still_one_piece() -> None:
    """CHUNK bytes; what is longer is left to pyrage."""
    assert opened(HEADER.seal(bytes(CHUNK))) == bytes(CHUNK)
    long = Secret("x" * (CHUNK + 1))
    key = AgeKey(OWN)
    assert key.decrypt(key.encrypt(long)) == long
    assert opened(key.encrypt(long)).decode() == long.reveal()


def test_the_same_text_is_never_the_same_value() -> None:
    """A nonce, and so a key, for each: two files under one header have no other byte in common by design."""
    files = [HEADER.seal(PASSWORD.reveal().encode()) for _ in range(200)]
    behind = {file.removeprefix(header_of(file)) for file in files}
    assert len({header_of(file) for file in files}) == 1
    assert len({text[:16] for text in behind}) == len({text[16:] for text in behind}) == len(files)


def test_every_changed_byte_is_noticed() -> None:
    """Header, MAC, nonce and text; what is cut off and what is added."""
    file = HEADER.seal(PASSWORD.reveal().encode())
    for place in range(len(file)):
        assert HEADER.open(file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]) is None
        assert HEADER.open(file[:place]) is None
    assert HEADER.open(file + b"\0") is None


@pytest.mark.parametrize("part", ["_file_key", "_opening_key", "_mac_key", "_raw"])
def test_a_fault_of_the_memory_is_no_readable_value(part: str) -> None:
    """A value that would not open later does not open now either: what was sealed is not taken for safe."""
    header = Header.opened(pyrage.encrypt(b"", [OWN.to_public()]), str(OWN))
    kept = getattr(header, part)
    setattr(header, part, kept[:-5] + bytes([kept[-5] ^ 1]) + kept[-4:])
    assert header.open(header.seal(b"text")) is None


def test_a_header_for_somebody_else_is_refused() -> None:
    """Nothing can be put under it, and what is no age file is no header."""
    file = pyrage.encrypt(b"", [STRANGER.to_public()])
    with pytest.raises(ValueError, match="does not open"):
        Header.opened(file, str(OWN))
    with pytest.raises(ValueError, match="subsection"):
        Header.opened(b"no age file", str(OWN))


def test_no_file_key_is_shown_or_copied() -> None:
    """Neither repr nor pickle."""
    assert repr(HEADER).startswith("<batchmod.secrets.agefile.Header object")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(HEADER)


def test_headers_are_made_anew() -> None:
    """After so many values, and when somebody else is to read them: never a value under a header for others."""
    key = AgeKey(OWN)
    mine = [key.encrypt(PASSWORD) for _ in range(1001)]
    assert [header_of(each) for each in mine].count(header_of(mine[0])) == 1000
    both = key.encrypt(PASSWORD, [str(RECOVERY.to_public())])
    alone = key.encrypt(PASSWORD)
    assert opened(both, RECOVERY) == PASSWORD.reveal().encode()
    with pytest.raises(pyrage.DecryptError):
        opened(alone, RECOVERY)
    assert {key.decrypt(each) for each in (mine[0], mine[1000], both, alone)} == {PASSWORD}


def test_a_value_of_an_earlier_process_opens() -> None:
    """Of another header, or made by another program."""
    earlier = AgeKey(OWN).encrypt(PASSWORD)
    key = AgeKey(OWN)
    assert key.decrypt(earlier) == PASSWORD
    key.encrypt(Secret("another"))
    assert key.decrypt(earlier) == PASSWORD
    assert key.decrypt(pyrage.encrypt(PASSWORD.reveal().encode(), [OWN.to_public()])) == PASSWORD


def test_a_header_that_pyrage_does_not_open_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cipher that is broken here is known before the first value is encrypted with it."""
    key = AgeKey(OWN)
    monkeypatch.setattr(Header, "seal", lambda _, text: pyrage.encrypt(text[::-1], [OWN.to_public()]))
    with pytest.raises(StoreError, match="another text"):
        key.encrypt(PASSWORD)
