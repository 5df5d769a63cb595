"""The store in KMS, as a manifest names it: a client of its own, apart from those of the lanes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from batchmod.app.accounts import KeyRing, explain
from batchmod.app.fleet import ClientMaker
from batchmod.app.options import Options
from batchmod.app.stores import fingerprints
from batchmod.cloud.answers import Reply
from batchmod.cloud.client import Client
from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.errors import CallError, StoreError, UsageError, Verdict
from batchmod.model.manifest import Manifest
from batchmod.model.stores import KmsSettings
from batchmod.secrets.kms import KmsStore
from batchmod.secrets.kmscalls import Answer, Call, KmsPlace, Param

WRITES = frozenset({"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"})


@asynccontextmanager
async def opened_kms(
    settings: KmsSettings, manifest: Manifest, *, options: Options, create: bool
) -> AsyncIterator[KmsStore]:
    """The store, which answers. Raises UsageError when the account or the endpoint is not usable, or may not list secrets.

    Without `create` no age key is made. What a run stops or pauses is not stopped here: what was proved is kept.
    """
    clock, account = Clock(), settings.account or manifest.defaults.account
    async with AsyncExitStack() as stack:
        maker = ClientMaker(manifest, options, stack, halt=Halt(), notify=lambda _: None, clock=clock, found={})
        keys = KeyRing(manifest, options.environ, maker.sts).keys(account)
        client = maker.kms(account, keys, settings.region)
        store = KmsStore(
            call_of(client, max_delay=manifest.retry.max_delay, clock=clock),
            KmsPlace(template=settings.name, key_id=settings.key_id, instance=settings.instance),
            fingerprint=fingerprints(options, create=create),
            explain=explain,
            clock=clock.wall,
        )
        try:
            await store.check()
        except StoreError as error:
            raise UsageError(f"secrets: {error}") from error
        yield store


def call_of(client: Client, *, max_delay: float, clock: Clock) -> Call:
    """Calls as a KmsStore wants them: a quota is waited out, and what was lost is asked again unless it writes."""

    async def call(api: str, params: Mapping[str, Param]) -> Answer:
        async def once() -> Reply | CallError:
            try:
                return await client.call(api, params)
            except CallError as error:
                if api in WRITES and error.verdict is Verdict.LOST:
                    return error
                raise

        reply = await ask(once, max_delay=max_delay, clock=clock)
        if isinstance(reply, CallError):
            raise reply
        return Answer(body=reply.body, skew=None if reply.date is None else reply.received - reply.date)

    return call
