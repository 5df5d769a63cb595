"""Where aiohttp's exceptions end: each becomes a CallError that says whether the request can have left this machine."""

from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from batchmod.cloud.answers import own_error
from batchmod.errors import CallError

FOREIGN: Final = (aiohttp.ClientError, HttpProcessingError, OSError)  # TimeoutError and ssl's are OSErrors


def translated(error: Exception) -> CallError:
    """The CallError for one of FOREIGN: NOT_SENT where it is raised before anything is sent, else LOST.

    The order is the meaning: what is not known to come before sending is lost. Plain http is spoken to loopback alone
    and without a proxy, so a proxy's refusal is always one of the tunnel, before the request. Nothing of the
    exception's own text is passed on but the operating system's: it may name URLs and headers.
    """
    code, reason = "ConnectionLost", type(error).__name__
    match error:
        case aiohttp.ClientHttpProxyError():
            code, reason = "ProxyRefused", f"the proxy answered {error.status}"
        case aiohttp.ClientConnectorDNSError():
            code, reason = "NameNotResolved", _reason(error.os_error)
        case aiohttp.ClientSSLError():
            code, reason = "TlsFailed", _reason(error.os_error)
        case aiohttp.ClientConnectorError():
            code, reason = "ConnectFailed", _reason(error.os_error)
        case aiohttp.ConnectionTimeoutError():
            code, reason = "ConnectTimeout", "no connection in time"
        case aiohttp.RedirectClientError():
            pass  # a reply was there: the request was sent, though its kin below were not
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            code, reason = "InvalidUrl", "not a URL that can be called"
        case TimeoutError():
            code, reason = "ReadTimeout", "no answer in time"
        case OSError():
            reason = _reason(error)
    return own_error(code, reason)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
