"""Every request that our client sends is accepted by the vendor's verification, whatever is in it; an altered one is not."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, quote_plus

import pytest
from cloud_recorder import KEY
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vendor_verifier import Arrived, accepted, sent

from batchmod.cloud.client import Param
from batchmod.cloud.credentials import AccessKey
from batchmod.model.secret import Secret

pytestmark = pytest.mark.oracle
SPECIALS = "!@#$%^&*()_+-="
TOKEN = AccessKey(id="STS.NTexample", secret=KEY.secret, token=Secret("CAIS+" + "aB3/" * 400 + "=="))
APIS = (
    "ModifyInstanceAttribute",
    "ModifyInstanceTDE",
    "DescribeInstances",
    "DescribeInstanceAttribute",
    "DescribeInstanceTDEStatus",
    "ListTagResources",
    "AssumeRole",
    "GetCallerIdentity",
)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "订单-cache",
        "😀 emoji",
        "a b",
        " ",
        "",
        "*~",
        "a+b",
        "100%",
        "%2B%20",
        "a&b=c",
        "line\nend\r\n",
        "\t\x00",
        "acs:ram::1:role/x",
        '{"Version": "1"}',
        "é\u0301",
        "'\"\\<>",
    ]
)
passwords = st.text(f"{SPECIALS}abcXYZ0189", min_size=5, max_size=29).map(lambda text: Secret(f"Aa1{text}"))
values: st.SearchStrategy[Param] = texts | st.booleans() | st.integers() | st.none()
tags = st.lists(st.tuples(texts, texts), max_size=11).map(
    lambda pairs: {
        name: value
        for number, (key, its) in enumerate(pairs, start=1)
        for name, value in ((f"Tag.{number}.Key", key), (f"Tag.{number}.Value", its))
    }
)
names = st.sampled_from(
    ["InstanceId", "InstanceName", "RegionId", "SearchKey", "InstanceReleaseProtection", "PageSize"]
)
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
keys = st.builds(
    AccessKey, id=printable, secret=printable.map(Secret), token=st.none() | printable.map(Secret)
) | st.sampled_from([KEY, TOKEN])


@st.composite
def parameters(draw: st.DrawFn) -> Mapping[str, Param]:
    """Parameters in any order: some of anything, up to eleven tags, and a password perhaps."""
    some: dict[str, Param] = {**draw(st.dictionaries(names, values)), **draw(tags)}
    if draw(st.booleans()):
        some["NewPassword"] = draw(passwords)
    return dict(draw(st.permutations(list(some.items()))))


def text_of(value: Param) -> str:
    return (
        value.reveal() if isinstance(value, Secret) else str(value).lower() if isinstance(value, bool) else str(value)
    )


@given(api=st.sampled_from(APIS), params=parameters(), key=keys)
@example(api=APIS[0], params={"NewPassword": Secret(f"Aa1{SPECIALS}"), "InstanceName": "中文*~ +%&=\n"}, key=TOKEN)
@example(api=APIS[2], params={f"Tag.{number}.Key": "k" for number in range(10, 0, -1)}, key=KEY)
@settings(max_examples=300)
def test_every_request_is_accepted(api: str, params: Mapping[str, Param], key: AccessKey) -> None:
    """Both of the vendor's libraries sign it alike; it says what was asked, and no password is in its URL or headers."""
    arrived = asyncio.run(sent(api, params, key))
    assert (arrived.method, arrived.target, arrived.headers["x-acs-action"]) == ("POST", "/", api)
    assert dict(arrived.form) == {name: text_of(value) for name, value in params.items() if value is not None}
    shown = "\n".join((arrived.target, *arrived.headers.keys(), *arrived.headers.values()))
    for value in params.values():
        if isinstance(value, Secret):
            text = value.reveal()
            assert not [each for each in (text, quote(text), quote(text, safe=""), quote_plus(text)) if each in shown]
    assert ("x-acs-security-token" in arrived.headers) == (key.token is not None)


@pytest.fixture(scope="module", params=[KEY, TOKEN], ids=["plain key", "with a token"])
def genuine(request: pytest.FixtureRequest) -> tuple[Arrived, AccessKey]:
    """A request that is accepted, and its key."""
    key: AccessKey = request.param
    params: Mapping[str, Param] = {
        "InstanceId": "r-1",
        "InstanceName": "中 *~",
        "NewPassword": Secret(f"Aa1{SPECIALS}"),
    }
    return asyncio.run(sent("ModifyInstanceAttribute", params, key)), key


def altered(text: str, at: int) -> str:
    """The same but for one character, and that one not a blank: those at the ends do not count."""
    return f"{text[:at]}{'y' if text[at] == 'x' else 'x'}{text[at + 1 :]}"


def test_one_byte_of_the_body(genuine: tuple[Arrived, AccessKey]) -> None:
    """Changed, taken away or added, wherever it is."""
    arrived, key = genuine
    assert accepted(arrived, key)
    body = arrived.body
    for at in range(len(body)):
        for other in (bytes([body[at] ^ 1]), b"", body[at : at + 1] * 2):
            assert not accepted(replace(arrived, body=body[:at] + other + body[at + 1 :]), key), at


def test_one_character_of_a_header(genuine: tuple[Arrived, AccessKey]) -> None:
    """Of every signed header and of the signature itself; one more header of the vendor's, or one less, is refused too."""
    arrived, key = genuine
    names = arrived.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "content-type", "x-acs-action", "x-acs-date", "x-acs-content-sha256"} < set(names)
    for name in (*names, "authorization"):
        value = arrived.headers[name]
        for at in range(len(value)):
            assert not accepted(arrived.with_header(name, altered(value, at)), key), (name, at)
        assert not accepted(replace(arrived, headers={n: v for n, v in arrived.headers.items() if n != name}), key), (
            name
        )
    assert not accepted(arrived.with_header("x-acs-more", "1"), key)


def test_the_line_and_the_key(genuine: tuple[Arrived, AccessKey]) -> None:
    """Another method, path or query, and another secret or id of the key."""
    arrived, key = genuine
    for other in (
        replace(arrived, method="GET"),
        replace(arrived, target="/x"),
        replace(arrived, target="/?InstanceId=r-2"),
    ):
        assert not accepted(other, key)
    assert not accepted(arrived, AccessKey(id=key.id, secret=Secret("another"), token=key.token))
    assert not accepted(arrived, AccessKey(id="another", secret=key.secret, token=key.token))
