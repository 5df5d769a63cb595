"""The login proof over TLS: who is told a password, and who is not."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest
from login_support import Authority, Recorder, Terminator, logins

from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, LoginResult

RIGHT = Secret("Right_password-1")
OTHER = Secret("Other_password-1")
NOT_VOUCHED = "the server's certificate is not vouched for: "
REFUSED = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that this process trusts."""
    found = Authority(tmp_path)
    os.environ["SSL_CERT_FILE"] = str(found.file)
    return found


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """One that nobody trusts."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    return Authority(folder)


def account(address: str) -> Account:
    return Account(address=address, login="r-1")


def told(*records: list[bytes]) -> bytes:
    return b"".join(b"".join(each) for each in records)


async def test_tls_carries_the_login(authority: Authority) -> None:
    """The same bytes as in plain, inside; none of them outside."""
    server = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with server.listening() as plain:
        front = Terminator(plain, authority.door("127.0.0.1"))
        async with front.listening() as address:
            result = await logins(tls=True).attempt(account(address), RIGHT)
    assert result.answer is Answer.YES
    assert server.connections == [b"*3\r\n$4\r\nAUTH\r\n$3\r\nr-1\r\n$16\r\nRight_password-1\r\n*1\r\n$4\r\nPING\r\n"]
    assert b"AUTH" not in told(front.wire)


@pytest.mark.parametrize("tls", [True, None])
@pytest.mark.parametrize("fault", ["stranger", "other host", "expired"])
async def test_a_server_that_is_not_vouched_for_is_told_nothing(
    authority: Authority, stranger: Authority, fault: str, tls: bool | None
) -> None:
    """Neither in TLS nor, afterwards, in plain; a random password is all that it may see. And it is no "no"."""
    doors = {
        "stranger": stranger.door("127.0.0.1"),
        "other host": authority.door("redis.example"),
        "expired": authority.door("127.0.0.1", days=-1),
    }
    server = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with server.listening() as plain:
        front = Terminator(plain, doors[fault])
        async with front.listening() as address:
            ours = logins(tls=tls)
            for _ in range(3):
                result = await ours.prove(account(address), RIGHT)
                assert result.answer is Answer.CANNOT_TELL
                assert (result.reason or "").startswith(NOT_VOUCHED)
                assert (await ours.control(account(address)) or "").startswith(NOT_VOUCHED)
    assert RIGHT.reveal().encode() not in told(front.wire, front.inside)
    assert told(front.inside) == b""
    assert sum(b"AUTH" in each for each in front.wire) == (1 if tls is None else 0)


async def test_with_tls_nothing_is_said_in_plain() -> None:
    """A server without TLS gets the beginning of a handshake, and no AUTH."""
    server = Recorder(b"-ERR unknown command\r\n", close=True)
    async with server.listening() as address:
        result = await logins(tls=True).prove(account(address), RIGHT)
    assert result == LoginResult(answer=Answer.CANNOT_TELL, reason="no TLS connection could be made")
    assert b"AUTH" not in told(server.connections)


async def test_auto_finds_out_with_a_random_password_and_remembers(authority: Authority) -> None:
    """Plain is tried once, with a password that is nobody's; the real one only ever goes through TLS."""
    server = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with server.listening() as plain:
        front = Terminator(plain, authority.door("127.0.0.1"))
        async with front.listening() as address:
            ours = logins(tls=None)
            assert (await ours.attempt(account(address), RIGHT)).answer is Answer.YES
            assert (await ours.attempt(account(address), OTHER)).answer is Answer.YES
    assert [b"AUTH" in each for each in front.wire] == [True, False, False, False]
    assert RIGHT.reveal().encode() not in told(front.wire)
    assert [RIGHT.reveal().encode() in each for each in front.inside] == [False, False, True, False]


async def test_auto_control_costs_one_wrong_password_where_the_server_is_plain() -> None:
    """What finds out is the control itself: security monitoring sees no more than it must."""
    server = Recorder(REFUSED)
    async with server.listening() as address:
        ours = logins(tls=None)
        assert await ours.control(account(address)) is None
        assert len(server.connections) == 1
        assert (await ours.attempt(account(address), RIGHT)).answer is Answer.NO
    assert [RIGHT.reveal().encode() in each for each in server.connections] == [False, True]


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\x00\x02\x02\x46"])
async def test_auto_that_finds_neither_says_what_plain_said(reply: bytes) -> None:
    """Two random passwords at most, never a real one; the next look finds out anew."""
    server = Recorder(reply, close=True)
    async with server.listening() as address:
        ours = logins(tls=None)
        for _ in range(2):
            result = await ours.prove(account(address), RIGHT)
            assert result.answer is Answer.CANNOT_TELL
            assert result.reason in {"the server closed the connection", "an unexpected answer"}
    assert RIGHT.reveal().encode() not in told(server.connections)
    assert [b"AUTH" in each for each in server.connections] == [True, False, True, False]


async def test_auto_finds_out_anew_when_a_plain_server_hangs_up(authority: Authority) -> None:
    """TLS may be switched on while a campaign runs."""
    server = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with server.listening() as plain:
        front = Terminator(plain, authority.door("127.0.0.1"))
        ours, port = logins(tls=None), 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            writer.write(REFUSED)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as before:
            port = before.sockets[0].getsockname()[1]
            assert await ours.control(account(f"127.0.0.1:{port}")) is None
        async with front.listening(port) as address:
            assert (await ours.attempt(account(address), RIGHT)).answer is Answer.CANNOT_TELL
            assert (await ours.attempt(account(address), OTHER)).answer is Answer.YES
    assert OTHER.reveal().encode() not in told(front.wire)


async def test_a_client_certificate_that_is_asked_for_cannot_be_told(authority: Authority) -> None:
    """We have none: the server hangs up, which is no refusal of the password."""
    context = authority.door("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    server = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with server.listening() as plain:
        front = Terminator(plain, context)
        async with front.listening() as address:
            result = await logins(tls=True).attempt(account(address), RIGHT)
    assert result.answer is Answer.CANNOT_TELL
    assert server.connections in ([], [b""])
