"""Over a network the connection is encrypted, and verified as the URL says, or nothing is done over it."""

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from login_support import Authority
from pg_front import ANYWHERE, front
from postgres import Database

from batchmod.cluster import jobs
from batchmod.errors import UsageError
from batchmod.pg.link import connect, connect_async, require_private
from batchmod.pg.migrating import check
from batchmod.pg.place import Place

NO_TLS = "server does not support SSL, but SSL was required"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def encrypted(database: Database, authority: Authority) -> Iterator[int]:
    """The port of a server `localhost` with a certificate of the authority's."""
    with front(socket_of(database), authority.door("localhost")) as port:
        yield port


@pytest.fixture
def plain(database: Database) -> Iterator[int]:
    with front(socket_of(database), None) as port:
        yield port


def socket_of(database: Database) -> Path:
    return Path(database.server.get_postmaster_info().socket_dir or "") / ".s.PGSQL.5432"


def over_network(database: Database, port: int, *, host: str = "localhost", **more: object) -> Place:
    """By an address that is no loopback address."""
    query = "&".join(f"{name}={value}" for name, value in more.items())
    return Place(url=f"postgresql://postgres@{host}:{port}/{database.name}?hostaddr={ANYWHERE}&{query}")


async def test_verified_it_is_used(database: Database, encrypted: int, authority: Authority) -> None:
    """By everything that connects: single connections of either kind, and those that jobs share."""
    place = over_network(database, encrypted, sslmode="verify-full", sslrootcert=authority.file)
    assert check(place)
    with connect(place) as connection:
        assert connection.pgconn.ssl_in_use
    async with await connect_async(place) as other:
        assert other.pgconn.ssl_in_use
    async with jobs.connected(place) as connections, connections.connection() as shared:
        assert shared.pgconn.ssl_in_use


def test_a_server_that_nobody_vouches_for_is_refused(database: Database, encrypted: int, tmp_path: Path) -> None:
    """By another authority, or under another name."""
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    with pytest.raises(UsageError, match="SSL error"):
        check(over_network(database, encrypted, sslmode="verify-full", sslrootcert=stranger.file))
    other_name = over_network(
        database, encrypted, host="db.example.com", sslmode="verify-full", sslrootcert=tmp_path / "authority.pem"
    )
    with pytest.raises(UsageError, match="does not match host name"):
        check(other_name)


@pytest.mark.parametrize("mode", ["prefer", "allow", "disable"])
@pytest.mark.parametrize("where", ["url", "environment"])
async def test_a_mode_that_would_do_without_is_refused(
    database: Database, encrypted: int, mode: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody is asked, though this server would encrypt."""
    if where == "environment":
        monkeypatch.setenv("PGSSLMODE", mode)
    place = over_network(database, encrypted, **({"sslmode": mode} if where == "url" else {}))
    with pytest.raises(UsageError, match=f"sslmode={mode} .* in the clear"):
        check(place)
    with pytest.raises(UsageError, match=f"sslmode={mode} .* in the clear"):
        await connect_async(place)


@pytest.mark.parametrize("mode", ["", "prefer", "disable"])
def test_so_it_is_with_a_service_file(plain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Which libpq alone reads; that it says `prefer` is as if it said nothing."""
    lines = [
        "[ours]",
        "host=localhost",
        f"hostaddr={ANYWHERE}",
        f"port={plain}",
        *([f"sslmode={mode}"] if mode else []),
    ]
    (tmp_path / "services").write_text("\n".join(lines))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with pytest.raises(UsageError, match="in the clear" if mode == "disable" else NO_TLS):
        check(Place(url="postgresql://?service=ours"))


async def test_a_server_without_tls_gets_no_password(tmp_path: Path) -> None:
    """Whoever answers that there is none, and asks for it as it is, hears nothing more."""
    (tmp_path / "pgpass").write_text("*:*:*:*:Secret-0ne")
    (tmp_path / "pgpass").chmod(0o600)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"N")
        heard.append(await reader.read(1000))
        writer.write(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
        heard.append(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(serve, ANYWHERE, 0) as server:
        port = server.sockets[0].getsockname()[1]
        place = Place(
            url=f"postgresql://me@localhost:{port}/x?hostaddr={ANYWHERE}&gssencmode=disable&passfile={tmp_path}/pgpass"
        )
        with pytest.raises(psycopg.OperationalError, match=NO_TLS):
            await connect_async(place)
        with pytest.raises(psycopg.OperationalError, match=NO_TLS):
            await asyncio.to_thread(connect, place)
    assert heard
    assert b"Secret-0ne" not in b"".join(heard)


async def test_jobs_have_no_plain_connection_either(
    database: Database, plain: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the server knew TLS a moment ago."""
    opening = asyncio.ensure_future(jobs.connected(over_network(database, plain)).__aenter__())
    async with asyncio.timeout(30):
        while NO_TLS not in caplog.text:  # the pool has no event for it
            assert not opening.done()
            await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.wait({opening})


@pytest.mark.parametrize("host", ["/tmp", "@batchmod", "127.0.0.1"])
def test_a_host_that_looks_like_this_machine_does_not_make_it_one(database: Database, plain: int, host: str) -> None:
    """libpq goes to the address."""
    place = Place(url=f"postgresql:///{database.name}?user=postgres&host={host}&hostaddr={ANYWHERE}&port={plain}")
    with pytest.raises(UsageError, match=NO_TLS):
        check(place)


def test_what_came_of_it_is_looked_at_again(database: Database, plain: int) -> None:
    """A name of this machine may lead to another; what is sent there is nothing but the login."""
    raw = psycopg.connect(f"postgresql://postgres@{ANYWHERE}:{plain}/{database.name}?sslmode=disable")
    with raw, pytest.raises(UsageError, match="not encrypted: add"):
        asyncio.run(require_private(cast("psycopg.AsyncConnection[Any]", raw)))


def test_on_this_machine_a_plain_one_will_do(database: Database, plain: int) -> None:
    assert check(Place(url=f"postgresql://postgres@127.0.0.1:{plain}/{database.name}"))
    assert check(database.place)
