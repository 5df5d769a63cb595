import errno
import inspect
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from batchmod.cloud.codes import OWN
from batchmod.cloud.faults import FOREIGN, translated
from batchmod.errors import Verdict

CANARY = "hunter2"
URL_ = URL(f"https://me:{CANARY}@h/")
PLACE = ConnectionKey("h", 443, True, True, URL_, None, None)
INFO = aiohttp.RequestInfo(URL_, "POST", CIMultiDictProxy(CIMultiDict({"x-acs-security-token": CANARY})), URL_)
# What the connector raises, before anything is sent, and what a URL is refused for before that.
BEFORE = {
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ClientSSLError",
    "ClientProxyConnectionError",
    "UnixClientConnectorError",
    "ClientHttpProxyError",
    "ConnectionTimeoutError",
    "InvalidURL",
    "InvalidUrlClientError",
    "NonHttpUrlClientError",
}


def library() -> Iterator[Exception]:
    """One of each exception class that aiohttp's client can raise."""
    foreign = {client_exceptions.WSMessageTypeError}  # a TypeError of those who use WebSockets
    for module in (client_exceptions, http_exceptions):
        own = (thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__)
        kinds = (thing for thing in own if inspect.isclass(thing) and issubclass(thing, Exception))
        yield from (made(kind) for kind in kinds if kind not in foreign)


def made(kind: type[Exception]) -> Exception:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    if issubclass(kind, client_exceptions.UnixClientConnectorError):
        return kind("/path", PLACE, refused)
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(PLACE, refused)
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(INFO, (), status=407, message=CANARY)
    if issubclass(kind, aiohttp.ServerFingerprintMismatch):
        return kind(b"a", b"b", "h", 443)
    if issubclass(kind, http_exceptions.LineTooLong):
        return http_exceptions.LineTooLong(CANARY.encode(), 10)
    if kind is http_exceptions.HttpProcessingError:
        return http_exceptions.HttpProcessingError(message=CANARY)
    return kind(CANARY)


LIBRARY = list(library())
SYSTEM = [
    TimeoutError(),
    TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    ConnectionAbortedError(),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ssl.SSLError(1, "handshake failure"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    ssl.SSLZeroReturnError(),
]


@pytest.mark.parametrize("error", LIBRARY, ids=lambda error: type(error).__name__)
def test_every_exception_of_the_library_is_translated(error: Exception) -> None:
    """Each is caught by the seam, and only those from before sending say "not sent"."""
    assert isinstance(error, FOREIGN)
    found = translated(error)
    assert found.verdict is (Verdict.NOT_SENT if type(error).__name__ in BEFORE else Verdict.LOST)
    assert found.code in OWN
    assert found.message


def test_the_walk_meets_the_whole_library() -> None:
    """The list of those from before sending names classes that there are; a new release's others are lost."""
    assert {type(error).__name__ for error in LIBRARY} >= BEFORE
    assert len(LIBRARY) > 30


@pytest.mark.parametrize("error", SYSTEM, ids=repr)
def test_an_error_of_the_system_is_lost(error: Exception) -> None:
    """What comes bare, and not from the connector, may have come after sending."""
    assert isinstance(error, FOREIGN)
    found = translated(error)
    assert found.verdict is Verdict.LOST
    assert found.code == ("ReadTimeout" if isinstance(error, TimeoutError) else "ConnectionLost")


@pytest.mark.parametrize("error", LIBRARY, ids=lambda error: type(error).__name__)
def test_no_url_header_or_proxy_password_is_passed_on(error: Exception) -> None:
    """The library's own texts, which may name all three, stay behind."""
    found = translated(error)
    assert CANARY not in repr(found) + str(found) + found.code + found.message
    assert found.__cause__ is None
    assert found.__context__ is None


def test_the_reason_of_the_system_is_shown() -> None:
    """A person reads why there was no connection."""
    assert str(translated(made(aiohttp.ClientConnectorError))) == "ConnectFailed: Connection refused"
    assert str(translated(made(aiohttp.ClientHttpProxyError))) == "ProxyRefused: the proxy answered 407"
