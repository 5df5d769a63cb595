import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from alibabacloud_openapi_util.client import Client as OpenApiUtil
from alibabacloud_tea_openapi.utils import Utils
from hypothesis import given
from hypothesis import strategies as st

from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.signing import ALGORITHM, authorization, encoded, signed_headers
from batchmod.model.secret import Secret

VECTORS = json.loads((Path(__file__).parent / "signature_vectors.json").read_text(encoding="utf-8"))
PLAIN = AccessKey(id=VECTORS["access_key_id"], secret=Secret(VECTORS["access_key_secret"]))

nasty = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "uW8+nsrp%&=!@#",
        "orders cache/中文*~",
        "%2B",
        "a b\tc\r\n",
        "'\"\\",
        "-_.~",
        "acs:ram::1:role/x",
        "é\u0301",
        "😀",
    ]
)
names = st.text("ABCXYZabcxyz.0123456789", min_size=1)
header_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
keys = st.builds(
    AccessKey,
    id=header_text,
    secret=header_text.map(Secret),
    token=st.none() | header_text.map(Secret),
)


@pytest.mark.parametrize("vector", VECTORS["v3"], ids=lambda vector: vector["name"])
def test_every_known_signature_is_reproduced(vector: dict[str, Any]) -> None:
    """Query, form, token and the SDK's own header set: each known Authorization comes out to the letter."""
    assert encoded(sorted(vector["query"].items())) == vector["canonical_query"]
    assert (
        authorization(method=vector["method"], query=vector["query"].items(), headers=vector["headers"], key=PLAIN)
        == vector["authorization"]
    )


def test_the_form_vector_is_what_a_call_sends() -> None:
    """The known form request comes out whole, body and headers, with its date given in epoch seconds."""
    vector = next(one for one in VECTORS["v3"] if one["body"])
    headers, body = signed_headers(
        host="r-kvstore.aliyuncs.com",
        action="ModifyInstanceAttribute",
        version="2015-01-01",
        params=parse_qsl(vector["body"]),
        key=PLAIN,
        date=1772600767.9,
        nonce="0123456789abcdef0123456789abcdef",
    )
    assert body.decode() == vector["body"]
    assert headers == vector["headers"] | {"authorization": vector["authorization"]}


@pytest.mark.oracle
@given(params=st.dictionaries(names, nasty), key=keys)
def test_the_vendors_libraries_sign_alike(params: dict[str, str], key: AccessKey) -> None:
    """Whatever the values, both of the vendor's libraries put the same Authorization on the same headers and body."""
    headers, body = signed_headers(
        host="127.0.0.1:8080",
        action="ModifyInstanceAttribute",
        version="2015-01-01",
        params=params.items(),
        key=key,
        date=1.5e9,
        nonce="n" * 32,
    )
    assert dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(params))) == params
    signed = {name: value for name, value in headers.items() if name != "authorization"}
    assert signed["x-acs-content-sha256"] == hashlib.sha256(body).hexdigest()
    _both_agree(headers["authorization"], SimpleNamespace(method="POST", pathname="/", query={}, headers=signed), key)


@pytest.mark.oracle
@given(query=st.dictionaries(names, nasty))
def test_a_query_is_signed_as_the_vendor_does(query: dict[str, str]) -> None:
    """Parameters in a query are sorted by name and escaped as both libraries do."""
    headers = {"host": "h", "x-acs-content-sha256": hashlib.sha256(b"").hexdigest()}
    request = SimpleNamespace(method="GET", pathname="/", query=query, headers=headers)
    _both_agree(authorization(method="GET", query=query.items(), headers=headers, key=PLAIN), request, PLAIN)


def test_a_token_is_signed_and_a_plain_key_sends_none() -> None:
    """A temporary key adds its two headers and signs them; a plain one sends neither."""
    plain, _ = _sign(PLAIN)
    temporary, _ = _sign(AccessKey(id=PLAIN.id, secret=PLAIN.secret, token=Secret("CAIS+token/==")))
    added = {"x-acs-accesskey-id": PLAIN.id, "x-acs-security-token": "CAIS+token/=="}
    assert temporary == plain | added | {"authorization": temporary["authorization"]}
    assert "x-acs-accesskey-id;" in temporary["authorization"]
    assert "x-acs-security-token;" in temporary["authorization"]


def _sign(key: AccessKey) -> tuple[dict[str, str], bytes]:
    return signed_headers(host="h", action="A", version="1", params=[], key=key, date=0, nonce="n")


def _both_agree(ours: str, request: SimpleNamespace, key: AccessKey) -> None:
    payload = request.headers["x-acs-content-sha256"]
    for library in (Utils, OpenApiUtil):
        assert library.get_authorization(request, ALGORITHM, payload, key.id, key.secret.reveal()) == ours
