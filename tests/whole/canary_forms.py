"""The forms in which a secret can lie in bytes, and the search for them."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus


def forms(secret: str) -> dict[str, bytes]:
    """Every form of a secret that is searched for, by its name."""
    plain = secret.encode()
    texts = {
        "plain": secret,
        "quote": quote(secret, safe=""),
        "quote twice": quote(quote(secret, safe=""), safe=""),
        "quote_plus": quote_plus(secret),
        "quote_plus twice": quote_plus(quote_plus(secret)),
        "json": json.dumps(secret)[1:-1],
        "json as browsers are sent it": "".join(
            f"\\u{ord(one):04x}" if one in "&<>'+=" else json.dumps(one)[1:-1] for one in secret
        ),
        "html": html.escape(secret),
        "reversed": secret[::-1],
        "hex": plain.hex(),
        "HEX": plain.hex().upper(),
    }
    found = {name: text.encode() for name, text in texts.items()}
    for shift in range(3):
        found[f"base64 at {shift}"] = _base64(plain, shift, base64.b64encode)
        found[f"base64url at {shift}"] = _base64(plain, shift, base64.urlsafe_b64encode)
    return found


def _base64(plain: bytes, shift: int, encode: type[bytes] | object) -> bytes:
    """The characters that stand for this text alone, when `shift` bytes (modulo 3) come before it and more may follow."""
    assert callable(encode)
    coded: bytes = encode(b"\0" * shift + plain)
    return coded[(0, 2, 3)[shift] : (shift + len(plain)) * 8 // 6]


class Searcher:
    """Finds any form of any of some secrets."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        assert all(len(text) >= 8 for text in secrets.values()), "too short to be told from noise"
        self._forms: dict[bytes, str] = {}
        for name, text in secrets.items():
            for form, content in forms(text).items():
                self._forms.setdefault(content, f"{name} ({form})")

    def leaks(self, content: bytes) -> Iterator[str]:
        """The name and form of each secret in the content; never its value."""
        for form, name in self._forms.items():
            if form in content:
                yield name
