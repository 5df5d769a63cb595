"""The login proof as the engine wants it. It brings the client that speaks to the data plane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from batchmod.engine.judging import NO_ADDRESS
from batchmod.engine.turnstile import Pacer
from batchmod.errors import CallError
from batchmod.model.plan import PlannedRow
from batchmod.model.secret import InstanceKey, Secret
from batchmod.model.settings import ProofSettings
from batchmod.secrets.dialogue import Account, Answer, form_of
from batchmod.secrets.login import Logins

LOGINS = 16  # logins under way at once

Find = Callable[[PlannedRow], Awaitable[str | None]]


def logins_of(settings: ProofSettings, pacer: Pacer) -> Logins:
    """Logins as the manifest wants them; each one is paced."""
    slots = asyncio.Semaphore(LOGINS)

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        granted = await pacer.grant(slots)
        pacer.answered(granted, throttled=False)  # the rate is ours: it counts how many begin, however long they take
        try:
            yield
        finally:
            slots.release()

    tls = settings.tls if isinstance(settings.tls, bool) else None
    return Logins(tls=tls, timeout=settings.timeout, turn=turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProver:
    """Logins on the data plane. `find` asks the service for an address that the plan could not know; raises CallError."""

    logins: Logins
    find: Find
    found: dict[InstanceKey, str] = field(default_factory=dict)

    async def preflight(self, row: PlannedRow) -> str | None:
        account = await self._account(row)
        return NO_ADDRESS if account is None else await self.logins.control(account)

    async def prove(self, row: PlannedRow, secret: Secret) -> str | None:
        account = await self._account_or_reason(row)
        if isinstance(account, str):
            return account
        result = await self.logins.prove(account, secret)
        return None if result.answer is Answer.YES else result.reason

    async def outdated(self, row: PlannedRow, old: Secret) -> str | None:
        account = await self._account_or_reason(row)
        return account if isinstance(account, str) else await self.logins.outdated(account, old)

    async def _account_or_reason(self, row: PlannedRow) -> Account | str:
        """An address that cannot be found now proves nothing either way: the row is looked at again."""
        try:
            return await self._account(row) or NO_ADDRESS
        except CallError as error:
            return f"no address of the data plane could be asked for: {error.code}"

    async def _account(self, row: PlannedRow) -> Account | None:
        address = row.address or self.found.get(row.key)
        if address is None:
            address = await self.find(row)
            if address is None:
                return None
            self.found[row.key] = address
        return Account(address=address, login=row.login, form=form_of(row.engine_version))
