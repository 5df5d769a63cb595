"""One login: one connection, plain or TLS, one AUTH, one PING, and no other byte.

An answer that is neither a clear yes nor a clear no is "cannot tell"; its reason never repeats what the server said,
which may be an echo of what it was sent.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any

from redis.asyncio import Connection
from redis.exceptions import InvalidResponse, RedisError

from batchmod.errors import UsageError
from batchmod.model.secret import Secret

NAMED_SINCE = 6  # engines with users; older ones know one text only, of which the vendor makes login:password
_CLOSED = "the server closed the connection"
# What a server says (lower case, anywhere in its error), and what that means for a login.
_CANNOT_TELL = {
    "connection closed": _CLOSED,
    "max number of clients": "the server has no connection left",
    "noauth": "the server forgot a login that it accepted",
    "authentication required": "the server forgot a login that it accepted",
    "loading": "the server is loading its data",
    "no permissions": "logged in, but may not PING",
    "wrong number of arguments": "the server knows no login by name: engine older than 6.0",
    "without any password": "the server has no password",
    "no password is set": "the server has no password",
    "unknown command": "the server does not know AUTH or PING",
    "protected mode": "the server is in protected mode",
}
_WRONG_PASSWORD = ("invalid username-password pair", "invalid password")  # as redis-py shows it, without its code
_UNEXPECTED = "an unexpected answer"


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


class Heard(Enum):
    """What the other side turned out to be, whatever it said."""

    NOTHING = auto()  # no route, or silence
    BREACH = auto()  # it hung up on the first command, or answered what is no reply: another protocol, perhaps
    REPLY = auto()
    STRANGER = auto()  # it speaks TLS, with a certificate that is not vouched for: it was sent nothing


class Form(Enum):
    """How an engine wants to be told who logs in."""

    NAMED = auto()  # AUTH <login> <password>
    ONE_TEXT = auto()  # AUTH <login>:<password>


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who logs in where."""

    address: str  # host:port
    login: str
    form: Form = Form.NAMED

    def words(self, secret: Secret) -> tuple[str, ...]:
        """What follows AUTH."""
        match self.form:
            case Form.NAMED:
                return self.login, secret.reveal()
            case Form.ONE_TEXT:
                return (f"{self.login}:{secret.reveal()}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResult:
    answer: Answer
    reason: str | None = None  # short, without any secret; None for a yes
    heard: Heard = field(default=Heard.REPLY, compare=False)


def form_of(engine_version: str | None) -> Form:
    """The form of an engine of this version; of an unknown one that of 6.0 and newer. Never both, one after the other."""
    major = (engine_version or "").partition(".")[0]
    return Form.ONE_TEXT if major.isdecimal() and int(major) < NAMED_SINCE else Form.NAMED


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `10.0.0.1:6379` or `[::1]:6379`. UsageError for anything else."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{text}: an IPv6 address stands in brackets: [::1]:6379")
    if not (host and colon and port.isascii() and port.isdigit() and len(port) <= len("65535")):
        raise UsageError(f"{text}: not host:port")
    if not 0 < int(port) < 2**16:
        raise UsageError(f"{text}: there is no port {port}")
    return host, int(port)


async def try_login(
    account: Account,
    secret: Secret,
    *,
    timeout: float,  # noqa: ASYNC109  the promise
    tls: ssl.SSLContext | None = None,
) -> LoginResult:
    """Whether this password logs in, within `timeout` seconds in all. With `tls`, nothing of it is sent to a server
    that the context does not vouch for.
    """
    try:
        host, port = parse_address(account.address)
    except UsageError as error:
        return _cannot_tell(str(error), Heard.NOTHING)
    connection = _Connection(host, port, tls)
    stage = "no route: "
    try:
        async with asyncio.timeout(timeout):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py annotates most of itself
            stage = ""
            return await _converse(connection, account.words(secret))
    except TimeoutError:
        return _cannot_tell(f"{stage}no answer within {timeout:g} s", Heard.NOTHING)
    except RedisError as error:
        return _judge(error, stage)
    except ValueError:  # what redis-py makes of a malformed number or an endless line
        return _cannot_tell(_UNEXPECTED, Heard.BREACH)
    finally:
        await connection.disconnect(nowait=True)


class _Connection(Connection):
    """With no name, password, library or database told to it, the client has nothing to say on its own."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(
            host=host, port=port, protocol=2, driver_info=None, socket_timeout=None, socket_connect_timeout=None
        )

    def _connection_arguments(self) -> Mapping[str, Any]:
        """What the client opens its connection with; its own TLS would make a context for each login."""
        plain = {"host": self.host, "port": self.port}
        return plain if self._tls is None else {**plain, "ssl": self._tls}


async def _converse(connection: Connection, words: tuple[str, ...]) -> LoginResult:
    await connection.send_command("AUTH", *words, check_health=False)
    if await connection.read_response() != b"OK":
        return _cannot_tell(_UNEXPECTED)
    await connection.send_command("PING", check_health=False)
    if await connection.read_response() != b"PONG":
        return _cannot_tell(_UNEXPECTED)
    return LoginResult(answer=Answer.YES)


def _cannot_tell(reason: str, heard: Heard = Heard.REPLY) -> LoginResult:
    return LoginResult(answer=Answer.CANNOT_TELL, reason=reason, heard=heard)


def _judge(error: RedisError, stage: str) -> LoginResult:
    cause = error.__context__
    if isinstance(cause, ssl.SSLError):
        return _not_secure(cause)
    if stage or isinstance(cause, OSError):
        return _cannot_tell(stage + _why(cause), Heard.NOTHING if stage else Heard.BREACH)
    text = str(error)
    # Matched from its beginning: further on it may repeat the password, which may be made of any words.
    if error.status_code == "WRONGPASS" or text.startswith(_WRONG_PASSWORD):
        return LoginResult(answer=Answer.NO, reason="wrong password")
    said = f"{error.status_code or ''} {text}".lower()
    reason = next((reason for words, reason in _CANNOT_TELL.items() if words in said), _UNEXPECTED)
    breach = reason is _CLOSED or isinstance(error, InvalidResponse)
    return _cannot_tell(reason, Heard.BREACH if breach else Heard.REPLY)


def _not_secure(error: ssl.SSLError) -> LoginResult:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"the server's certificate is not vouched for: {error.verify_message}"
        return _cannot_tell(reason, Heard.STRANGER)
    return _cannot_tell("no TLS connection could be made", Heard.NOTHING)


def _why(cause: BaseException | None) -> str:
    """The system's words. asyncio replaces them where there is a number; a name that is not found has a negative one."""
    match cause:
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case OSError(strerror=str(words)):
            return words
        case _:
            return "the connection was lost"
