"""The login proof: does a password log in, and is a wrong one refused? Plain TCP, the ACL form of engine 6.0 and newer.

A login is one connection, one AUTH, one PING, and no other byte. An answer that is neither a clear yes nor a clear no is
"cannot tell"; its reason never repeats what the server said, which may be an echo of what it was sent.
"""

import asyncio
import os
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from redis.asyncio import Connection
from redis.exceptions import RedisError

from batchmod.errors import UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.generate import LONGEST, SYSTEM_RNG, generate

# What a server says (lower case, anywhere in its error), and what that means for a login.
_CANNOT_TELL = {
    "connection closed": "the server closed the connection",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResult:
    answer: Answer
    reason: str | None = None  # short, without any secret; None for a yes


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


async def try_login(address: str, login: str, secret: Secret, *, timeout: float) -> LoginResult:  # noqa: ASYNC109  the promise
    """Whether this password logs in, within `timeout` seconds in all."""
    try:
        host, port = parse_address(address)
    except UsageError as error:
        return _cannot_tell(str(error))
    # With no name, password, library or database told to it, the client has nothing to say on its own.
    connection = Connection(
        host=host, port=port, protocol=2, driver_info=None, socket_timeout=None, socket_connect_timeout=None
    )
    stage = "no route: "
    try:
        async with asyncio.timeout(timeout):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py annotates most of itself
            stage = ""
            return await _converse(connection, login, secret)
    except TimeoutError:
        return _cannot_tell(f"{stage}no answer within {timeout:g} s")
    except RedisError as error:
        return _judge(error, stage)
    except ValueError:  # what redis-py makes of a malformed number or an endless line
        return _cannot_tell(_UNEXPECTED)
    finally:
        await connection.disconnect(nowait=True)


async def control(address: str, login: str, *, timeout: float, rng: Random = SYSTEM_RNG) -> str | None:  # noqa: ASYNC109
    """None when a random wrong password is refused, so that a login means something; else why it does not."""
    result = await try_login(address, login, generate(LONGEST, rng), timeout=timeout)
    match result.answer:
        case Answer.NO:
            return None
        case Answer.YES:
            return "password-free access: a wrong password is accepted"
        case Answer.CANNOT_TELL:
            return result.reason


async def prove(address: str, login: str, secret: Secret, *, timeout: float, rng: Random = SYSTEM_RNG) -> LoginResult:  # noqa: ASYNC109
    """Yes only when the password logs in and a random wrong one is refused right after it; `timeout` is for each."""
    result = await try_login(address, login, secret, timeout=timeout)
    if result.answer is Answer.YES and (reason := await control(address, login, timeout=timeout, rng=rng)):
        return _cannot_tell(reason)
    return result


async def _converse(connection: Connection, login: str, secret: Secret) -> LoginResult:
    await connection.send_command("AUTH", login, secret.reveal(), check_health=False)
    if await connection.read_response() != b"OK":
        return _cannot_tell(_UNEXPECTED)
    await connection.send_command("PING", check_health=False)
    if await connection.read_response() != b"PONG":
        return _cannot_tell(_UNEXPECTED)
    return LoginResult(answer=Answer.YES)


def _cannot_tell(reason: str) -> LoginResult:
    return LoginResult(answer=Answer.CANNOT_TELL, reason=reason)


def _judge(error: RedisError, stage: str) -> LoginResult:
    if stage or isinstance(error.__context__, OSError):
        return _cannot_tell(stage + _why(error.__context__))
    text = str(error)
    # Matched from its beginning: further on it may repeat the password, which may be made of any words.
    if error.status_code == "WRONGPASS" or text.startswith(_WRONG_PASSWORD):
        return LoginResult(answer=Answer.NO, reason="wrong password")
    said = f"{error.status_code or ''} {text}".lower()
    return _cannot_tell(next((reason for words, reason in _CANNOT_TELL.items() if words in said), _UNEXPECTED))


def _why(cause: BaseException | None) -> str:
    """The system's words. asyncio replaces them where there is a number; a name that is not found has a negative one."""
    match cause:
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case OSError(strerror=str(words)):
            return words
        case _:
            return "the connection was lost"
