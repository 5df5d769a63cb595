import html
import json
import os
import time
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.cloud.answers import CODE_LIMIT, MESSAGE_LIMIT, WITHHELD, Reply, read
from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

DATE = "Wed, 04 Mar 2026 05:06:07 GMT"


def answer(
    status: int, body: object, headers: dict[str, str] | None = None, secrets: tuple[str, ...] = ()
) -> Reply | CallError:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    hidden = [Secret(text) for text in secrets]
    return read(status=status, headers=headers or {}, content=content, received=1772600767.5, secrets=hidden)


def error(status: int, body: object, headers: dict[str, str] | None = None, secrets: tuple[str, ...] = ()) -> CallError:
    found = answer(status, body, headers, secrets)
    assert isinstance(found, CallError)
    return found


def test_success_is_200_with_a_request_id() -> None:
    """The reply has its body, RequestId and both clocks."""
    body = {"RequestId": "R", "TDEStatus": "Enabled"}
    dated = answer(200, body, {"date": DATE})
    assert dated == Reply(body=body, request_id="R", date_header=DATE, received=1772600767.5)
    assert isinstance(dated, Reply)
    assert dated.date == 1772600767.0
    undated = answer(200, {"requestId": "R"})
    assert undated == Reply(body={"requestId": "R"}, request_id="R", date_header=None, received=1772600767.5)
    assert isinstance(undated, Reply)
    assert undated.date is None


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Mar 2026 05:06:07 GMT", "Wed, 04 Mar 999999 05:06:07 GMT"])
def test_a_date_that_cannot_be_read_is_none(date: str) -> None:
    """A broken clock does not break the reply."""
    reply = answer(200, {"RequestId": "R"}, {"date": date})
    assert isinstance(reply, Reply)
    assert reply.date is None


@pytest.fixture
def tokyo() -> Iterator[None]:
    """This machine's own time zone is nine hours off, and back again."""
    os.environ["TZ"] = "JST-9"
    time.tzset()
    yield
    del os.environ["TZ"]
    time.tzset()


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000", ""])
def test_a_date_is_utc_wherever_this_machine_is(zone: str) -> None:
    """The service's clock is read in its zone, not in ours."""
    reply = answer(200, {"RequestId": "R"}, {"date": f"Wed, 04 Mar 2026 05:06:07 {zone}"})
    assert isinstance(reply, Reply)
    assert reply.date == 1772600767.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>ok</html>",
        b"[]",
        b'"R"',
        b'{"RequestId": "R"',
        b'{"RequestId": ""}',
        b'{"RequestId": 7}',
        b"{}",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
        None,
    ],
)
def test_a_200_that_proves_nothing_is_lost(content: bytes | None) -> None:
    """A reply that will not parse, is too long, or has no RequestId is no proof of anything."""
    found = error(200, content)
    assert (found.verdict, found.code, found.status) == (Verdict.LOST, "UnreadableReply", 200)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 400, 403, 404, 407, 429, 500, 502, 504])
@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", None, {"RequestId": "R"}, {"Code": 7}])
def test_what_is_no_answer_of_the_service_is_lost(status: int, body: object) -> None:
    """Without a Code nobody knows who answered, whatever the status."""
    found = error(status, body)
    assert (found.verdict, found.code, found.status) == (Verdict.LOST, f"HTTP {status}", status)


def test_a_redirect_is_lost_even_with_a_code() -> None:
    """A 3xx on the way says nothing of the service."""
    assert error(307, {"Code": "InvalidParameter"}).verdict is Verdict.LOST


def test_an_error_has_what_the_envelope_says() -> None:
    """Code, message, RequestId and status are passed on; an empty RequestId is none."""
    body = {"Code": "TaskExists", "Message": "Specified task have existed.", "RequestId": "R", "HostId": "h"}
    found = error(400, body)
    assert (found.verdict, found.code, found.message, found.request_id, found.status, found.retry_after) == (
        Verdict.WAIT,
        "TaskExists",
        "Specified task have existed.",
        "R",
        400,
        None,
    )
    assert error(400, body | {"RequestId": ""}).request_id is None
    assert error(400, {"code": "TaskExists", "message": "m"}).message == "m"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1500", 1.5),
        (" 250 ", 0.25),
        *((header, None) for header in ("0", "-5", "1.5", "soon", "", "²", "9" * 30, "9" * 5000)),
    ],
)
def test_the_wait_hint_is_a_positive_number_of_milliseconds(header: str, seconds: float | None) -> None:
    """Only what can be a time to wait becomes one."""
    assert error(400, {"Code": "Throttling"}, {"x-acs-retry-after": header}).retry_after == seconds


@given(st.text(), st.text())
def test_what_is_shown_is_one_short_printable_line(code: str, message: str) -> None:
    """No control character, line end or endless text of a reply reaches a report or a terminal."""
    found = error(400, {"Code": code * 200, "Message": message * 1000, "RequestId": message * 200})
    assert (found.code.isprintable(), found.message.isprintable()) == (True, True)
    assert len(found.code) <= CODE_LIMIT
    assert len(found.message) <= MESSAGE_LIMIT
    assert found.request_id is None or (found.request_id.isprintable() and len(found.request_id) <= CODE_LIMIT)


passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=32)
spellings = st.sampled_from(
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower() if text == text.lower() else quote(text, safe=""),
        lambda text: quote(text, safe="/:*@!$(),"),
        quote_plus,
        lambda text: quote(quote(text, safe=""), safe=""),
        html.escape,
    ]
)


@given(passwords, spellings, st.sampled_from(["Code", "Message", "RequestId"]), st.integers(0, MESSAGE_LIMIT))
def test_a_text_that_holds_a_secret_is_withheld(password: str, spell: object, field: str, before: int) -> None:
    """A password comes back in no field, plain or escaped, wherever it stands: not even the part before the cut."""
    assert callable(spell)
    body = {"Code": "SignatureDoesNotMatch", "Message": "m", "RequestId": "R"}
    found = error(400, body | {field: "." * before + f"&NewPassword={spell(password)}&"}, secrets=("", password))
    shown = {"Code": found.code, "Message": found.message, "RequestId": found.request_id}
    assert shown == body | {field: WITHHELD}
    assert field == "Code" or found.verdict is Verdict.ACCOUNT_STOP


def test_other_texts_are_shown_as_they_are() -> None:
    """A message without a secret is passed on, percent signs and all, and an empty secret withholds nothing."""
    message = "The Specified parameter &quot;InstanceName&quot; is 100%25 not valid."
    assert error(400, {"Code": "X", "Message": message}, secrets=("", "uW8+nsrp")).message == message


@pytest.mark.parametrize(
    "content",
    [
        b'{"RequestId": "R", "Credentials": {"SecurityToken": "CAIS-hidden"}}',
        b'{"RequestId": "R", "Credentials": {"Security\\u0054oken": "CAIS-hidden"}}',
        '{"RequestId": "R", "Credentials": {"SecurityToken": "CAIS-hidden"}}'.encode("utf-16"),
        '{"RequestId": "R", "Credentials": {"SecurityToken": "CAIS-hidden"}}'.encode("utf-32-be"),
    ],
    ids=["plain", "escaped", "utf-16", "utf-32"],
)
def test_a_secret_of_a_reply_is_one_however_its_name_is_written(content: bytes) -> None:
    """Wherever it stands, it is a Secret from the first moment on."""
    reply = answer(200, content)
    assert isinstance(reply, Reply)
    assert reply.body["Credentials"]["SecurityToken"] == Secret("CAIS-hidden")
