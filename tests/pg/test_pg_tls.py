"""Over a network the connection is encrypted, and verified as the URL says, or nothing is done over it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from login_support import Authority
from pg_front import ANYWHERE, front
from postgres import Database

from batchmod.cluster import jobs
from batchmod.errors import UsageError
from batchmod.pg.link import connect, connect_async
from batchmod.pg.migrating import check
from batchmod.pg.place import Place

NOT_ENCRYPTED = "not encrypted: add"


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
async def test_a_plain_connection_over_a_network_is_refused(database: Database, plain: int, mode: str) -> None:
    """Also when the server only says that it knows no TLS; `prefer` is what holds without a word."""
    place = over_network(database, plain, sslmode=mode)
    with pytest.raises(UsageError, match=NOT_ENCRYPTED):
        check(place)
    with pytest.raises(UsageError, match=NOT_ENCRYPTED):
        await connect_async(place)


async def test_jobs_have_no_plain_connection_either(
    database: Database, plain: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the server knew TLS a moment ago."""
    opening = asyncio.ensure_future(jobs.connected(over_network(database, plain)).__aenter__())
    async with asyncio.timeout(30):
        while NOT_ENCRYPTED not in caplog.text:  # the pool has no event for it
            assert not opening.done()
            await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.wait({opening})


def test_a_host_that_looks_like_a_socket_does_not_make_it_one(database: Database, plain: int) -> None:
    """libpq goes to the address."""
    place = Place(url=f"postgresql:///{database.name}?user=postgres&host=/tmp&hostaddr={ANYWHERE}&port={plain}")
    with pytest.raises(UsageError, match=NOT_ENCRYPTED):
        check(place)


def test_on_this_machine_a_plain_one_will_do(database: Database, plain: int) -> None:
    assert check(Place(url=f"postgresql://postgres@127.0.0.1:{plain}/{database.name}"))
    assert check(database.place)
