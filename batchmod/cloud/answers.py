"""What came back, as a Reply or a CallError, and what of it may be shown. Pure: no I/O.

Nothing that a reply says is trusted to be short, printable or free of the request's own secrets: a gateway that finds
a wrong signature answers with the text that it signed, parameters and all.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

import orjson

from batchmod.cloud.codes import OWN, classify
from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

CODE_LIMIT: Final = 100  # characters
MESSAGE_LIMIT: Final = 500
LOOKED_AT: Final = 1 << 16  # characters of a text that is shown in part
ESCAPES: Final = 3  # that stand around each other
WITHHELD: Final = "(withheld)"
SECRET_FIELDS: Final = frozenset(
    {"AccessKeySecret", "SecurityToken", "SecretData"}
)  # of a reply, as AssumeRole and GetSecretValue have them
_SECRET_NAMES = tuple(name.encode() for name in ["\\", "\0", *sorted(SECRET_FIELDS)])  # escaped, in UTF-16, and plain
RETRY_AFTER: Final = "x-acs-retry-after"  # milliseconds; a positive integer or nothing
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,200}")  # an id or a code
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A call that was answered 200 with a RequestId. Times are seconds since the epoch.

    The texts of SECRET_FIELDS are Secrets, at whatever depth; the rest of the body is not shown either.
    """

    body: Mapping[str, Any] = field(repr=False)
    request_id: str
    date_header: str | None
    received: float  # our clock, when it came

    @property
    def date(self) -> float | None:
        """The service's clock at that moment, to the second."""
        return _date(self.date_header)


def read(
    *, status: int, headers: Mapping[str, str], content: bytes | None, received: float, secrets: Sequence[Secret]
) -> Reply | CallError:
    """The reply, or the error that it is. `content` is None when it was too long to be read.

    `headers` are found whatever their case. `secrets` are the request's: a text that holds one is withheld.
    """
    body = _object(content)
    request_id = _shown(_first(body, "RequestId", "requestId"), CODE_LIMIT, secrets)
    if status == 200:  # noqa: PLR2004
        if request_id is None:
            return own_error("UnreadableReply", "success without a RequestId", status=status)
        return Reply(body=body, request_id=request_id, date_header=headers.get("date"), received=received)
    code = _shown(_first(body, "Code", "code"), CODE_LIMIT, secrets)
    if code is None or status < 400:  # noqa: PLR2004
        return CallError(Verdict.LOST, code=f"HTTP {status}", message="no error of the service", status=status)
    return CallError(
        classify(code, status=status),
        code=code,
        message=_shown(_first(body, "Message", "message"), MESSAGE_LIMIT, secrets) or "",
        request_id=request_id,
        status=status,
        retry_after=_seconds(headers.get(RETRY_AFTER)),
    )


def own_error(code: str, message: str, *, status: int | None = None) -> CallError:
    """The error of one of batchmod's own codes, with the verdict that the table has for it."""
    return CallError(OWN[code].verdict, code=code, message=message, status=status)


def _object(content: bytes | None) -> Mapping[str, Any]:
    """The JSON object that the reply is; empty when it is none, which no caller takes for an answer."""
    text = content or b""
    try:
        for name in _SECRET_NAMES:
            if name in text:
                body = json.loads(text, object_hook=_guarded)
                break
        else:  # a long list need not be walked twice
            body = _parsed(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _parsed(text: bytes) -> Any:
    """What the standard library reads of it, in less than half the time, but for integers beyond 64 bits, which are floats."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it is stricter: no BOM, no lone surrogate, no NaN
        return json.loads(text.removeprefix(BOM_UTF8).decode("utf-8", "surrogatepass"))


def _guarded(fields: dict[str, Any]) -> dict[str, Any]:
    return {n: Secret(v) if n in SECRET_FIELDS and isinstance(v, str) else v for n, v in fields.items()}


def _first(body: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        text = body.get(name)
        if isinstance(text, str):
            return text
    return None


def _shown(text: str | None, limit: int, secrets: Iterable[Secret]) -> str | None:
    """The text on one line, cut to the limit; WITHHELD when it holds a secret; None when nothing is left."""
    if text is None:
        return None
    if _PLAIN.fullmatch(text):  # no escape in it: the text is its only spelling
        return WITHHELD if any(secret.reveal() in text for secret in secrets if secret) else text[:limit]
    text = text[:LOOKED_AT]
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    hidden = [secret.reveal() for secret in secrets if secret]
    if any(value in spelling for spelling in _spellings(text) | _spellings(line) for value in hidden):
        return WITHHELD
    return line[:limit] or None


def _spellings(text: str) -> set[str]:
    """The text as it is and with its escapes undone, as far as gateways nest them: what the older signature signs is
    encoded twice, and may stand escaped in JSON or HTML inside the JSON.
    """
    found = {text}
    for _ in range(ESCAPES):
        found |= {undo(one) for one in found for undo in (unescape, unquote, unquote_plus, _unescape_json)}
    return found


def _unescape_json(text: str) -> str:
    return _JSON_ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], text)


def _date(header: str | None) -> float | None:
    """The Date header in seconds since the epoch; one without a zone is UTC, as HTTP has it."""
    try:
        date = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _seconds(header: str | None) -> float | None:
    text = (header or "").strip()
    milliseconds = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004
    return milliseconds / 1000 if milliseconds > 0 else None
