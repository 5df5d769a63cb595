"""A request is from the holder of the key, fresh, and not a copy: signature V3 (ACS3-HMAC-SHA256) and V1 (HMAC-SHA1).

No HTTP library; the clock is a parameter. A wrong request raises a Refusal with the vendor's code.
"""

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from urllib.parse import quote

from batchmod.sim.codes import CODES
from batchmod.sim.errors import Refusal, missing, refused
from batchmod.sim.keyring import Credential, Keyring
from batchmod.sim.wire import Request

MAX_SKEW = 15 * 60.0  # seconds that a signed request stays valid, either way


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a request says about itself, believed only after `Verifier.verify`."""

    action: str
    version: str
    key_id: str
    token: str = field(repr=False)
    nonce: str
    timestamp: str
    signature: str
    expected: Callable[[str], str] = field(repr=False)  # secret -> signature
    mismatch: str = field(repr=False)  # the refusal's message


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A verified request: which operation, with whose key, and when it was signed (seconds since the epoch)."""

    action: str
    version: str
    credential: Credential
    at: float


def encode(text: str) -> str:
    """Percent-encoded as RFC 3986 has it: only letters, digits and -_.~ stay."""
    return quote(text, safe="-_.~")


def canonical(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join([f"{encode(key)}={encode(value)}" for key, value in sorted(pairs)])


def v3_signature(request: Request, names: str, secret: str) -> str:
    """Hex HMAC-SHA256 over exactly the headers that `names` lists (a;b;c)."""
    headers = "".join([f"{name}:{request.header(name)}\n" for name in names.split(";")])
    content = request.header("x-acs-content-sha256")
    text = "\n".join((request.method, "/", canonical(request.query), headers, names, content))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return hmac.digest(secret.encode(), f"ACS3-HMAC-SHA256\n{digest}".encode(), "sha256").hex()


def v1_string(request: Request) -> str:
    signed = ((key, value) for key, value in request.params.items() if key != "Signature")
    return f"{request.method}&%2F&{encode(canonical(signed))}"


def v1_signature(text: str, secret: str) -> str:
    return base64.b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), "sha1")).decode()


def v3_claim(request: Request) -> Claim:
    algorithm, _, rest = request.header("authorization").partition(" ")
    if algorithm != "ACS3-HMAC-SHA256":
        raise refused("InvalidSignatureMethod")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    names = parts.get("SignedHeaders", "")
    present = {name for name, _ in request.headers if name.startswith("x-acs-")} | {"host", "x-acs-content-sha256"}
    unsigned = present.difference(names.split(";"))
    if unsigned:
        raise _mismatch(f"Not among the signed headers: {', '.join(sorted(unsigned))}.")
    if hashlib.sha256(request.body).hexdigest() != request.header("x-acs-content-sha256"):
        raise _mismatch("The header x-acs-content-sha256 is not the digest of the body.")
    return Claim(
        action=request.header("x-acs-action"),
        version=request.header("x-acs-version"),
        key_id=parts.get("Credential", ""),
        token=request.header("x-acs-security-token"),
        nonce=request.header("x-acs-signature-nonce"),
        timestamp=request.header("x-acs-date"),
        signature=parts.get("Signature", ""),
        expected=partial(v3_signature, request, names),
        mismatch=CODES["SignatureDoesNotMatch"][1],
    )


def v1_claim(request: Request) -> Claim:
    params = request.params
    if "Signature" not in params:
        raise missing("Signature")
    if (params.get("SignatureMethod"), params.get("SignatureVersion")) != ("HMAC-SHA1", "1.0"):
        raise refused("InvalidSignatureMethod")
    text = v1_string(request)
    return Claim(
        action=params.get("Action", ""),
        version=params.get("Version", ""),
        key_id=params.get("AccessKeyId", ""),
        token=params.get("SecurityToken", ""),
        nonce=params.get("SignatureNonce", ""),
        timestamp=params.get("Timestamp", ""),
        signature=params["Signature"],
        expected=partial(v1_signature, text),
        # As the service does: clients compare this text with their own. It repeats what the caller sent.
        mismatch=f"{CODES['SignatureDoesNotMatch'][1]} server string to sign is:{text}",
    )


@lru_cache(maxsize=128)  # all requests of a second say the same
def signed_at(timestamp: str) -> float:
    """Seconds since the epoch; raises InvalidTimeStamp.Format."""
    try:
        return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise refused("InvalidTimeStamp.Format") from error


def _mismatch(message: str) -> Refusal:
    return refused("SignatureDoesNotMatch", message)


class Verifier:
    """Remembers the nonces of the last half hour; longer no request is valid, whichever way its clock is wrong."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock
        self._nonces: OrderedDict[str, float] = OrderedDict()

    def verify(self, request: Request) -> Signed:
        """The operation asked for; raises a Refusal unless key, token, signature, time and nonce are all right."""
        claim = v3_claim(request) if request.header("authorization") else v1_claim(request)
        at = signed_at(claim.timestamp)
        self.check_age(at)
        credential = self._keyring.find(claim.key_id)
        if credential is None:
            raise refused("InvalidAccessKeyId.NotFound")
        expected = claim.expected(credential.keys.access_key_secret)
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise _mismatch(claim.mismatch)
        self._keyring.check_token(credential, claim.token)
        self._use_nonce(claim.nonce)
        return Signed(action=claim.action, version=claim.version, credential=credential, at=at)

    def check_age(self, signed_at: float) -> None:
        """Raises unless a request signed then is still valid now."""
        if abs(self._clock() - signed_at) > MAX_SKEW:
            raise refused("InvalidTimeStamp.Expired")

    def _use_nonce(self, nonce: str) -> None:
        if not nonce:
            raise missing("SignatureNonce")
        now = self._clock()
        while self._nonces and next(iter(self._nonces.values())) < now - 2 * MAX_SKEW:
            self._nonces.popitem(last=False)
        if nonce in self._nonces:
            raise refused("SignatureNonceUsed")
        self._nonces[nonce] = now
