import pickle
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # ships no types
import pytest

from batchmod.errors import StoreError, UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.agekey import AgeKey, checked_recipients, key_path, load_or_make

PASSWORD = Secret("Canary_password-1")


def made(path: Path) -> AgeKey:
    key, fresh = load_or_make(path, may_make=True)
    assert fresh
    return key


def secret_line(path: Path) -> str:
    return path.read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"BATCHMOD_AGE_KEY": "/k", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/k"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/batchmod/age.key"),
        ({"XDG_CONFIG_HOME": "", "BATCHMOD_AGE_KEY": "", "HOME": "/h"}, "/h/.config/batchmod/age.key"),
        ({"XDG_CONFIG_HOME": "x", "HOME": "/h"}, "/h/.config/batchmod/age.key"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "h"}, "/x/batchmod/age.key"),
        ({"BATCHMOD_AGE_KEY": "k", "HOME": "h"}, "k"),
    ],
)
def test_where_the_key_lies(environ: dict[str, str], expected: str) -> None:
    """The named file, else the XDG place, else ~/.config; a relative XDG place is ignored, as its specification says."""
    assert key_path(environ) == Path(expected)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "h"}, {"HOME": ".", "XDG_CONFIG_HOME": "x"}])
def test_no_place_for_the_key_is_a_clear_error(environ: dict[str, str]) -> None:
    """Without a HOME that is the same wherever batchmod is started, the operator is told which variable to set."""
    with pytest.raises(UsageError, match="BATCHMOD_AGE_KEY"):
        key_path(environ)


def test_a_made_key_is_private_and_stays_the_same(tmp_path: Path) -> None:
    """0600 in a 0700 directory, no leftover beside it, and the next start reads the same key."""
    path = tmp_path / "config" / "batchmod" / "age.key"
    key = made(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    again, fresh = load_or_make(path, may_make=True)
    assert not fresh
    assert again.decrypt(key.encrypt(PASSWORD)) == PASSWORD


def test_makers_at_the_same_moment_agree_on_one_key(tmp_path: Path) -> None:
    """Of many processes that start at once, one makes the key and all use it."""
    path, line = tmp_path / "age.key", threading.Barrier(8)

    def start(_: int) -> tuple[str, bool]:
        line.wait()
        key, fresh = load_or_make(path, may_make=True)
        return key.recipient, fresh

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(start, range(8)))
    assert len({recipient for recipient, _ in results}) == 1
    assert [fresh for _, fresh in results].count(True) == 1


def test_the_format_of_age_keygen_is_read(tmp_path: Path) -> None:
    """Comment lines, blank lines and Windows line ends do no harm."""
    path = tmp_path / "age.key"
    key = made(path)
    path.write_bytes(b"# created: 2026-03-04T05:06:07Z\r\n\r\n  # a note\r\n" + secret_line(path).encode() + b"\r\n")
    assert load_or_make(path, may_make=False)[0].recipient == key.recipient


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "0 lines"),
        ("# only a comment\n", "0 lines"),
        ("{key}\n{key}\n", "2 lines"),
        ("{key}x", "not an age key"),
        ("age1qqqq", "not an age key"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "not an age key"),
        ("\u00e9\u00e8", "not an age key"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, content: str, says: str) -> None:
    """One line that names the file and never shows what is in it."""
    path = tmp_path / "age.key"
    made(path)
    key = secret_line(path)
    path.write_text(content.format(key=key), encoding="utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        load_or_make(path, may_make=True)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert key not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """The message is the command that mends it."""
    path = tmp_path / "age.key"
    made(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        load_or_make(path, may_make=False)


def test_a_missing_key_is_not_made_unless_it_may_be(tmp_path: Path) -> None:
    """Nothing is created; the operator hears of backup and variable."""
    path = tmp_path / "none" / "age.key"
    with pytest.raises(UsageError, match=r"backup.*BATCHMOD_AGE_KEY"):
        load_or_make(path, may_make=False)
    assert not path.parent.exists()


def test_a_key_out_of_reach_is_a_clear_error(tmp_path: Path) -> None:
    """A directory, or a file where a directory should be, is refused in one line."""
    with pytest.raises(UsageError, match="cannot be read or made"):
        load_or_make(tmp_path, may_make=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be read or made"):
        load_or_make(tmp_path / "file" / "age.key", may_make=True)


@pytest.mark.parametrize("home", ["/proc/nobody", "/dev/null", "{tmp_path}/nowhere"])
def test_a_place_where_no_key_can_be_made_is_named(tmp_path: Path, home: str) -> None:
    """The operator hears where, why, and which variable names another place; there is no backup to fetch."""
    (tmp_path / "nowhere").symlink_to("no/such/place")
    path = Path(home.format(tmp_path=tmp_path), ".config", "batchmod", "age.key")
    with pytest.raises(UsageError, match=f"{path}: the age key cannot be .*made.*: [A-Z]") as caught:
        load_or_make(path, may_make=True)
    assert "backup" not in str(caught.value)


def test_a_key_behind_a_circle_is_a_clear_error(tmp_path: Path) -> None:
    """Neither missing nor made anew."""
    (tmp_path / "age.key").symlink_to("age.key")
    for may_make in (True, False):
        with pytest.raises(UsageError, match=f"{tmp_path}/age.key: the age key cannot be read.*Too many levels"):
            load_or_make(tmp_path / "age.key", may_make=may_make)


def test_a_key_shows_its_public_half_only(tmp_path: Path) -> None:
    """Neither repr nor str nor pickle gives the identity away."""
    key = made(tmp_path / "age.key")
    assert repr(key) == str(key) == f"AgeKey({key.recipient})"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_each_recipient_opens_a_value_alone_and_nobody_else_does(tmp_path: Path) -> None:
    """A recovery key is as good as the own one; a stranger's key and a changed value are refused."""
    own, recovery, stranger = (made(tmp_path / name) for name in ("own", "recovery", "stranger"))
    value = own.encrypt(PASSWORD, [recovery.recipient])
    assert own.decrypt(value) == recovery.decrypt(value) == PASSWORD
    assert PASSWORD.reveal().encode() not in value
    with pytest.raises(StoreError, match="does not open"):
        stranger.decrypt(value)
    with pytest.raises(StoreError, match="does not open"):
        own.decrypt(value[:-1] + bytes([value[-1] ^ 1]))


def test_a_value_that_is_no_text_is_refused_without_showing_it(tmp_path: Path) -> None:
    """Somebody else's file for the same key; the error's cause does not carry the plain bytes."""
    key = made(tmp_path / "age.key")
    value = pyrage.encrypt(b"Canary\xff", [pyrage.x25519.Recipient.from_str(key.recipient)])
    with pytest.raises(StoreError, match="not text") as caught:
        key.decrypt(value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_fingerprints_tell_equal_from_different_and_nothing_else(tmp_path: Path) -> None:
    """Stable under one key, different under another, and no plain hash of the password."""
    key, other = made(tmp_path / "a"), made(tmp_path / "b")
    assert key.fingerprint(PASSWORD) == load_or_make(tmp_path / "a", may_make=False)[0].fingerprint(PASSWORD)
    assert key.fingerprint(PASSWORD) != key.fingerprint(Secret("Canary_password-2"))
    assert key.fingerprint(PASSWORD) != other.fingerprint(PASSWORD)
    assert len(key.fingerprint(PASSWORD)) == 64


def test_broken_recipients_are_named_by_place_all_at_once(tmp_path: Path) -> None:
    """A secret key that was pasted by mistake is not repeated in the error."""
    good = made(tmp_path / "age.key").recipient
    pasted = secret_line(tmp_path / "age.key")
    with pytest.raises(UsageError) as caught:
        checked_recipients([good, pasted, "age1nonsense"])
    assert [problem.split(" is ")[0] for problem in caught.value.problems] == ["recipient 2", "recipient 3"]
    assert "public half" in caught.value.problems[0]
    assert pasted not in str(caught.value)
    assert checked_recipients([f" {good}", good]) == (good,)
