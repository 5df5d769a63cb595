"""The secret store that a manifest names, open for as long as it is needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batchmod.app.options import Options
from batchmod.app.speech import insist
from batchmod.model.manifest import Manifest
from batchmod.model.stores import EmbeddedSettings, KmsSettings
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.store import SecretStore


@asynccontextmanager
async def opened_store(
    manifest: Manifest,
    *,
    state: Path,
    directory: Path,  # noqa: ARG001  for stores whose settings name files
    options: Options,
    create: bool = True,
) -> AsyncIterator[SecretStore]:
    """The store, closed after the block. `state`: the state directory; `directory`: where the manifest's paths start.

    Without `create` nothing is made or written. Raises UsageError when it cannot be used as it is.
    """
    match manifest.secrets:
        case EmbeddedSettings(recipients=recipients):
            store = EmbeddedStore.open(state, environ=options.environ, say=insist, recipients=recipients, create=create)
        case KmsSettings() as settings:
            from batchmod.app.kmsstore import opened_kms  # noqa: PLC0415  the network, for the runs that need it

            async with opened_kms(settings, manifest, options=options, create=create) as kms:
                yield kms
            return
        case _:
            raise NotImplementedError(manifest.secrets.store)
    try:
        yield store
    finally:
        await store.close()
