"""The secret store that a manifest names, open for as long as it is needed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import batchmod
from batchmod.app.options import Options
from batchmod.app.speech import insist
from batchmod.errors import UsageError
from batchmod.model.manifest import Manifest
from batchmod.model.secret import Secret
from batchmod.model.stores import EmbeddedSettings, KmsSettings, OpenBaoSettings
from batchmod.pg.driver import load
from batchmod.pg.place import check_environ, place_of
from batchmod.secrets.agekey import BACK, COPY, AgeKey, fingerprint_words, key_path, load_or_make
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.store import SecretStore


@asynccontextmanager
async def opened_store(
    manifest: Manifest,
    *,
    state: Path,
    directory: Path,
    options: Options,
    create: bool = True,
) -> AsyncIterator[SecretStore]:
    """The store, closed after the block. `state`: the state directory; `directory`: where the manifest's paths start.

    With --store, what is called embedded is in that database. Without `create` nothing is made or written. Raises
    UsageError when it cannot be used as it is.
    """
    match manifest.secrets:
        case EmbeddedSettings(recipients=recipients):
            store = await opened_embedded(options, state, recipients=recipients, create=create)
        case OpenBaoSettings() as settings:
            store = await _openbao(settings, directory, options, create=create)
        case KmsSettings() as settings:
            from batchmod.app.kmsstore import opened_kms  # noqa: PLC0415  the network, for the runs that need it

            async with opened_kms(settings, manifest, options=options, create=create) as kms:
                yield kms
            return
    try:
        yield store
    finally:
        await store.close()


async def opened_embedded(
    options: Options, state: Path, *, recipients: Sequence[str] = (), create: bool
) -> SecretStore:
    """The embedded store, in the state directory or with --store in that database. Raises UsageError when it cannot be used."""
    if options.store is not None:
        return await _postgres(options.store, options, recipients=recipients, create=create)
    return EmbeddedStore.open(state, environ=options.environ, say=insist, recipients=recipients, create=create)


async def _postgres(url: str, options: Options, *, recipients: Sequence[str], create: bool) -> SecretStore:
    check_environ(options.environ)
    place_of(url)
    try:
        load()
        from batchmod.pg.conninfo import named_place  # noqa: PLC0415  an extra, and it costs every start
        from batchmod.pg.migrating import prepare  # noqa: PLC0415  the same
        from batchmod.secrets.postgres import PostgresStore  # noqa: PLC0415  the same
    except ImportError as error:
        raise UsageError(f"--store needs an extra: {batchmod.install('cluster')}") from error
    place = named_place(url)

    def opened() -> SecretStore:
        if create:
            prepare(place)
        return PostgresStore.open(
            place,
            environ=options.environ,
            say=insist,
            recipients=recipients,
            create=create,
            may_make_key=options.may_make_key,
        )

    return await asyncio.to_thread(opened)  # a worker's other chunks go on while the database is slow to answer


async def _openbao(settings: OpenBaoSettings, directory: Path, options: Options, *, create: bool) -> SecretStore:
    try:
        from batchmod.secrets.openbao import OpenBaoStore  # noqa: PLC0415  an extra, and it costs every start
    except ImportError as error:
        raise UsageError(f"secrets.store: openbao needs an extra: {batchmod.install('openbao')}") from error
    fingerprint = fingerprints(options, create=create)
    return await OpenBaoStore.open(
        settings, directory=directory, environ=options.environ, fingerprint=fingerprint, create=create
    )


def fingerprints(options: Options, *, create: bool) -> Callable[[Secret], str]:
    """Fingerprints under the age key, for a store that has no key; with `create` it is made when the first one is asked for, if it
    may be.

    They raise UsageError when the key is not usable.
    """

    @cache
    def key() -> AgeKey:
        path = key_path(options.environ)
        found, made = load_or_make(
            path, may_make=create and options.may_make_key, instead=BACK if options.store is None else COPY
        )
        if made:
            insist(fingerprint_words(path))
        return found

    return lambda secret: key().fingerprint(secret)
