"""What everybody who connects is told, and what a user said of it, which stands."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from postgres import Database

from batchmod.cluster import jobs
from batchmod.pg.conninfo import terms
from batchmod.pg.link import Row, connect, connect_async
from batchmod.pg.place import Place

SETTINGS = """
SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout'),
  (SELECT count(*) FROM regexp_matches(current_setting('search_path'), 'batchmod'))
"""
TOLD = ("5s", "1min", 1)


async def test_who_stands_still_in_a_transaction_is_cut_off(database: Database) -> None:
    """Whatever it locked: on every connection, also those that jobs share. Who only reads may say otherwise."""
    with connect(database.place) as connection:
        assert connection.execute(SETTINGS).fetchone() == TOLD
    async with await connect_async(database.place) as other:
        assert await (await other.execute(SETTINGS)).fetchone() == TOLD
    async with jobs.connected(database.place) as connections, connections.connection() as shared:
        assert await (await shared.execute(SETTINGS.encode())).fetchone() == TOLD
    with connect(database.place, idle=0) as reader:
        assert reader.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)


def test_the_server_looks_whether_we_are_alive() -> None:
    """What it is told of TCP, as PostgreSQL reads it; over a socket it has no meaning."""
    told = terms(Place(url="postgresql://db.example.com/x")).conninfo
    for setting in (
        "tcp_keepalives_idle=5",
        "tcp_keepalives_interval=2",
        "tcp_keepalives_count=3",
        "tcp_user_timeout=10000",
    ):
        assert f"-c {setting} " in told


def served(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """By a service file with options of its own."""
    host = Path(database.server.get_postmaster_info().socket_dir or "")
    lines = [f"host={host}", f"dbname={database.name}", "user=postgres", "application_name=mine", "connect_timeout=7"]
    (tmp_path / "services").write_text("\n".join(["[ours]", *lines, "options=-c work_mem=5MB -c statement_timeout=7"]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    return Place(url="postgresql://?service=ours")


def asked(place: Place, *settings: str) -> Row:
    with connect(place) as connection:
        found = connection.execute(f"SELECT {', '.join(f'current_setting({each!r})' for each in settings)}".encode())
        return found.fetchone() or ()


def test_options_of_the_service_file_stand(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that the work goes by."""
    place = served(database, tmp_path, monkeypatch)
    assert asked(place, "application_name", "work_mem", "statement_timeout") == ("mine", "5MB", "1min")
    assert terms(place).patience == 14
    assert "connect_timeout" not in terms(place).conninfo


def test_options_of_the_environment_and_the_url_stand(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=6MB")
    monkeypatch.setenv("PGAPPNAME", "theirs")
    assert asked(database.place, "application_name", "work_mem", "search_path") == (
        "theirs",
        "6MB",
        "batchmod,pg_catalog",
    )
    of_url = Place(url=f"{database.url}&options={quote('-c work_mem=7MB')}&application_name=mine")
    assert asked(of_url, "application_name", "work_mem") == ("mine", "7MB")


@pytest.fixture
def silent() -> Iterator[list[int]]:
    """Ports where nobody answers who connects: the queue of each is full."""
    with ExitStack() as stack:
        ports = []
        for _ in range(2):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
            ports.append(int(server.getsockname()[1]))
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(server.getsockname())
        yield ports


async def test_the_third_host_is_reached(database: Database, silent: list[int]) -> None:
    """Each that does not answer has its own time."""
    socket_dir = quote(str(database.server.get_postmaster_info().socket_dir), safe="")
    hosts, ports = f"127.0.0.1,127.0.0.1,{socket_dir}", f"{silent[0]},{silent[1]},5432"
    place = Place(url=f"postgresql:///{database.name}?user=postgres&host={hosts}&port={ports}&connect_timeout=2")
    async with await connect_async(place) as connection:
        assert connection.pgconn.host.startswith(b"/")
    assert terms(place).patience == 12


@pytest.mark.parametrize("timeout", ["0", "-1"])
def test_who_wants_to_wait_for_ever_may(timeout: str) -> None:
    assert terms(Place(url=f"postgresql:///x?connect_timeout={timeout}")).patience is None


def test_a_timeout_that_is_none_is_for_libpq_to_refuse(database: Database) -> None:
    with pytest.raises(psycopg.Error, match="connect_timeout"):
        asyncio.run(connect_async(Place(url=f"{database.url}&connect_timeout=soon")))
