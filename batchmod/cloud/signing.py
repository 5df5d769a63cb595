"""The vendor's V3 request signature, ACS3-HMAC-SHA256. Pure: date and nonce are parameters.

Source: the vendor's page "V3 request structure and signature"; held to the vendor's own libraries by the tests.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from batchmod.cloud.credentials import AccessKey

ALGORITHM = "ACS3-HMAC-SHA256"
FORM = "application/x-www-form-urlencoded"

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_BLOCK = 64  # bytes of SHA-256's
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
Pairs = Iterable[tuple[str, str]]


def signed_headers(
    *, host: str, action: str, version: str, params: Pairs, key: AccessKey, date: float, nonce: str
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a POST to `/` with an empty query: every parameter is in the form body, none in the URL.

    `host` is what the Host header will say, with the port unless it is the default one. `date` is in seconds since
    the epoch; the service takes it for 15 minutes and each nonce once.
    """
    body = encoded(params).encode()
    headers = {
        "content-type": FORM,
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": _dated(int(date)),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if key.token is not None:
        headers["x-acs-accesskey-id"] = key.id
        headers["x-acs-security-token"] = key.token.reveal()
    headers["authorization"] = authorization(method="POST", query=(), headers=headers, key=key)
    return headers, body


@lru_cache(maxsize=4)
def _dated(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def authorization(*, method: str, query: Pairs, headers: Mapping[str, str], key: AccessKey) -> str:
    """The Authorization header of a request to `/` whose `headers`, all of them, are signed.

    Among them is `x-acs-content-sha256`, the hash of the body.
    """
    names, lines = _canonical(headers)
    asked = encoded(sorted(query)) if query else ""
    request = f"{method}\n/\n{asked}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    text = f"{ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = _signature(key.secret.reveal(), text)
    return f"{ALGORITHM} Credential={key.id},SignedHeaders={names},Signature={signature}"


def _signature(secret: str, text: str) -> str:
    """HMAC-SHA256 in hex (RFC 2104), without what a library does for each key: there is one for a whole run."""
    inner, outer = (pad.copy() for pad in _pads(secret))
    inner.update(text.encode())
    outer.update(inner.digest())
    return outer.hexdigest()


@lru_cache(maxsize=8)
def _pads(secret: str) -> "tuple[hashlib._Hash, hashlib._Hash]":
    key = secret.encode()
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def _canonical(headers: Mapping[str, str]) -> tuple[str, str]:
    """The names of what is signed, and a line for each, both in the order of the names."""
    order, names = _order(tuple(headers))
    values = list(headers.values())
    return names, "".join([f"{name}:{values[place].strip()}\n" for name, place in order])


@lru_cache(maxsize=64)
def _order(names: tuple[str, ...]) -> tuple[list[tuple[str, int]], str]:
    order = sorted([(name.lower(), place) for place, name in enumerate(names)])
    return order, ";".join([name for name, _ in order])


def encoded(pairs: Pairs) -> str:
    """`k=v&k=v` as RFC 3986 has it: all but letters, digits and `-_.~` is percent-encoded as UTF-8."""
    return "&".join([f"{_name(name)}={_quoted(value)}" for name, value in pairs])


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


_name = lru_cache(maxsize=256)(_quoted)  # there are few
