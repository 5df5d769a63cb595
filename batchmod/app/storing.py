"""`--store`: a PostgreSQL in the place of the state directory. Its driver is loaded once one is named, and only then."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import batchmod
from batchmod.app.options import Options
from batchmod.app.session import Session, needed_store, state_of
from batchmod.errors import UsageError
from batchmod.journal.sqlite import SqliteJournal
from batchmod.journal.store import Journal
from batchmod.model.manifest import Manifest
from batchmod.model.stores import EmbeddedSettings
from batchmod.pg.driver import load
from batchmod.pg.place import Place, check_environ, place_of

if TYPE_CHECKING:
    from batchmod.journal.postgres import PostgresJournal

EXTRA: Final = ("psycopg", "procrastinate")


def shared_place(options: Options) -> Place:
    """The database that `--store` names. Raises UsageError when none is named, or it cannot be meant so."""
    if options.store is None:
        raise UsageError("--store is needed: the PostgreSQL of the workers, such as postgresql://user@host/database")
    if options.state is not None:
        raise UsageError("--state and --store: state is kept in one of them")
    place_of(options.store)  # which may hold a password, whatever else is missing
    if any(find_spec(name) is None for name in EXTRA):
        raise UsageError(f"--store needs an extra: {batchmod.install('cluster')}")
    load()
    from batchmod.pg.conninfo import named_place  # noqa: PLC0415  an extra, and it costs every start

    check_environ(options.environ)
    return named_place(options.store)


def kept_in(options: Options, manifest: Path | None = None) -> Place | Path:
    """The database or the state directory, to be named."""
    return state_of(options, manifest) if options.store is None else shared_place(options)


@contextmanager
def reading(options: Options, manifest: Path | None = None) -> Iterator[Journal]:
    """The journal of the database or of the state directory, only to be read; nothing is made."""
    if options.store is None:
        journal: Journal = SqliteJournal.read(state_of(options, manifest))
    else:
        journal = shared_journal(shared_place(options))
    with closing(journal):
        yield journal


def shared_journal(place: Place) -> "PostgresJournal":
    """Of the database, only to be read."""
    from batchmod.journal.postgres import PostgresJournal  # noqa: PLC0415  an extra, and it costs every start

    return PostgresJournal.read(place)


async def seal(options: Options, manifest: Manifest) -> None:
    """The database's own secret store, if the manifest's passwords go there, is sealed with our age key, made when it was
    missing: whoever works on it later makes none. Raises UsageError when it cannot be used.
    """
    if isinstance(manifest.secrets, EmbeddedSettings):
        async with needed_store(manifest, state=Path(), directory=Path(), options=options):
            pass


@asynccontextmanager
async def shared_session(options: Options, manifest: Manifest, *, directory: Path) -> AsyncIterator[Session]:
    """The journal and the store of the database are open to be written, made when they were missing. `directory`: where
    the manifest's paths start.
    """
    from batchmod.journal.postgres import PostgresJournal  # noqa: PLC0415
    from batchmod.pg.migrating import prepare  # noqa: PLC0415

    place = shared_place(options)
    prepare(place)
    with closing(PostgresJournal.open(place)) as journal:
        async with needed_store(manifest, state=Path(), directory=directory, options=options) as store:
            yield Session(state=Path(), journal=journal, store=store)
