"""The simulator's own few lines of signature checking against vectors that the vendor's libraries made."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sim_support import KEYS, Clock, old_style, request

from batchmod.sim.errors import Refusal
from batchmod.sim.keyring import Keyring
from batchmod.sim.signatures import Verifier
from batchmod.sim.wire import Keys, Request

VECTORS = json.loads(Path(__file__).with_name("signature_vectors.json").read_text(encoding="utf-8"))
VECTOR_TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()
TOKEN = "CAISexample+token/with==chars"
V3, V1 = VECTORS["v3"], VECTORS["v1"]


def names(vectors: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in vectors]


def vector_keys(vector: dict[str, Any]) -> Keys:
    token = TOKEN if TOKEN in json.dumps(vector) else None
    return Keys(
        access_key_id=VECTORS["access_key_id"], access_key_secret=VECTORS["access_key_secret"], session_token=token
    )


def v3_request(vector: dict[str, Any], **headers: str | None) -> Request:
    """The vector's request; a header given as None is left out, another one added or replaced."""
    merged = {**vector["headers"], "authorization": vector["authorization"], **headers}
    return Request(
        method=vector["method"],
        headers=tuple((name, value) for name, value in merged.items() if value is not None),
        query=tuple(parse_qsl(vector["wire_query_form_urlencoded"], keep_blank_values=True)),
        form=tuple(parse_qsl(vector["body"])),
        body=vector["body"].encode(),
    )


def v1_request(vector: dict[str, Any]) -> Request:
    query = parse_qsl(vector["request_target"].partition("?")[2], keep_blank_values=True)
    return Request(
        method=vector["method"],
        headers=(("host", "r-kvstore.aliyuncs.com"),),
        query=tuple(query),
        form=tuple(vector["form_body"].items()),
    )


def verifier_of(keys: Keys, clock: Clock) -> Verifier:
    """Knows this one key pair."""
    return Verifier(Keyring({"1234567890123456": keys}, clock=clock), clock)


def refused(verifier: Verifier, wire: Request) -> str:
    with pytest.raises(Refusal) as caught:
        verifier.verify(wire)
    return caught.value.code


@pytest.mark.oracle
@pytest.mark.parametrize("vector", V3, ids=names(V3))
def test_every_v3_vector_is_accepted(vector: dict[str, Any]) -> None:
    """What the vendor's library signed the V3 way is verified, form body and token included."""
    signed = verifier_of(vector_keys(vector), Clock(VECTOR_TIME)).verify(v3_request(vector))
    assert (signed.action, signed.version, signed.at) == (vector["headers"]["x-acs-action"], "2015-01-01", VECTOR_TIME)


@pytest.mark.oracle
@pytest.mark.parametrize("vector", V1, ids=names(V1))
def test_every_v1_vector_is_accepted(vector: dict[str, Any]) -> None:
    """What the vendor's library signed the V1 way is verified, GET and form body included."""
    signed = verifier_of(vector_keys(vector), Clock(VECTOR_TIME)).verify(v1_request(vector))
    assert (signed.action, signed.at) == (vector["query"]["Action"], VECTOR_TIME)


@pytest.mark.parametrize("vector", V3, ids=names(V3))
def test_any_other_parameter_breaks_v3(vector: dict[str, Any]) -> None:
    """A parameter that was not signed is refused."""
    wire = v3_request(vector)
    more = Request(method=wire.method, headers=wire.headers, query=(*wire.query, ("Extra", "1")), body=wire.body)
    assert refused(verifier_of(vector_keys(vector), Clock(VECTOR_TIME)), more) == "SignatureDoesNotMatch"


def test_a_changed_body_breaks_v3() -> None:
    """The digest in the header is compared with the body that came."""
    wire = v3_request(V3[3])
    other = Request(method=wire.method, headers=wire.headers, query=wire.query, body=b"InstanceId=r-other")
    assert refused(verifier_of(vector_keys(V3[3]), Clock(VECTOR_TIME)), other) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("unsigned", ["host", "x-acs-action", "x-acs-date", "x-acs-content-sha256"])
def test_what_must_be_signed_is_signed(unsigned: str) -> None:
    """A request whose host or any x-acs header is outside the signature is refused, whatever the signature."""
    vector = V3[0]
    listed = ";".join(name for name in vector["signed_headers"].split(";") if name != unsigned)
    authorization = vector["authorization"].replace(vector["signed_headers"], listed)
    wire = v3_request(vector, authorization=authorization)
    verifier = verifier_of(vector_keys(vector), Clock(VECTOR_TIME))
    with pytest.raises(Refusal, match="SignatureDoesNotMatch") as caught:
        verifier.verify(wire)
    assert unsigned in caught.value.message


def test_an_added_x_acs_header_is_refused() -> None:
    """Nobody on the way can add a header that the service would believe."""
    wire = v3_request(V3[0], **{"x-acs-security-token": "smuggled"})
    assert refused(verifier_of(vector_keys(V3[0]), Clock(VECTOR_TIME)), wire) == "SignatureDoesNotMatch"


def test_a_wrong_secret_is_refused_in_both_ways() -> None:
    """Only the holder of the secret can sign; the old way repeats the string to sign after the first colon."""
    keys = Keys(access_key_id=VECTORS["access_key_id"], access_key_secret="other")
    assert refused(verifier_of(keys, Clock(VECTOR_TIME)), v3_request(V3[0])) == "SignatureDoesNotMatch"
    with pytest.raises(Refusal) as caught:
        verifier_of(keys, Clock(VECTOR_TIME)).verify(v1_request(V1[0]))
    assert caught.value.message.split(":", 1)[1] == V1[0]["string_to_sign"]


def test_an_unknown_key_id_is_told_apart() -> None:
    """A key that does not exist is not a wrong signature."""
    keys = Keys(access_key_id="LTAI5tOther", access_key_secret=VECTORS["access_key_secret"])
    assert refused(verifier_of(keys, Clock(VECTOR_TIME)), v3_request(V3[0])) == "InvalidAccessKeyId.NotFound"


def test_a_nonce_serves_once() -> None:
    """The same signed request is refused the second time, the next one is not."""
    clock = Clock()
    verifier = verifier_of(KEYS, clock)
    first = request(old_style("DescribeRegions", {}, at=clock.now))
    verifier.verify(first)
    assert refused(verifier, first) == "SignatureNonceUsed"
    verifier.verify(request(old_style("DescribeRegions", {}, at=clock.now)))


def test_a_forged_request_does_not_use_up_a_nonce() -> None:
    """Only a verified request burns its nonce."""
    clock = Clock()
    verifier = verifier_of(KEYS, clock)
    good = old_style("DescribeRegions", {}, at=clock.now)
    assert refused(verifier, request(good | {"Signature": "forged"})) == "SignatureDoesNotMatch"
    verifier.verify(request(good))


@pytest.mark.parametrize(("skew", "fresh"), [(899.0, True), (-899.0, True), (901.0, False), (-901.0, False)])
def test_a_signature_lives_fifteen_minutes(skew: float, *, fresh: bool) -> None:
    """A clock that is wrong by more than 15 minutes either way is refused."""
    clock = Clock()
    wire = request(old_style("DescribeRegions", {}, at=clock.now))
    clock.now += skew
    verifier = verifier_of(KEYS, clock)
    if fresh:
        assert verifier.verify(wire).action == "DescribeRegions"
    else:
        assert refused(verifier, wire) == "InvalidTimeStamp.Expired"


def test_a_nonce_is_remembered_as_long_as_its_request_is_valid() -> None:
    """A request from a clock that is ahead cannot be replayed when the service's clock has caught up."""
    clock = Clock()
    verifier = verifier_of(KEYS, clock)
    wire = request(old_style("DescribeRegions", {}, at=clock.now + 890))
    verifier.verify(wire)
    clock.now += 1780
    verifier.verify(request(old_style("DescribeRegions", {}, at=clock.now)))  # forgets what is old
    assert refused(verifier, wire) == "SignatureNonceUsed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Timestamp": "2026-03-04 05:06:07"}, "InvalidTimeStamp.Format"),
        ({"SignatureMethod": "HMAC-MD5"}, "InvalidSignatureMethod"),
        ({"SecurityToken": "unasked"}, "InvalidSecurityToken.Malformed"),
        ({"SignatureNonce": ""}, "MissingParameter"),
    ],
)
def test_public_parameters_are_checked(change: dict[str, str], code: str) -> None:
    """Each broken public parameter has a code of its own."""
    clock = Clock()
    assert refused(verifier_of(KEYS, clock), request(old_style("DescribeRegions", change, at=clock.now))) == code


@pytest.mark.parametrize(
    ("token", "code"), [("", "MissingSecurityToken"), ("other", "InvalidSecurityToken.MismatchWithAccessKey")]
)
def test_a_temporary_key_needs_its_token(token: str, code: str) -> None:
    """With a scripted token, no token and another token are both refused."""
    clock = Clock()
    keys = Keys(access_key_id=KEYS.access_key_id, access_key_secret=KEYS.access_key_secret, session_token="right")
    params = {"SecurityToken": token} if token else {}
    assert refused(verifier_of(keys, clock), request(old_style("DescribeRegions", params, at=clock.now))) == code


def test_an_unsigned_request_is_refused() -> None:
    """Without any signature there is no answer; another algorithm is none of ours."""
    verifier = verifier_of(KEYS, Clock())
    assert refused(verifier, request({"Action": "DescribeRegions"})) == "MissingParameter"
    other = Request(method="POST", headers=(("host", "h"), ("authorization", "ACS3-HMAC-SM3 Credential=a")))
    assert refused(verifier, other) == "InvalidSignatureMethod"


def test_nothing_secret_is_in_a_repr() -> None:
    """Neither the secret nor a password shows when a value is printed."""
    wire = request({"NewPassword": "uW8+nsrp"})
    assert "uW8" not in repr(wire)
    assert KEYS.access_key_secret not in repr(KEYS)
